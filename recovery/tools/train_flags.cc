#include "recovery/tools/train_flags.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tessera::recovery::tools {
namespace {

using planner::TrainSpec;

Status set_flag(TrainSpec& spec, const std::string& flag, const std::vector<std::string>& values) {
  const auto& options = planner::train_options();
  const auto option = std::ranges::find(options, flag, &planner::TrainOption::flag);
  if (option == options.end()) {
    std::string name = flag.substr(std::min(flag.size(), flag.find_first_not_of('-')));
    std::ranges::replace(name, '-', '_');
    const std::string nearest = planner::nearest_train_option(name);
    return bad_input({"command line", "", flag, "a flag of tessera-run, or after -- one of tessera-train",
                      nearest.empty() ? "tessera-run --help and tessera-train --help list them"
                                      : "did you mean the flag for " + nearest + "?"});
  }
  if (values.empty() || (values.size() > 1 && option->kind != planner::OptionKind::kList)) {
    return bad_input(
        {"after --", "", fmt::format("{} with {} values", flag, values.size()), option->range, ""});
  }
  return planner::set_train_option(spec, option->name, fmt::format("{}", fmt::join(values, ",")), flag);
}

Status apply_flags(TrainSpec& spec, const std::vector<std::string>& flags) {
  for (std::size_t i = 0; i < flags.size();) {
    std::string flag = flags[i++];
    std::vector<std::string> values;
    if (const std::size_t equals = flag.find('='); equals != std::string::npos) {
      values.push_back(flag.substr(equals + 1));
      flag.erase(equals);
    }
    while (i < flags.size() && !flags[i].starts_with("--")) values.push_back(flags[i++]);
    TS_TRY(set_flag(spec, flag, values));
  }
  return {};
}

/// What the user says about the plan goes to the planner, so that a plan never contradicts the run.
Result<std::vector<std::string>> take_plan_choice(TrainSpec& spec) {
  const TrainSpec defaults;
  std::vector<std::string> choice = {"--precision", spec.precision};
  const auto refuse = [](const char* name) {
    return bad_input({name, "", "a value of its own", "none: the plan decides it, anew after every loss",
                      "leave it out, or run tessera-train yourself"});
  };
  if (!spec.plan.empty()) return refuse("plan");
  if (spec.data_parallel != defaults.data_parallel) return refuse("data_parallel");
  if (spec.pipeline_parallel != defaults.pipeline_parallel) return refuse("pipeline_parallel");
  if (!spec.speed_factors.empty()) return refuse("speed_factors");
  const auto pass_on = [&](const char* flag, auto& value, const auto& fallback) {
    if (value != fallback) choice.insert(choice.end(), {flag, fmt::format("{}", value)});
    value = fallback;
  };
  pass_on("--micro-batch", spec.micro_batch, defaults.micro_batch);
  pass_on("--context", spec.mesh, defaults.mesh);
  pass_on("--tensor-parallel", spec.tensor_parallel, defaults.tensor_parallel);
  if (spec.recompute == "on") choice.insert(choice.end(), {"--recompute", "selective"});
  spec.recompute = defaults.recompute;
  return choice;
}

}  // namespace

Result<TrainSettings> train_settings(const std::string& train_json, const std::string& model,
                                     const std::vector<std::string>& flags, const std::string& state_folder) {
  TrainSettings settings;
  TrainSpec& spec = settings.spec;
  if (!train_json.empty()) TS_TRY(planner::read_train_spec(train_json, spec));
  if (!model.empty()) spec.model = model;
  TS_TRY(apply_flags(spec, flags));
  if (spec.out == TrainSpec().out) spec.out = state_folder + "/run";
  spec.resume = "auto";
  spec.resume_fallback = "on";
  settings.plan_choice = TS_TRY(take_plan_choice(spec));
  TS_TRY(planner::check_train_spec(spec));
  return settings;
}

}  // namespace tessera::recovery::tools
