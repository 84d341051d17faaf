#include "algos/strings/bwt.h"

#include "algos/base/require.h"
#include "algos/strings/bwt_in_place.h"
#include "algos/strings/linear_bwt.h"

namespace tessera::strings {

bool has_linear_method() noexcept { return internal::linear_bwt_present(); }

Method chosen_method(std::size_t n, bool with_lyndon) noexcept {
  const std::size_t crossover = with_lyndon ? kCrossoverLyndon : kCrossoverBwt;
  return n <= (has_linear_method() ? crossover : kAutoLimitWithoutLinear) ? Method::kInPlace
                                                                          : Method::kLinear;
}

Result<std::size_t> bwt(std::span<std::uint8_t> text, Method method) {
  if (method == Method::kAuto) method = chosen_method(text.size(), false);
  if (method == Method::kLinear) return internal::linear_bwt(text);
  return bwt_in_place(text);
}

Result<std::size_t> bwt_lyndon(std::span<std::uint8_t> text, std::span<std::uint32_t> lyn, Method method) {
  TS_REQUIRE(lyn.size() == text.size(), lyn.size(), text.size());
  if (method == Method::kAuto) method = chosen_method(text.size(), true);
  if (method == Method::kLinear) return internal::linear_bwt_lyndon(text, lyn);
  return bwt_lyndon_in_place(text, lyn);
}

}  // namespace tessera::strings
