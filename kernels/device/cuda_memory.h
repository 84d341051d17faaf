/// Device memory with an account: who holds how many bytes, and the most there ever were.
///
/// A DevicePool keeps freed memory and hands it out again, as cudaMalloc would stop the device. Order is the
/// stream's: a block freed on a stream may be reused at once on the same stream, on another only after the
/// pool has seen that the freeing stream got there. Sizes are rounded up to 512 bytes, so every block is
/// aligned for any access and for TMA.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

/// What one tag holds.
struct MemoryUse {
  std::string tag;
  std::int64_t current_bytes = 0;
  std::int64_t peak_bytes = 0;
  std::int64_t blocks = 0;
};

/// No more device memory; the message has the table of who holds what.
class OutOfDeviceMemory : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class DevicePool {
 public:
  /// Of the calling thread's device; `limit_bytes` 0: what the device has.
  explicit DevicePool(std::int64_t limit_bytes = 0);
  ~DevicePool();
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  /// Uninitialised memory for work on `stream`. `tag` names the purpose in the account. bytes == 0 gives
  /// null. Throws OutOfDeviceMemory after having given all kept memory back to the device and tried again.
  [[nodiscard]] void* allocate(std::int64_t bytes, std::string_view tag, CudaStream stream);
  /// `stream` is the last to use it. Thread-safe, like allocate; does not throw.
  void free(void* memory, CudaStream stream) noexcept;

  /// Bytes handed out (rounded), the most there ever were, and bytes kept from the device in all.
  [[nodiscard]] std::int64_t current_bytes() const;
  [[nodiscard]] std::int64_t peak_bytes() const;
  [[nodiscard]] std::int64_t reserved_bytes() const;
  /// By tag, largest peak first. The sum of the peaks may exceed peak_bytes: they need not be of one moment.
  [[nodiscard]] std::vector<MemoryUse> use() const;
  [[nodiscard]] std::string to_text() const;
  /// Gives back to the device what is kept and free; waits for it.
  void release_kept();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// n values of a pool. Move-only; freed on the stream it was made for.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DevicePool& pool, std::int64_t count, std::string_view tag, CudaStream stream)
      : pool_(&pool),
        stream_(stream),
        data_(static_cast<T*>(pool.allocate(count * static_cast<std::int64_t>(sizeof(T)), tag, stream))),
        count_(count) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    if (data_ != nullptr) pool_->free(data_, stream_);
  }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::int64_t size() const { return count_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(stream_, other.stream_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

  DevicePool* pool_ = nullptr;
  CudaStream stream_ = nullptr;
  T* data_ = nullptr;
  std::int64_t count_ = 0;
};

}  // namespace tessera::kernels
