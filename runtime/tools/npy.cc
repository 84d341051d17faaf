#include "runtime/tools/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

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
  const auto length = static_cast<std::uint16_t>(header.size());

  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write("\x93NUMPY\x01\x00", 8);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  file.close();
  if (!file) return {Code::kIoError, fmt::format("{}: cannot write: {}", path, std::strerror(errno))};
  return {};
}

}  // namespace tessera::runtime
