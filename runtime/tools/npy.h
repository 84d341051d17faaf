/// Writing one array as NumPy's .npy, version 1.0: what any Python reads with numpy.load.
/// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "algos/base/status.h"

namespace tessera::runtime {

/// float32, C order, whole or not at all. Requires values.size() == product of shape. Errors: those of
/// write_failure (algos/base/durable_file.h).
[[nodiscard]] Status write_npy(const std::string& path, std::span<const float> values,
                               std::span<const std::int64_t> shape);

}  // namespace tessera::runtime
