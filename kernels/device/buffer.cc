#include "kernels/device/buffer.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

// The sanitizers know the bounds of what malloc returns, not of what mmap returns.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TESSERA_MAP_LARGE_BUFFERS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TESSERA_MAP_LARGE_BUFFERS 0
#endif
#endif
#ifndef TESSERA_MAP_LARGE_BUFFERS
#ifdef MAP_ANONYMOUS
#define TESSERA_MAP_LARGE_BUFFERS 1
#else
#define TESSERA_MAP_LARGE_BUFFERS 0
#endif
#endif

namespace tessera::kernels {
namespace {

constexpr std::size_t kAlignment = 64;
[[maybe_unused]] constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// 64 TiB: beyond it a size is a negative count or a product that wrapped.
constexpr std::size_t kLargest = std::size_t{1} << 46;

std::atomic<std::int64_t> current_bytes{0};
std::atomic<std::int64_t> peak_bytes{0};

void account(std::size_t bytes) {
  const std::int64_t added = static_cast<std::int64_t>(bytes);
  const std::int64_t held = current_bytes.fetch_add(added, std::memory_order_relaxed) + added;
  std::int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (peak < held && !peak_bytes.compare_exchange_weak(peak, held, std::memory_order_relaxed)) {
  }
}

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

#if TESSERA_MAP_LARGE_BUFFERS
/// Whole huge pages at a huge-page boundary: one more is mapped, and what lies outside is given back.
void* map_huge(std::size_t size) {
  void* mapped = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* first = static_cast<char*>(mapped);
  char* begin = first + (kHugePage - reinterpret_cast<std::uintptr_t>(first) % kHugePage) % kHugePage;
  char* end = first + size + kHugePage;
  if (begin != first) munmap(first, static_cast<std::size_t>(begin - first));
  if (begin + size != end) munmap(begin + size, static_cast<std::size_t>(end - begin) - size);
#ifdef MADV_HUGEPAGE
  madvise(begin, size, MADV_HUGEPAGE);  // refused where the system has none; 4-KiB pages then serve
#endif
  for (std::size_t at = 0; at < size; at += 4096) static_cast<volatile char*>(begin)[at] = 0;
  return begin;
}
#endif

void* allocate(std::size_t bytes) {
#if TESSERA_MAP_LARGE_BUFFERS
  if (bytes >= kHugePage) return map_huge(round_up(bytes, kHugePage));
#endif
  const std::size_t size = round_up(bytes == 0 ? 1 : bytes, kAlignment);
  void* memory = std::aligned_alloc(kAlignment, size);
  if (memory != nullptr) std::memset(memory, 0, size);
  return memory;
}

}  // namespace

void* host_allocate(std::size_t bytes) {
  void* memory = bytes <= kLargest ? allocate(bytes) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  account(bytes);
  return memory;
}

void host_free(void* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return;
  current_bytes.fetch_sub(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
#if TESSERA_MAP_LARGE_BUFFERS
  if (bytes >= kHugePage) {
    munmap(memory, round_up(bytes, kHugePage));
    return;
  }
#endif
  std::free(memory);
}

HostMemoryUse host_memory_use() {
  return {current_bytes.load(std::memory_order_relaxed), peak_bytes.load(std::memory_order_relaxed)};
}

}  // namespace tessera::kernels
