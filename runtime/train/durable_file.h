/// Files that are there whole after a crash, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "algos/base/status.h"

namespace tessera::runtime {

/// Writes the pieces one after the other, then fsyncs. Removes the file when that fails.
/// Errors    kResourceExhausted when the disk, quota or size limit is reached, else kIoError, with the
///           system's reason.
[[nodiscard]] Status write_durably(const std::string& path,
                                   std::span<const std::span<const std::byte>> pieces);
/// fsync of a directory, so that a rename in it survives.
[[nodiscard]] Status sync_directory(const std::string& path);

}  // namespace tessera::runtime
