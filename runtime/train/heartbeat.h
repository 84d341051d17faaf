/// A rank's side of the heartbeats that tessera-run watches (recovery/supervisor/heartbeat.h).
///
/// Beats at every micro-batch, every step and every change of state, about 40 us each; none where
/// TESSERA_HEARTBEAT_DIR is not set. A beat that cannot be written is dropped: the supervisor then takes the
/// rank for hung, which is what it should do about a machine that cannot write.
#pragma once

#include <cstdint>
#include <string>

#include "recovery/supervisor/heartbeat.h"

namespace tessera::runtime {

class Heart {
 public:
  /// `steps`: that the job shall do. The folder and the node's name come from the environment:
  /// TESSERA_HEARTBEAT_DIR, TESSERA_NODE (else the host's name).
  Heart(int rank, std::int64_t steps);

  void enter(recovery::RankState state);
  /// Training begins after `step`; `saved_step`: where the state came from, -1: nowhere.
  void resumed(std::int64_t step, std::int64_t saved_step);
  void micro_batch(std::int64_t index);
  /// `step` optimizer steps are done, the last in `seconds`.
  void step_done(std::int64_t step, double seconds);
  /// The state after `step` is safe: a restart begins there at the latest.
  void saved(std::int64_t step);

 private:
  void beat();
  std::string folder_;
  recovery::Heartbeat now_;
};

}  // namespace tessera::runtime
