#include <algorithm>
#include <cstring>

#include "algos/strings/bwt_in_place.h"

// Highway's headers have an order of their own. Compiled for the baseline, AVX2 and AVX-512 (Arm: NEON);
// the bits disabled, by number as Highway keeps them, are refinements that bring nothing to counting.
// clang-format off
#define HWY_DISABLED_TARGETS (0xffLL | (3LL << 11) | (0x3ffLL << 18))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "algos/strings/bwt_bytes.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tessera::strings::internal::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// 1 in each lane that counts: v <= c, or v < c.
template <bool kOrEqual, class D, class V>
HWY_INLINE auto counts(D /*d*/, V v, V c) {
  if constexpr (kOrEqual) {
    return hn::Min(v, c) == v;  // unsigned compare is not an instruction before AVX-512; min and equal are
  } else {
    return hn::Not(hn::Max(v, c) == v);
  }
}

/// #{w[i] <= c} or #{w[i] < c} over a window of at least one vector.
template <bool kOrEqual, class D>
HWY_INLINE std::size_t count_vectors(D d, const std::uint8_t* w, std::size_t length, std::uint8_t c) {
  const std::size_t lanes = hn::Lanes(d);
  const auto vc = hn::Set(d, c);
  const auto one = hn::Set(d, 1);
  const hn::Repartition<std::uint64_t, D> d64;
  auto total = hn::Zero(d64);
  std::size_t i = 0;
  while (i + lanes <= length) {
    // A byte lane holds at most 255 ones before it is widened.
    const std::size_t stop = std::min(length, i + 255 * lanes);
    auto ones = hn::Zero(d);
    for (; i + lanes <= stop; i += lanes) {
      ones = hn::Add(ones, hn::IfThenElseZero(counts<kOrEqual>(d, hn::LoadU(d, w + i), vc), one));
    }
    total = hn::Add(total, hn::SumsOf8(ones));
  }
  if (i < length) {
    // The last vector ends with the window; the lanes counted already are masked.
    const auto seen = hn::FirstN(d, lanes - (length - i));
    const auto more = counts<kOrEqual>(d, hn::LoadU(d, w + length - lanes), vc);
    total = hn::Add(total, hn::SumsOf8(hn::IfThenElseZero(hn::AndNot(seen, more), one)));
  }
  return hn::GetLane(hn::SumOfLanes(d64, total));
}

template <bool kOrEqual>
HWY_INLINE std::size_t count(const std::uint8_t* w, std::size_t length, std::uint8_t c) {
  const hn::ScalableTag<std::uint8_t> whole;
  const hn::CappedTag<std::uint8_t, 16> small;
  if (length >= hn::Lanes(whole)) return count_vectors<kOrEqual>(whole, w, length, c);
  if (length >= hn::Lanes(small)) return count_vectors<kOrEqual>(small, w, length, c);
  std::size_t found = 0;
  for (std::size_t i = 0; i < length; ++i) found += (kOrEqual ? w[i] <= c : w[i] < c) ? 1 : 0;
  return found;
}

/// The compiler vectorises this for each target; Highway has no unsigned compare of 64-bit lanes everywhere.
template <class R>
HWY_INLINE void raise_ranks(R* HWY_RESTRICT ranks, std::size_t count, R from) {
  for (std::size_t i = 0; i < count; ++i) ranks[i] = static_cast<R>(ranks[i] + (ranks[i] >= from ? 1 : 0));
}

template <class R>
HWY_INLINE std::size_t run(std::uint8_t* text, std::size_t n, R* ranks) {
  std::size_t p = 0;
  for (std::size_t s = n; s-- > 0;) {
    std::uint8_t* const w = text + s;
    const std::size_t m = n - s - 1;
    const std::uint8_t c = w[0];
    const std::size_t r = 1 + count<true>(w + 1, p, c) + count<false>(w + 1 + p, m - p, c);
    std::memmove(w, w + 1, p);
    w[p] = c;
    if (ranks != nullptr) {
      raise_ranks(ranks + s + 1, m, static_cast<R>(r));
      ranks[s] = static_cast<R>(r);
    }
    p = r;
  }
  return p;
}

std::size_t run_alone(std::uint8_t* text, std::size_t n) { return run<std::uint32_t>(text, n, nullptr); }
std::size_t run16(std::uint8_t* text, std::size_t n, std::uint16_t* ranks) { return run(text, n, ranks); }
std::size_t run32(std::uint8_t* text, std::size_t n, std::uint32_t* ranks) { return run(text, n, ranks); }
std::size_t run64(std::uint8_t* text, std::size_t n, std::uint64_t* ranks) { return run(text, n, ranks); }

}  // namespace
}  // namespace tessera::strings::internal::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::strings::internal {

HWY_EXPORT(run_alone);
HWY_EXPORT(run16);
HWY_EXPORT(run32);
HWY_EXPORT(run64);

std::size_t bwt_bytes(std::span<std::uint8_t> text) noexcept {
  return HWY_DYNAMIC_DISPATCH(run_alone)(text.data(), text.size());
}
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint16_t* ranks) noexcept {
  return HWY_DYNAMIC_DISPATCH(run16)(text.data(), text.size(), ranks);
}
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint32_t* ranks) noexcept {
  return HWY_DYNAMIC_DISPATCH(run32)(text.data(), text.size(), ranks);
}
std::size_t bwt_and_ranks_bytes(std::span<std::uint8_t> text, std::uint64_t* ranks) noexcept {
  return HWY_DYNAMIC_DISPATCH(run64)(text.data(), text.size(), ranks);
}

}  // namespace tessera::strings::internal
#endif
