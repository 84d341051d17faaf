/// The two numbers that say when an amount lapses, and the time grid they make.
///
/// An amount deposited at tick t lives for the TTL T, rounded up to a grid of width w = ceil(T / k):
///   E(t) = ceil((t + T) / w) * w         dead from tick E(t) on, alive before it
///   T <= E(t) - t <= T + w - 1           never earlier than promised, less than one grid cell later
/// The live expiries of one account are always among slots() <= k + 1 consecutive grid points, whatever was
/// deposited: that is why k + 1 numbers are an account. T = 0 means permanent: one record, never lapsing.
///
/// Worked example: T = 10, k = 4, so w = 3. A deposit at 5 lapses at 15, one at 6 at 18 (16 rounded up).
///
/// Units     ticks of any length; the clock is the caller's, at least 0, and never runs back (balance.h).
/// Limits    1 <= k <= 2^20; 0 <= T <= 2^61.
/// Source    arXiv:2512.20962. With floor(T / k) for the width, as in its public contract, k + 1 is no bound.
#pragma once

#include <cstdint>
#include <limits>

#include "algos/base/status.h"

namespace tessera::ttl {

using Ticks = std::int64_t;
using Amount = std::uint64_t;

inline constexpr Ticks kNoStepLimit = std::numeric_limits<Ticks>::max();

/// Immutable, one per asset: a second T or k in one account would mean two grids and twice the records.
class Policy {
 public:
  static constexpr Ticks kMaxTtl = Ticks{1} << 61;
  static constexpr std::int64_t kMaxBuckets = std::int64_t{1} << 20;

  /// `max_step` refuses a clock reading more than that many ticks after the last one: a clock that jumps
  /// forward by mistake expires what it jumps over, and that cannot be undone.
  /// Errors    kInvalidArgument for anything outside the limits, under the names ttl, buckets, max_step.
  static Result<Policy> make(Ticks ttl, std::int64_t buckets, Ticks max_step = kNoStepLimit);

  [[nodiscard]] Ticks ttl() const { return ttl_; }
  [[nodiscard]] std::int64_t buckets() const { return buckets_; }
  [[nodiscard]] Ticks max_step() const { return max_step_; }
  [[nodiscard]] bool permanent() const { return ttl_ == 0; }

  /// w. For a permanent policy one cell that holds all of time.
  [[nodiscard]] Ticks width() const { return width_; }
  /// Grid points that can carry a live amount at once: at most buckets() + 1, fewer where T / w needs fewer.
  [[nodiscard]] std::uint32_t slots() const { return slots_; }
  /// Deposits after this tick are refused: their expiry would not fit Ticks.
  [[nodiscard]] Ticks latest_deposit() const { return latest_deposit_; }

  /// E(t). Requires 0 <= t <= latest_deposit() and not permanent().
  [[nodiscard]] Ticks expiry(Ticks t) const;

  /// Which slot a deposit at cell_start + into_cell goes to, counted from the first grid point after that
  /// tick: with T = q * w + s, q - 1 + ceil((s + into_cell) / w). The ceiling is 0, 1 or 2: no division.
  [[nodiscard]] std::uint32_t slot_of_deposit(Ticks into_cell) const {
    const Ticks past = remainder_ + into_cell;
    return static_cast<std::uint32_t>(whole_cells_ - 1 + (past > 0 ? 1 : 0) + (past > width_ ? 1 : 0));
  }

  /// Same T and k: amounts may move between accounts of the two.
  [[nodiscard]] bool same_grid(const Policy& other) const {
    return ttl_ == other.ttl_ && buckets_ == other.buckets_;
  }

  /// The same grid with another step limit.
  [[nodiscard]] Policy with_max_step(Ticks max_step) const {
    Policy copy = *this;
    copy.max_step_ = max_step;
    return copy;
  }

 private:
  Policy() = default;
  Ticks ttl_ = 0;
  Ticks width_ = 0;
  Ticks whole_cells_ = 0;  // q
  Ticks remainder_ = 0;    // s
  Ticks latest_deposit_ = 0;
  Ticks max_step_ = kNoStepLimit;
  std::int64_t buckets_ = 1;
  std::uint32_t slots_ = 1;
};

}  // namespace tessera::ttl
