/// Which rank of a plan each process is: processes find their place by the host they run on.
///
/// Rules, the first that fits
///   1. the processes' hosts carry the names of the plan's nodes: each takes a place on its own node;
///   2. one host runs every process: the plan's nodes are all on this machine, processes take ranks in order
///   (tests
///      and demonstrations; a laptop plays a cluster);
///   3. no host has the name of a node, there are as many hosts as nodes in use, and as many processes on the
///   i-th
///      host, in order of first process, as the plan has ranks on its i-th node.
/// Anything else is refused, listing what the plan wants and what is there. On a host, processes take the
/// node's ranks in order, so a process keeps the device it is bound to.
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/plan/plan.h"

namespace tessera::runtime {

/// Entry i: the plan's rank of process i. Pure; `hosts` has an entry per process. `file` names the plan in
/// errors.
[[nodiscard]] Result<std::vector<int>> place_ranks(const planner::Plan& plan,
                                                   const std::vector<std::string>& hosts,
                                                   const std::string& file);

}  // namespace tessera::runtime
