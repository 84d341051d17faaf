/// The specifications that every sub-command reads, as options and as values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "algos/base/status.h"
#include "planner/cost/cost.h"

namespace tessera::planner::tools {

struct JobOptions {
  std::string model;                 // config.json, or a directory with one
  std::string cluster;               // cluster.json
  std::string train;                 // train.json
  std::string profile;               // profile.json
  std::int64_t sequence_length = 0;  // 0: as train.json says
  std::int64_t global_batch = 0;
  std::string precision;
  std::vector<std::string> what_if;
};

/// --model, --cluster, --train, --profile, --sequence-length, --global-batch, --precision, --what-if.
void declare_job(CLI::App& app, JobOptions& options);

/// Reads and checks all of them.
[[nodiscard]] Result<CostModel> read_job(const JobOptions& options);

/// For a plan and a profile alone: the cluster from the plan's nodes, with links from the profile and the
/// table; a model of the plan's depth and size (its width is what Llama's proportions give), unless one is
/// named.
[[nodiscard]] Result<CostModel> job_of_plan(const Plan& plan, const JobOptions& options);

/// The powers of two up to the largest node by which the model can be divided.
[[nodiscard]] std::vector<int> tensor_degrees(const CostModel& cost);

}  // namespace tessera::planner::tools
