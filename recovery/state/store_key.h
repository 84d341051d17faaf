/// Which names objects may have in a store. The same for every store, so that what one takes all take: a file
/// system, where a key is a path, and S3, where it is part of a URL that is signed.
#pragma once

#include <cstddef>
#include <string_view>

namespace tessera::recovery {

inline constexpr std::size_t kLongestKey = 512;
inline constexpr std::size_t kLongestKeyPart = 255;  // a file's name

/// 1 to kLongestKeyPart characters of [A-Za-z0-9._-], neither "." nor "..".
[[nodiscard]] bool is_key_part(std::string_view text);
/// Key parts joined by "/", at most kLongestKey characters.
[[nodiscard]] bool is_key(std::string_view text);
/// "" or a key followed by "/".
[[nodiscard]] bool is_key_prefix(std::string_view text);

}  // namespace tessera::recovery
