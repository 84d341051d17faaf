#include <string>

#include "algos/strings/bwt.h"
#include "algos/strings/linear_bwt.h"

namespace tessera::strings::internal {
namespace {

Status refused(std::size_t n) {
  return bad_input({"", "text", std::to_string(n) + " bytes, in a build without libdivsufsort",
                    "at most " + std::to_string(kAutoLimitWithoutLinear) + " bytes",
                    "install libdivsufsort-dev and build again, or ask for method in-place (n^2 time)"},
                   Code::kFailedPrecondition);
}

}  // namespace

bool linear_bwt_present() noexcept { return false; }
Result<std::size_t> linear_bwt(std::span<std::uint8_t> text) { return refused(text.size()); }
Result<std::size_t> linear_bwt_lyndon(std::span<std::uint8_t> text, std::span<std::uint32_t> /*lyn*/) {
  return refused(text.size());
}

}  // namespace tessera::strings::internal
