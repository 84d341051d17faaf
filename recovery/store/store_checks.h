/// What every store refuses in the same words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "algos/base/status.h"
#include "recovery/state/store_key.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

[[nodiscard]] Status check_key(std::string_view key);
[[nodiscard]] Status check_key_prefix(std::string_view prefix);
/// Key, and a range [offset, offset + bytes) that can be one.
[[nodiscard]] Status check_read(std::string_view key, std::int64_t offset, std::size_t bytes);

/// kNotFound.
[[nodiscard]] Status no_object(const Store& store, const std::string& key);
/// kDataLoss: `size` bytes are there.
[[nodiscard]] Status too_short(const Store& store, const std::string& key, std::int64_t size,
                               std::int64_t offset, std::size_t bytes);

}  // namespace tessera::recovery
