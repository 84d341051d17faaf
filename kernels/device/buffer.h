/// Buffer<T>: owned, 64-byte aligned host memory in huge pages, allocated once and reused.
///
/// First touch of a 4-KiB page costs more than the arithmetic done on it, so large buffers ask for
/// huge pages and are touched when they are created, never inside a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace tessera::kernels {

/// Zeroed memory of `bytes`, 64-byte aligned; from 2 MiB on in huge pages where the system has them.
/// Throws std::bad_alloc. Release with host_free and the same size.
[[nodiscard]] void* host_allocate(std::size_t bytes);
void host_free(void* memory, std::size_t bytes) noexcept;

/// Bytes held by all live allocations of this process, and the most there ever were.
struct HostMemoryUse {
  std::int64_t current_bytes = 0;
  std::int64_t peak_bytes = 0;
};
[[nodiscard]] HostMemoryUse host_memory_use();

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t count)
      : data_(static_cast<T*>(host_allocate(static_cast<std::size_t>(count) * sizeof(T)))), count_(count) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) host_free(data_, static_cast<std::size_t>(count_) * sizeof(T));
  }

  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::int64_t size() const { return count_; }
  [[nodiscard]] T& operator[](std::int64_t i) { return data_[i]; }
  [[nodiscard]] const T& operator[](std::int64_t i) const { return data_[i]; }
  [[nodiscard]] std::span<T> span() { return {data_, static_cast<std::size_t>(count_)}; }
  [[nodiscard]] std::span<const T> span() const { return {data_, static_cast<std::size_t>(count_)}; }

 private:
  T* data_ = nullptr;
  std::int64_t count_ = 0;
};

}  // namespace tessera::kernels
