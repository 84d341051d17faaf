/// Instance families for tests and benchmarks: Pisinger's thirteen classes and memory-budget problems.
///
/// Pisinger, "Where are the hard knapsack problems?", Computers & Operations Research 32 (2005). Coefficients
/// up to range; instance h of count has capacity h / (count + 1) of all weights.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "algos/knapsack/knapsack.h"

namespace tessera::knapsack {

enum class Family {
  kUncorrelated,
  kWeakly,
  kStrongly,
  kInverseStrongly,
  kAlmostStrongly,
  kSubsetSum,
  kSimilarWeights,
  kSpannerUncorrelated,
  kSpannerWeakly,
  kSpannerStrongly,
  kMultipleStrongly,
  kProfitCeiling,
  kCircle,
};

struct NamedFamily {
  Family family;
  std::string_view name;
};

inline constexpr std::array<NamedFamily, 13> kFamilies = {{
    {Family::kUncorrelated, "uncorrelated"},
    {Family::kWeakly, "weakly correlated"},
    {Family::kStrongly, "strongly correlated"},
    {Family::kInverseStrongly, "inverse strongly"},
    {Family::kAlmostStrongly, "almost strongly"},
    {Family::kSubsetSum, "subset sum"},
    {Family::kSimilarWeights, "similar weights"},
    {Family::kSpannerUncorrelated, "spanner, uncorrelated"},
    {Family::kSpannerWeakly, "spanner, weakly"},
    {Family::kSpannerStrongly, "spanner, strongly"},
    {Family::kMultipleStrongly, "multiple strongly"},
    {Family::kProfitCeiling, "profit ceiling"},
    {Family::kCircle, "circle"},
}};

struct Instance {
  std::vector<Item> items;
  std::int64_t capacity = 0;
};

class ItemSource {
 public:
  ItemSource(Family family, std::int64_t range, std::uint64_t seed)
      : family_(family), range_(range), random_(seed) {
    if (const bool spanner = is_spanner(); !spanner) return;
    for (Item& base : span_) {
      base = plain(spanned());
      base.profit = (2 * base.profit + kMultiples - 1) / kMultiples;
      base.weight = (2 * base.weight + kMultiples - 1) / kMultiples;
    }
  }

  Item next() {
    if (!is_spanner()) return plain(family_);
    const Item& base = span_[static_cast<std::size_t>(draw(0, 1))];
    const std::int64_t multiple = draw(1, kMultiples);
    return {multiple * base.profit, multiple * base.weight};
  }

 private:
  static constexpr std::int64_t kMultiples = 10;  // span(2, 10)

  [[nodiscard]] bool is_spanner() const {
    return family_ == Family::kSpannerUncorrelated || family_ == Family::kSpannerWeakly ||
           family_ == Family::kSpannerStrongly;
  }
  [[nodiscard]] Family spanned() const {
    if (family_ == Family::kSpannerUncorrelated) return Family::kUncorrelated;
    return family_ == Family::kSpannerWeakly ? Family::kWeakly : Family::kStrongly;
  }
  std::int64_t draw(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  std::int64_t about(std::int64_t middle, std::int64_t spread) {
    return std::max<std::int64_t>(1, draw(middle - spread, middle + spread));
  }

  Item plain(Family family) {
    const std::int64_t w = draw(1, range_);
    const std::int64_t tenth = range_ / 10;
    switch (family) {
      case Family::kUncorrelated: return {draw(1, range_), w};
      case Family::kWeakly: return {about(w, tenth), w};
      case Family::kStrongly: return {w + tenth, w};
      case Family::kInverseStrongly: return {w, w + tenth};
      case Family::kAlmostStrongly: return {about(w + tenth, range_ / 500), w};
      case Family::kSubsetSum: return {w, w};
      case Family::kSimilarWeights: return {w, draw(100 * range_, 100 * range_ + tenth)};
      case Family::kMultipleStrongly: return {w + (w % 6 == 0 ? 3 : 2) * tenth, w};
      case Family::kProfitCeiling: return {(w + 2) / 3 * 3, w};
      case Family::kCircle: {
        const double r = static_cast<double>(2 * range_);
        const double x = static_cast<double>(w) - r;
        return {static_cast<std::int64_t>(2.0 / 3.0 * std::sqrt(r * r - x * x)), w};
      }
      default: return {};  // the spanners draw from the classes above
    }
  }

  Family family_;
  std::int64_t range_;
  std::mt19937_64 random_;
  std::array<Item, 2> span_{};
};

/// Instance h (1..count) of a family.
inline Instance pisinger(Family family, std::size_t n, std::int64_t range, int h, int count) {
  ItemSource source(family, range,
                    1000003ULL * static_cast<std::uint64_t>(h) + static_cast<std::uint64_t>(family));
  Instance instance;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    instance.items.push_back(source.next());
    total += instance.items.back().weight;
  }
  instance.capacity = static_cast<std::int64_t>(static_cast<double>(total) * h / (count + 1));
  return instance;
}

/// Up to 13 items with coefficients up to 40, for comparison with all subsets; zeros and equal items occur.
inline Instance small_instance(std::mt19937_64& random) {
  const auto draw = [&](std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(0, most)(random);
  };
  Instance instance;
  const std::int64_t n = draw(13);
  const std::int64_t range = 1 + draw(39);
  const std::int64_t shape = draw(3);
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t weight = draw(range);
    const std::int64_t profit = shape == 0 ? weight : shape == 1 ? weight + range / 4 : draw(range);
    instance.items.push_back({profit, weight});
    total += weight;
  }
  instance.capacity = draw(total + 1);
  return instance;
}

}  // namespace tessera::knapsack
