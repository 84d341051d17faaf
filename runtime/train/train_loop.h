/// A training run from its settings to its report: everything between reading the inputs and the last file.
#pragma once

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "planner/spec/train_spec.h"
#include "runtime/comm/communicator.h"
#include "runtime/train/report.h"
#include "runtime/train/run_log.h"

namespace tessera::runtime {

/// Collective; every rank calls it with the same spec, and gets the same status.
///
/// Loads inputs and agrees on them before anything is written; resumes; trains until spec.steps or a stop
/// signal (stop_signal.h), evaluating and saving on the way; saves, exports, reports.
///
/// Errors    kInvalidArgument: the user's, nothing was written. kDataLoss and others: see the message. A
///           failed periodic save is reported and training goes on; a failed last save or export is an
///           error. CommError and DivergedError are thrown.
[[nodiscard]] Result<RunReport> train(Communicator& world, const planner::TrainSpec& spec,
                                      const Console& console, const Clock& clock);

}  // namespace tessera::runtime
