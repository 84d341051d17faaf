/// Writing one array as NumPy's .npy, version 1.0: what any Python reads with numpy.load.
/// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "algos/base/status.h"

namespace tessera::runtime {

/// float32, C order. Requires values.size() == product of shape. kIoError names the file and the reason.
[[nodiscard]] Status write_npy(const std::string& path, std::span<const float> values,
                               std::span<const std::int64_t> shape);

}  // namespace tessera::runtime
