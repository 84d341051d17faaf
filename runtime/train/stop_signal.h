/// SIGTERM, SIGINT and SIGUSR1 as a question a step can ask.
///
/// No handler runs: the signals are blocked in every thread and one thread waits for them. A handler that
/// ran in the middle of one of oneDNN's generated matrix products left the heap corrupted.
///
/// mpirun and Slurm forward SIGUSR1 to ranks untouched; mpirun answers SIGTERM by killing them a second
/// later (OMPI_MCA_odls_base_sigkill_timeout says after how long).
#pragma once

#include <csignal>
#include <thread>

namespace tessera::runtime {

/// While one lives, the signals no longer end the process; the second SIGINT does. Made before any other
/// thread, MPI's included, as threads inherit what is blocked.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  sigset_t before_{};
  std::thread watcher_;
};

/// Whether one of them has come to this process since the first StopSignals.
[[nodiscard]] bool stop_requested();

/// What a signal does; for tests.
void request_stop();
void forget_stop_request();

}  // namespace tessera::runtime
