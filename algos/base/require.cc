#include "algos/base/require.h"

#include <cstdio>
#include <cstdlib>

namespace tessera::internal {

void require_failed(const char* expression, const char* file, int line, const std::string& values) {
  std::fprintf(stderr, "%s:%d: requirement failed: %s%s%s\n", file, line, expression,
               values.empty() ? "" : "\n  ", values.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace tessera::internal
