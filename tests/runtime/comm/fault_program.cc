/// The ranks that fault_test.py hurts. Usage: fault_program <scenario> <token>; the token only marks the
/// processes. Scenarios:
///   reduce     all-reduce until the end; someone outside kills or stops a rank
///   throw      rank 1 throws in the middle, the others are in an all-reduce; main calls abort()
///   leave      the same, but the exception leaves MpiEnvironment's scope without abort()
///   split      rank 2 stops itself, the others split
///   finalize   rank 2 stops itself, the others finalize
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "runtime/comm/collectives.h"
#include "runtime/comm/mpi_comm.h"

namespace {

using namespace tessera;           // NOLINT(google-build-using-namespace): a program of one file
using namespace tessera::runtime;  // NOLINT(google-build-using-namespace)

constexpr std::chrono::milliseconds kDeadline(4000);

void body(Communicator& comm, const std::string& scenario) {
  const int rank = comm.rank().value;
  comm.set_deadline(kDeadline);
  std::vector<float> x(1 << 20, 1.0F);
  all_reduce_sum(comm, x, Traffic::kGradient);
  std::printf("ready %d %d\n", rank, static_cast<int>(getpid()));
  std::fflush(stdout);
  if (scenario == "split") {
    if (rank == 2) (void)std::raise(SIGSTOP);
    (void)comm.split(0, 0);
  } else if (scenario == "finalize") {
    if (rank == 2) (void)std::raise(SIGSTOP);
  } else {
    for (int i = 0;; ++i) {
      if (i == 5 && rank == 1 && scenario != "reduce") throw std::runtime_error("loss is not a number");
      x.assign(x.size(), 1.0F);
      all_reduce_sum(comm, x, Traffic::kGradient);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  try {
    MpiEnvironment environment(argc, argv, kDeadline);
    const auto comm = make_mpi_world();
    if (scenario == "leave") {
      body(*comm, scenario);
    } else {
      try {
        body(*comm, scenario);
      } catch (const std::exception& e) {
        comm->abort(e.what());
      }
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "not reached by a rank that fails: %s\n", e.what());
  }
  return 0;
}
