/// TS_REQUIRE(expression, values...): our own mistakes stop here, with the values that show why.
///
/// Always on: each use guards an invariant whose violation would corrupt memory or results, and none
/// sits in an inner loop. User input never reaches it; that is Status (status.h).
#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace tessera::internal {

[[noreturn]] void require_failed(const char* expression, const char* file, int line,
                                 const std::string& values);

template <class... Values>
[[noreturn]] void require_failed_with(const char* expression, const char* file, int line,
                                      std::string_view names, const Values&... values) {
  std::ostringstream out;
  if constexpr (sizeof...(values) > 0) {
    out << names << " =";
    ((out << ' ' << values), ...);
  }
  require_failed(expression, file, line, out.str());
}

}  // namespace tessera::internal

#define TS_REQUIRE(expression, ...)                                                      \
  do {                                                                                   \
    if (!(expression)) [[unlikely]] {                                                    \
      ::tessera::internal::require_failed_with(#expression, __FILE__, __LINE__,          \
                                               #__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__); \
    }                                                                                    \
  } while (false)
