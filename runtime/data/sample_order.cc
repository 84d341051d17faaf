// A keyed permutation of [0, windows) without a table: a Feistel network over the next even power of two,
// walked along its cycle until it lands inside (Black & Rogaway, "Ciphers with arbitrary finite domains",
// CT-RSA 2002). O(1) memory; fewer than 4 steps on average, because the domain is less than 4 * windows.
#include <bit>
#include <cstdint>

#include <fmt/format.h>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "runtime/data/token_source.h"

namespace tessera::runtime {
namespace {

constexpr int kRounds = 6;  // four mix well for large halves; small ones need more

std::uint64_t permute(std::uint64_t x, std::uint64_t n, std::uint64_t key) {
  const int half = (std::bit_width(n - 1) + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  do {
    std::uint64_t left = x >> half;
    std::uint64_t right = x & mask;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t next =
          left ^ (mix64(derive_key(key, static_cast<std::uint64_t>(round)) ^ right) & mask);
      left = right;
      right = next;
    }
    x = left << half | right;
  } while (x >= n);
  return x;
}

}  // namespace

Result<SampleOrder> SampleOrder::make(std::int64_t begin, std::int64_t end, std::int64_t length,
                                      std::uint64_t seed) {
  TS_REQUIRE(begin >= 0 && end >= begin && length > 0, begin, end, length);
  if (end - begin < length + 1) {
    return bad_input(
        {.file = "",
         .field = "training data",
         .found = fmt::format("{} tokens", end - begin),
         .expected = fmt::format("at least {}: one sequence of {} and its last label", length + 1, length),
         .remedy = "give more data, or a shorter sequence_length"});
  }
  SampleOrder order;
  order.begin_ = begin;
  order.length_ = length;
  order.windows_ = (end - begin - 1) / length;
  order.seed_ = seed;
  return order;
}

std::int64_t SampleOrder::first_token(std::int64_t i) const {
  TS_REQUIRE(i >= 0, i);
  const auto epoch = static_cast<std::uint64_t>(i / windows_);
  const auto position = static_cast<std::uint64_t>(i % windows_);
  const std::uint64_t window =
      permute(position, static_cast<std::uint64_t>(windows_), derive_key(seed_, epoch));
  return begin_ + static_cast<std::int64_t>(window) * length_;
}

}  // namespace tessera::runtime
