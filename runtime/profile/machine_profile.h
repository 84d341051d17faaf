/// Everything tessera-profile measures, as one value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "planner/spec/profile.h"
#include "runtime/profile/layer_profile.h"
#include "runtime/profile/link_profile.h"

namespace tessera::runtime {

struct ProfileQuestion {
  std::string device = "cpu";  // what the ranks are called in cluster.json
  planner::ModelSpec model;
  std::int64_t sequence_length = 256;
  std::vector<int> tensor_parallel = {1};
  std::vector<std::int64_t> micro_batch = {1, 2};
  std::vector<planner::Recompute> recompute = {planner::Recompute::kNone, planner::Recompute::kSelective,
                                               planner::Recompute::kFull};
  bool links = true;
  int rounds = 5;
  double round_s = 0.3;
  int threads = 1;
  double speed = 1;
  /// Ranks of one host play several nodes of a cluster: what is measured inside it also counts between nodes.
  bool plays_nodes = false;
};

struct MachineProfile {
  planner::Profile profile;
  std::vector<Measurement> measurements;
};

/// Collective; the same result on every rank.
[[nodiscard]] Result<MachineProfile> profile_machine(Communicator& world, const ProfileQuestion& question,
                                                     const Clock& clock);

/// What was measured with its noise, a line each.
[[nodiscard]] std::string to_text(const std::vector<Measurement>& measurements);

}  // namespace tessera::runtime
