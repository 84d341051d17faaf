/// The command that starts a plan's ranks, as a pure function.
///
/// local    every rank on this machine; node names are only names (TESSERA_NODE). Ranks in the plan's order.
/// hosts    node names are hosts that mpirun reaches, inside a Slurm allocation through Slurm. A context for
///          each node, in the order of the plan's first ranks; the ranks find their places by host.
///
/// Example, two nodes of one rank each:
///   mpirun --host a:1 -np 1 env TESSERA_NODE=a … tessera-train … : --host b:1 -np 1 env TESSERA_NODE=b …
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"
#include "recovery/supervisor/processes.h"

namespace tessera::recovery {

enum class LaunchMode : std::uint8_t { kLocal, kHosts };

struct NodeRanks {
  std::string node;
  int ranks = 0;
  bool operator==(const NodeRanks&) const = default;
};
/// Runs of equal node in rank order (kLocal), or each node once by first rank (kHosts).
[[nodiscard]] std::vector<NodeRanks> rank_contexts(const planner::Plan& plan, LaunchMode mode);

/// `program`: the training program and its arguments. `environment`: what ranks need, on whatever machine.
[[nodiscard]] std::vector<std::string> launch_command(const planner::Plan& plan, LaunchMode mode,
                                                      const std::string& mpirun,
                                                      const std::vector<std::string>& program,
                                                      const Environment& environment);

/// What mpirun needs when its ranks share this one machine: more ranks than cores, root in a container.
[[nodiscard]] Environment local_mpi_environment(bool root);

/// Host names of `scontrol show hostnames`, one a line.
[[nodiscard]] std::vector<std::string> parse_host_names(std::string_view text);

/// The process id in mpirun's "process rank 2 with PID 4711 on node vm exited on signal 9"; 0: no such line.
[[nodiscard]] std::int64_t first_dead_process(std::string_view log);

}  // namespace tessera::recovery
