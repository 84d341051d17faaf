#include "runtime/tools/npy.h"

#include <bit>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "algos/base/require.h"

namespace tessera::runtime {

static_assert(std::endian::native == std::endian::little, "the array is written as it lies in memory");

Status write_npy(const std::string& path, std::span<const float> values,
                 std::span<const std::int64_t> shape) {
  std::string dims;
  std::int64_t count = 1;
  for (const std::int64_t dim : shape) {
    dims += fmt::format("{},", dim);
    count *= dim;
  }
  TS_REQUIRE(count == static_cast<std::int64_t>(values.size()), count, values.size());

  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", dims);
  constexpr std::size_t kPrefix = 10;  // magic, version, header length
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  std::string prefix("\x93NUMPY\x01\x00", 8);
  prefix += static_cast<char>(header.size() & 0xff);
  prefix += static_cast<char>(header.size() >> 8);

  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(prefix)),
                                               std::as_bytes(std::span(header)), std::as_bytes(values)};
  return write_durably(path, pieces);
}

}  // namespace tessera::runtime
