/// ScratchPool: buffers a rank takes and gives back, so that nothing is allocated in the steady state.
///
/// The first touch of a page costs far more than its later use (14 us per 4 KiB measured on a virtual
/// machine, 0.3 GB/s), so a collective that allocated its buffers would run at a tenth of its speed.
///
/// Threads: one at a time, as the Communicator that owns it.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace tessera::runtime {

class ScratchPool : public std::enable_shared_from_this<ScratchPool> {
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, kAlignment); }
  };
  struct Block {
    std::unique_ptr<std::byte[], Free> memory;
    std::size_t size = 0;
  };

 public:
  /// A buffer on loan; goes back to its pool, which it keeps alive, when destroyed.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(block_, other.block_);
      std::swap(size_, other.size_);
      return *this;
    }
    ~Lease() {
      if (block_.memory != nullptr) pool_->free_.push_back(std::move(block_));
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return {block_.memory.get(), size_}; }

   private:
    friend class ScratchPool;
    Lease(std::shared_ptr<ScratchPool> pool, Block block, std::size_t size)
        : pool_(std::move(pool)), block_(std::move(block)), size_(size) {}
    std::shared_ptr<ScratchPool> pool_;
    Block block_;
    std::size_t size_ = 0;
  };

  /// At least `bytes` bytes, 64-byte aligned, contents unspecified: the smallest free block that fits,
  /// else a fresh one. O(free blocks), of which there are as many as collectives were ever in flight.
  [[nodiscard]] Lease take(std::size_t bytes);

  /// Allocations made so far; constant in the steady state.
  [[nodiscard]] int allocations() const { return allocations_; }

 private:
  std::vector<Block> free_;
  int allocations_ = 0;
};

}  // namespace tessera::runtime
