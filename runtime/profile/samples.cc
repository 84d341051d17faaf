#include "runtime/profile/samples.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {

double quantile(std::vector<double> values, double q) {
  TS_REQUIRE(!values.empty() && q >= 0 && q <= 1, values.size(), q);
  std::ranges::sort(values);
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return std::lerp(values[low], values[high], at - static_cast<double>(low));
}

Measurement summarize(Communicator& world, std::string name, const std::vector<double>& mine) {
  std::vector<double> all;
  for (const auto& bytes : all_gather_bytes(world, as_bytes(mine.data(), std::ssize(mine)))) {
    std::vector<double> theirs(bytes.size() / sizeof(double));
    if (!theirs.empty()) std::memcpy(theirs.data(), bytes.data(), bytes.size());
    all.insert(all.end(), theirs.begin(), theirs.end());
  }
  Measurement result{std::move(name), quantile(all, 0.5), 0, static_cast<int>(all.size())};
  if (result.median > 0) {
    result.spread = (quantile(all, 0.75) - quantile(all, 0.25)) / 2 / result.median;
  }
  return result;
}

}  // namespace tessera::runtime
