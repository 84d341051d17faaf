/// Ranks as MPI processes: the communicator of programs under mpirun or srun.
///
/// Over MPI a failed rank cannot be survived inside the job (no ULFM in the MPI of the distributions): the
/// job ends, with a reason, in bounded time, and whoever launched it decides what comes next.
///
///   int main(int argc, char** argv) {
///     MpiEnvironment environment(argc, argv);
///     const auto comm = make_mpi_world();
///     try { train(*comm); } catch (const std::exception& e) { comm->abort(e.what()); }
///   }
///
/// Each wait polls with MPI_Test, yields, and after some milliseconds sleeps between polls. A waiting rank
/// also answers the question "whom do you wait for", so that a deadline names the rank at fault (blame.h).
/// Calls that MPI gives no way to poll (init, split, finalize) run under a watchdog with the same deadline.
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// MPI_Init_thread (FUNNELED) in the constructor, MPI_Finalize in the destructor. When it is destroyed by an
/// exception that nobody turned into abort(), it ends the job, as finalizing would wait for the others.
/// Finalizing waits for every rank, for `finalize_deadline` at most; then the process ends with an error.
class MpiEnvironment {
 public:
  MpiEnvironment(int& argc, char**& argv,
                 std::chrono::milliseconds finalize_deadline = std::chrono::minutes(2));
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

 private:
  std::chrono::milliseconds finalize_deadline_;
  int exceptions_;
};

struct MpiLimits {
  /// Longest message given to MPI as a plain count of bytes; longer ones go as a derived type, which the
  /// int counts of MPI 3 force. Tests lower it.
  std::size_t largest_count = std::numeric_limits<int>::max();
};

/// All ranks of MPI_COMM_WORLD, through communicators of its own. Requires MPI to be initialized, by
/// MpiEnvironment or otherwise. Throws MpiError, or CommError where MPI_TAG_UB is below 2^21 - 1.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_world(MpiLimits limits = {});

}  // namespace tessera::runtime
