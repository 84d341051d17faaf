/// A cluster with nodes taken away or added: "what would it cost to lose n3, or to rent two more of a?"
///
///   remove:NAME        the node of that name, or every node NAME-0, NAME-1, ... of a repeated row
///   add:NAME           one more node like NAME; add:NAME*3 three more
///   add:GPU:COUNT      a node of COUNT such GPUs from the built-in table; add:GPU:COUNT*3 three of them
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/cluster_spec.h"

namespace tessera::planner::tools {

/// Changes apply in order. Errors name the change, what exists, and the nearest name.
[[nodiscard]] Result<ClusterSpec> apply_what_if(ClusterSpec cluster, const std::vector<std::string>& changes);

}  // namespace tessera::planner::tools
