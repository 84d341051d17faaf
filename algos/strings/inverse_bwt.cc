#include "algos/strings/inverse_bwt.h"

#include <array>
#include <limits>
#include <new>
#include <string>

namespace tessera::strings {

namespace internal {

Status check_primary(std::size_t length, std::size_t primary) {
  if (length == 0 ? primary == 0 : primary >= 1 && primary <= length) return {};
  return bad_input({"", "primary index", std::to_string(primary),
                    length == 0 ? std::string("0 for an empty transform") : "1 to " + std::to_string(length),
                    "use the index that was returned with this transform"});
}

Status not_a_transform(std::size_t length, std::size_t primary, std::size_t symbols_read) {
  return bad_input(
      {"", "transform",
       std::to_string(length) + " symbols with primary index " + std::to_string(primary) +
           "; the text ends after " + std::to_string(symbols_read),
       "the transform of some text", "check that symbols and index belong together and were copied whole"},
      Code::kDataLoss);
}

}  // namespace internal

namespace {

/// `Row` holds 0..n.
template <class Row>
Result<std::vector<std::uint8_t>> invert(std::span<const std::uint8_t> bwt, std::size_t primary) {
  const std::size_t n = bwt.size();
  std::array<Row, 256> next{};  // the row that the next occurrence of each symbol leads to
  for (const std::uint8_t c : bwt) ++next[c];
  Row first = 1;
  for (Row& row : next) {
    const Row count = row;
    row = first;
    first = static_cast<Row>(first + count);
  }
  std::vector<Row> lf(n);
  for (std::size_t i = 0; i < n; ++i) lf[i] = next[bwt[i]]++;
  std::vector<std::uint8_t> text(n);
  std::size_t row = 0;
  for (std::size_t k = n; k-- > 0;) {
    if (row == primary) return internal::not_a_transform(n, primary, n - 1 - k);
    const std::size_t at = row < primary ? row : row - 1;
    text[k] = bwt[at];
    row = lf[at];
  }
  // LF is a permutation of the rows and row p leads to row 0: after n other rows only p is left.
  TS_REQUIRE(row == primary, row, primary);
  return text;
}

}  // namespace

Result<std::vector<std::uint8_t>> inverse_bwt(std::span<const std::uint8_t> bwt, std::size_t primary) {
  if (Status status = internal::check_primary(bwt.size(), primary); !status.ok()) return status;
  try {
    if (bwt.size() < std::numeric_limits<std::uint32_t>::max()) return invert<std::uint32_t>(bwt, primary);
    return invert<std::uint64_t>(bwt, primary);
  } catch (const std::bad_alloc&) {
    return bad_input({"", "transform", std::to_string(bwt.size()) + " bytes", "5 bytes of memory for each",
                      "cut the text in blocks"},
                     Code::kResourceExhausted);
  }
}

}  // namespace tessera::strings
