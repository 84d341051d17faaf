#include "kernels/device/cuda_memory.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_stream.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kGranule = 512;
/// A kept block serves a request of at least this share of it: below, more would lie idle than is saved.
constexpr double kLeastFill = 0.75;

std::int64_t rounded(std::int64_t bytes) { return (bytes + kGranule - 1) / kGranule * kGranule; }
double mib(std::int64_t bytes) { return static_cast<double>(bytes) * 0x1p-20; }

struct Live {
  std::int64_t bytes;  // of the block
  std::string tag;
};

struct Kept {
  void* memory;
  CudaStream stream;
  Event freed;  // recorded on `stream` behind the last use
};

}  // namespace

struct DevicePool::State {
  std::int64_t limit_bytes = 0;
  mutable std::mutex mutex;
  std::unordered_map<void*, Live> live;
  std::multimap<std::int64_t, Kept> kept;  // by bytes
  std::map<std::string, MemoryUse, std::less<>> tags;
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t reserved = 0;

  /// The smallest kept block that may be used on `stream`, taken out.
  std::optional<std::pair<std::int64_t, void*>> take(std::int64_t bytes, CudaStream stream) {
    const auto most = static_cast<std::int64_t>(static_cast<double>(bytes) / kLeastFill);
    for (auto it = kept.lower_bound(bytes); it != kept.end() && it->first <= most; ++it) {
      if (it->second.stream != stream && !it->second.freed.reached()) continue;
      const std::pair<std::int64_t, void*> block{it->first, it->second.memory};
      kept.erase(it);
      return block;
    }
    return std::nullopt;
  }

  void release() {
    for (auto& [bytes, block] : kept) {
      block.freed.synchronize();
      TS_CUDA(cudaFree(block.memory));
      reserved -= bytes;
    }
    kept.clear();
  }

  /// Null where the device or the limit has no more.
  void* reserve(std::int64_t bytes) {
    if (limit_bytes > 0 && reserved + bytes > limit_bytes) return nullptr;
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      return nullptr;
    }
    if (code != cudaSuccess) throw CudaError(code, "cudaMalloc", __FILE__, __LINE__);
    reserved += bytes;
    return memory;
  }

  [[nodiscard]] std::vector<MemoryUse> use() const {
    std::vector<MemoryUse> rows;
    for (const auto& [tag, row] : tags) rows.push_back(row);
    std::ranges::stable_sort(rows, std::ranges::greater(), &MemoryUse::peak_bytes);
    return rows;
  }

  [[nodiscard]] std::string to_text() const {
    std::string text =
        fmt::format("{:<28} {:>12} {:>12} {:>8}\n", "device memory of", "MiB", "peak MiB", "blocks");
    for (const MemoryUse& row : use()) {
      text += fmt::format("{:<28} {:>12.1f} {:>12.1f} {:>8}\n", row.tag, mib(row.current_bytes),
                          mib(row.peak_bytes), row.blocks);
    }
    text += fmt::format("{:<28} {:>12.1f} {:>12.1f} {:>8}\n", "in all", mib(current), mib(peak), live.size());
    text += fmt::format("{:<28} {:>12.1f}\n", "kept for reuse", mib(reserved - current));
    return text;
  }
};

DevicePool::DevicePool(std::int64_t limit_bytes) : state_(std::make_unique<State>()) {
  TS_REQUIRE(limit_bytes >= 0, limit_bytes);
  state_->limit_bytes = limit_bytes;
}

DevicePool::~DevicePool() {
  for (const auto& [memory, block] : state_->live) cudaFree(memory);  // cudaFree waits for the device
  for (const auto& [bytes, block] : state_->kept) cudaFree(block.memory);
}

void* DevicePool::allocate(std::int64_t bytes, std::string_view tag, CudaStream stream) {
  TS_REQUIRE(bytes >= 0, bytes);
  if (bytes == 0) return nullptr;
  const std::lock_guard lock(state_->mutex);
  State& s = *state_;
  std::int64_t size = rounded(bytes);
  void* memory = nullptr;
  if (const auto block = s.take(size, stream)) {
    std::tie(size, memory) = *block;
  } else {
    memory = s.reserve(size);
    if (memory == nullptr) {
      s.release();
      memory = s.reserve(size);
    }
  }
  if (memory == nullptr) {
    throw OutOfDeviceMemory(fmt::format(
        "no device memory for {:.1f} MiB of {}{}\n{}A smaller micro-batch, recomputation, or more ranks for "
        "the model make a rank's share smaller.\n",
        mib(size), tag,
        s.limit_bytes > 0 ? fmt::format(" within the limit of {:.1f} MiB", mib(s.limit_bytes)) : "",
        s.to_text()));
  }
  s.live.emplace(memory, Live{size, std::string(tag)});
  MemoryUse& row = s.tags.try_emplace(std::string(tag), MemoryUse{std::string(tag)}).first->second;
  row.current_bytes += size;
  row.peak_bytes = std::max(row.peak_bytes, row.current_bytes);
  ++row.blocks;
  s.current += size;
  s.peak = std::max(s.peak, s.current);
  return memory;
}

void DevicePool::free(void* memory, CudaStream stream) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(state_->mutex);
  State& s = *state_;
  const auto found = s.live.find(memory);
  TS_REQUIRE(found != s.live.end(), memory);
  const Live block = std::move(found->second);
  s.live.erase(found);
  MemoryUse& row = s.tags.find(block.tag)->second;
  row.current_bytes -= block.bytes;
  --row.blocks;
  s.current -= block.bytes;
  try {
    Event freed;
    freed.record(stream);
    s.kept.emplace(block.bytes, Kept{memory, stream, std::move(freed)});
  } catch (
      const CudaError&) {  // a failed device: nothing can be reused, and its error is reported where it arose
    cudaFree(memory);
    s.reserved -= block.bytes;
  }
}

std::int64_t DevicePool::current_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->current;
}
std::int64_t DevicePool::peak_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->peak;
}
std::int64_t DevicePool::reserved_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->reserved;
}
std::vector<MemoryUse> DevicePool::use() const {
  const std::lock_guard lock(state_->mutex);
  return state_->use();
}
std::string DevicePool::to_text() const {
  const std::lock_guard lock(state_->mutex);
  return state_->to_text();
}
void DevicePool::release_kept() {
  const std::lock_guard lock(state_->mutex);
  state_->release();
}

}  // namespace tessera::kernels
