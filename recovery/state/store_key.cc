#include "recovery/state/store_key.h"

#include <algorithm>

namespace tessera::recovery {
namespace {

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-';
}

}  // namespace

bool is_key_part(std::string_view text) {
  return !text.empty() && text.size() <= kLongestKeyPart && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), is_key_character);
}

bool is_key(std::string_view text) {
  if (text.size() > kLongestKey) return false;
  for (;;) {
    const std::size_t slash = text.find('/');
    if (!is_key_part(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool is_key_prefix(std::string_view text) {
  return text.empty() || (text.back() == '/' && is_key(text.substr(0, text.size() - 1)));
}

}  // namespace tessera::recovery
