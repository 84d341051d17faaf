/// Our collectives against MPI's own, same ranks, same buffers, taking turns in one run.
///
///   scripts/launch/local.sh -np 4 build/mpi/bin/collectives-bench
///
/// A row is a message size: median milliseconds over the repeats of the slowest rank, bus bandwidth
/// 2(n-1)/n * bytes / time, and the ratio ours / MPI (below 1: ours is faster).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <malloc.h>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <mpi.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/mpi_comm.h"

namespace {

using namespace tessera;           // NOLINT(google-build-using-namespace): a program of one file
using namespace tessera::runtime;  // NOLINT(google-build-using-namespace)

double slowest_ms(Communicator& comm, const std::function<void()>& run) {
  barrier(comm);
  const auto start = std::chrono::steady_clock::now();
  run();
  std::vector<double> ms = {
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count()};
  all_reduce(comm, ms, Reduction::kMax);
  return ms[0];
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

struct Pair {
  const char* name;
  std::function<void(std::span<float>)> ours;
  std::function<void(std::span<float>)> theirs;
  double bus_factor;  // bytes on the busiest link per byte of message
};

}  // namespace

int main(int argc, char** argv) {
  // MPI takes its buffers from malloc in each call. By default glibc gives large ones back to the system, and
  // touching them anew would more than double MPI's time: an opponent nobody should measure against.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  MpiEnvironment environment(argc, argv);
  const auto comm = make_mpi_world();
  const int n = comm->size();
  const int repeats = argc > 1 ? std::max(1, std::atoi(argv[1])) : 9;
  const std::vector<Pair> pairs = {
      {"all_reduce", [&](std::span<float> x) { all_reduce_sum(*comm, x, Traffic::kGradient); },
       [&](std::span<float> x) {
         MPI_Allreduce(MPI_IN_PLACE, x.data(), static_cast<int>(x.size()), MPI_FLOAT, MPI_SUM,
                       MPI_COMM_WORLD);
       },
       2.0 * (n - 1) / n},
      {"reduce_scatter", [&](std::span<float> x) { reduce_scatter_sum(*comm, x, Traffic::kGradient); },
       [&](std::span<float> x) {
         MPI_Reduce_scatter_block(MPI_IN_PLACE, x.data(), static_cast<int>(x.size()) / n, MPI_FLOAT, MPI_SUM,
                                  MPI_COMM_WORLD);
       },
       1.0 * (n - 1) / n},
      {"all_gather", [&](std::span<float> x) { all_gather(*comm, x, Traffic::kParameter); },
       [&](std::span<float> x) {
         MPI_Allgather(MPI_IN_PLACE, 0, MPI_FLOAT, x.data(), static_cast<int>(x.size()) / n, MPI_FLOAT,
                       MPI_COMM_WORLD);
       },
       1.0 * (n - 1) / n},
  };
  std::vector<float> x(std::size_t{1} << 24);
  if (comm->rank() == Rank(0)) {
    fmt::print("{} ranks\n{:<15} {:>9} {:>10} {:>10} {:>12} {:>12} {:>6}\n", n, "operation", "KiB", "ours ms",
               "MPI ms", "ours GB/s", "MPI GB/s", "ratio");
  }
  for (const Pair& pair : pairs) {
    for (const std::size_t bytes : {std::size_t{1} << 12, std::size_t{1} << 16, std::size_t{1} << 20,
                                    std::size_t{1} << 23, std::size_t{1} << 26}) {
      const auto part = std::span(x).first(bytes / sizeof(float));
      pair.ours(part);  // touches buffers, ours and MPI's
      pair.theirs(part);
      std::vector<double> ours_ms;
      std::vector<double> theirs_ms;
      for (int i = 0; i < repeats; ++i) {
        ours_ms.push_back(slowest_ms(*comm, [&] { pair.ours(part); }));
        theirs_ms.push_back(slowest_ms(*comm, [&] { pair.theirs(part); }));
      }
      const double ours = median(ours_ms);
      const double theirs = median(theirs_ms);
      if (comm->rank() == Rank(0)) {
        const double gigabytes = pair.bus_factor * static_cast<double>(bytes) * 1e-9;
        fmt::print("{:<15} {:>9} {:>10.3f} {:>10.3f} {:>12.2f} {:>12.2f} {:>6.2f}\n", pair.name, bytes >> 10,
                   ours, theirs, gigabytes / ours * 1e3, gigabytes / theirs * 1e3, ours / theirs);
      }
    }
  }
  return 0;
}
