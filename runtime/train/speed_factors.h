/// The speeds that --speed-factors gives to the ranks of a run.
#pragma once

#include <vector>

#include "algos/base/status.h"
#include "planner/spec/train_spec.h"

namespace tessera::runtime {

/// One per rank, in (0, 1]; 1 for all without the option. Errors: kInvalidArgument for a text that is no such
/// number, and for another count than 1 or `ranks`.
[[nodiscard]] Result<std::vector<double>> speed_factors(const planner::TrainSpec& spec, int ranks);

}  // namespace tessera::runtime
