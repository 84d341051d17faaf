/// The settings of a supervised run: train.json, then flags, then what a supervisor needs to be so.
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/train_spec.h"

namespace tessera::recovery::tools {

struct TrainSettings {
  planner::TrainSpec spec;               // for every start: no plan, nothing that a plan decides
  std::vector<std::string> plan_choice;  // what the user has decided of the plan, as flags of tessera-plan
};

/// `flags`: "--steps", "200", "--data", "a.txt", "b.txt" or "--steps=200", as tessera-train takes them.
/// Errors    kInvalidArgument, naming the flag or field and the nearest known one.
[[nodiscard]] Result<TrainSettings> train_settings(const std::string& train_json, const std::string& model,
                                                   const std::vector<std::string>& flags,
                                                   const std::string& state_folder);

}  // namespace tessera::recovery::tools
