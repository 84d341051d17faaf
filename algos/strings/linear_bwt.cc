#include "algos/strings/linear_bwt.h"

#include <algorithm>
#include <divsufsort.h>
#include <limits>
#include <memory>
#include <new>
#include <string>

#include "algos/base/require.h"
#include "algos/strings/lyndon_array.h"

namespace tessera::strings::internal {
namespace {

Status check_length(std::size_t n) {
  if (n <= static_cast<std::size_t>(std::numeric_limits<saidx_t>::max())) return {};
  return bad_input({"", "text", std::to_string(n) + " bytes",
                    "at most " + std::to_string(std::numeric_limits<saidx_t>::max()) + " for method linear",
                    "cut the text in blocks"});
}

Status no_memory(std::size_t n) {
  return bad_input(
      {"", "text", std::to_string(n) + " bytes", "4 bytes of memory for each", "cut the text in blocks"},
      Code::kResourceExhausted);
}

std::unique_ptr<saidx_t[]> allocate(std::size_t n) {
  return std::unique_ptr<saidx_t[]>(new (std::nothrow) saidx_t[n]);
}

}  // namespace

bool linear_bwt_present() noexcept { return true; }

Result<std::size_t> linear_bwt(std::span<std::uint8_t> text) {
  const std::size_t n = text.size();
  if (Status status = check_length(n); !status.ok()) return status;
  if (n == 0) return std::size_t{0};
  // divbwt sorts before it writes, so the text may be its own output; n = 1 leaves it as it is.
  const auto indices = allocate(n + 1);
  if (indices == nullptr) return no_memory(n);
  const saidx_t primary = divbwt(text.data(), text.data(), indices.get(), static_cast<saidx_t>(n));
  if (primary < 0) return no_memory(n);
  return static_cast<std::size_t>(primary);
}

Result<std::size_t> linear_bwt_lyndon(std::span<std::uint8_t> text, std::span<std::uint32_t> lyn) {
  const std::size_t n = text.size();
  TS_REQUIRE(lyn.size() == n, lyn.size(), n);
  if (Status status = check_length(n); !status.ok()) return status;
  if (n == 0) return std::size_t{0};
  const auto suffixes = allocate(n);
  if (suffixes == nullptr || divsufsort(text.data(), suffixes.get(), static_cast<saidx_t>(n)) != 0) {
    return no_memory(n);
  }
  // Row 0 is the empty suffix, so suffix number k is in row k + 1. The transform is collected where the
  // suffixes are read, one cell later when the row of `$` is still to come.
  std::size_t primary = 0;
  saidx_t carried = text[n - 1];
  for (std::size_t k = 0; k < n; ++k) {
    const auto suffix = static_cast<std::size_t>(suffixes[k]);
    lyn[suffix] = static_cast<std::uint32_t>(k + 1);
    if (primary == 0) {
      suffixes[k] = carried;
      if (suffix == 0) {
        primary = k + 1;
      } else {
        carried = text[suffix - 1];
      }
    } else {
      suffixes[k] = text[suffix - 1];
    }
  }
  std::transform(suffixes.get(), suffixes.get() + n, text.begin(),
                 [](saidx_t symbol) { return static_cast<std::uint8_t>(symbol); });
  lyndon_array_from_ranks(lyn);
  return primary;
}

}  // namespace tessera::strings::internal
