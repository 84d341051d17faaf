/// SIGTERM, SIGINT and SIGUSR1 as a question a step can ask. (Slurm and Open MPI forward SIGUSR1 to ranks
/// untouched, while mpirun answers SIGTERM by killing them after a second unless told otherwise.)
#pragma once

namespace tessera::runtime {

/// While one lives, the signals no longer end the process; the second SIGINT does.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

/// Whether one of them has come to this process since the first StopSignals.
[[nodiscard]] bool stop_requested();

/// What a signal does; for tests.
void request_stop();
void forget_stop_request();

}  // namespace tessera::runtime
