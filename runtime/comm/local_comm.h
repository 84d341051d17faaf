/// Ranks as threads of one process: what tests use, and what one machine without MPI can train with.
///
/// A message moves by one copy, from the sender's buffer to the receiver's, made by whichever of the two
/// comes second; a send is done when its receive took it. Nothing is buffered, so a program that works
/// here does not depend on MPI's eager limit, and nothing is allocated per byte. The price is one wake-up
/// of the sender per message.
///
/// A waiting rank sleeps until something happens to it, so hundreds of ranks share a few cores.
///
///   run_local_ranks(3, [](Communicator& comm) {
///     std::vector<double> x = {1.0 + comm.rank().value};
///     all_reduce(comm, x, Reduction::kSum);           // 6.0 on each of the three threads
///   });
#pragma once

#include <functional>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

/// Runs body on `ranks` threads, each with its world communicator, and joins them. The first exception
/// aborts the other ranks and is rethrown here; a wait for a rank whose body has returned throws.
/// ranks >= 1. Memory: a thread's stack per rank, O(ranks) traffic counters in each.
void run_local_ranks(int ranks, const std::function<void(Communicator&)>& body);

}  // namespace tessera::runtime
