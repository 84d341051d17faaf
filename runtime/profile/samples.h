/// Repeated measurements of one quantity and what they say.
///
/// A rank's sample is the mean of a round of passes, so that the turns of ranks that share a core average out
/// inside it; the value is the median over the rounds of all ranks, so that what disturbs one round does not
/// count.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// Requires a value. Linear between order statistics, as NumPy's default.
[[nodiscard]] double quantile(std::vector<double> values, double q);

struct Measurement {
  std::string name;
  double median = 0;  // seconds, of all rounds of all ranks
  double spread = 0;  // half the distance between the quartiles, relative to the median; 0 for one sample
  int samples = 0;
};

/// Collective: of everyone's samples, of which a rank may have none; some rank must have one.
[[nodiscard]] Measurement summarize(Communicator& world, std::string name, const std::vector<double>& mine);

}  // namespace tessera::runtime
