#include "runtime/comm/scratch_pool.h"

#include <utility>

namespace tessera::runtime {

ScratchPool::Lease ScratchPool::take(std::size_t bytes) {
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->size >= bytes && (best == free_.end() || it->size < best->size)) best = it;
  }
  Block block;
  if (best != free_.end()) {
    block = std::move(*best);
    free_.erase(best);
  } else {
    block.size = bytes;
    block.memory.reset(static_cast<std::byte*>(::operator new[](bytes == 0 ? 1 : bytes, kAlignment)));
    ++allocations_;
    free_.reserve(static_cast<std::size_t>(allocations_));  // giving back cannot throw
  }
  return {shared_from_this(), std::move(block), bytes};
}

}  // namespace tessera::runtime
