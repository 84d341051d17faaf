/// One verdict for all ranks: a step that each rank tries alone and that may fail on some of them.
#pragma once

#include "algos/base/status.h"
#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// Collective. OK when every rank's status is OK; otherwise, on every rank alike, the status of the lowest
/// rank that failed. A message that not all ranks share is prefixed with "rank R: ".
[[nodiscard]] Status agree(Communicator& world, const Status& mine);

}  // namespace tessera::runtime
