/// The library behind Method::kLinear: linear_bwt.cc calls libdivsufsort, linear_bwt_absent.cc refuses. The
/// build links one of them. Contract: bwt.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "algos/base/status.h"

namespace tessera::strings::internal {

[[nodiscard]] bool linear_bwt_present() noexcept;
Result<std::size_t> linear_bwt(std::span<std::uint8_t> text);
Result<std::size_t> linear_bwt_lyndon(std::span<std::uint8_t> text, std::span<std::uint32_t> lyn);

}  // namespace tessera::strings::internal
