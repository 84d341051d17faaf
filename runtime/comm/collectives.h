/// Collectives over any Communicator's point-to-point messages, asynchronous, in a fixed order of addition.
///
/// n ranks, message of N elements. Ranges: element block i of n is [i*N/n, (i+1)*N/n) (block_begin).
///
/// | operation            | algorithm           | bytes sent per rank          |
/// |----------------------|---------------------|------------------------------|
/// | reduce_scatter_sum   | ring, n-1 hops      | about (n-1)/n * N * 4        |
/// | all_gather           | ring, n-1 hops      | about (n-1)/n * N * sizeof   |
/// | all_reduce_sum       | the two above       | about 2(n-1)/n * N * 4       |
/// | all_reduce (doubles) | gather to all, add in rank order | (n-1) * N * 8   |
/// | broadcast            | binomial tree       | at most ceil(log2 n) * N     |
/// | all_to_all           | n-1 pairwise        | sum of send sizes off-rank   |
///
/// Worked example, reduce_scatter on n = 3, N = 3, rank r holding x_r: hop 1 rank r sends block r-1 to
/// r+1 … after hop n-1 rank r holds sum over ranks of block r. The order of addition for block i is
/// x_{i+1} + x_{i+2} + … + x_{i+n}, indices mod n, on every run.
///
/// Asynchronous forms return a Request; data must stay untouched until it is done. Every rank must start
/// the same collectives on one communicator in the same order.
/// Thakur, Rabenseifner & Gropp 2005, "Optimization of Collective Communication Operations in MPICH".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

[[nodiscard]] constexpr std::int64_t block_begin(std::int64_t count, int blocks, int i) {
  return count * i / blocks;
}

/// In place: on return, block rank() of `data` holds the sum; the other blocks hold partial sums.
[[nodiscard]] Request ireduce_scatter_sum(Communicator& comm, std::span<float> data, Traffic traffic);
/// In place: block i of `data` comes from rank i.
[[nodiscard]] Request iall_gather(Communicator& comm, std::span<float> data, Traffic traffic);
[[nodiscard]] Request iall_reduce_sum(Communicator& comm, std::span<float> data, Traffic traffic);

void reduce_scatter_sum(Communicator& comm, std::span<float> data, Traffic traffic);
void all_gather(Communicator& comm, std::span<float> data, Traffic traffic);
void all_reduce_sum(Communicator& comm, std::span<float> data, Traffic traffic);

/// Small exact reductions in double, the same value on every rank.
enum class Reduction : std::uint8_t { kSum, kMin, kMax };
void all_reduce(Communicator& comm, std::span<double> data, Reduction reduction);

void broadcast(Communicator& comm, std::span<std::byte> data, Rank root, Traffic traffic);
/// Everyone's bytes (lengths may differ), in rank order, on every rank.
[[nodiscard]] std::vector<std::vector<std::byte>> all_gather_bytes(Communicator& comm,
                                                                   std::span<const std::byte> mine);

/// send[i] goes to rank i, recv[i] comes from rank i; spans may be empty; the own pair is copied.
[[nodiscard]] Request iall_to_all(Communicator& comm, std::span<const std::span<const std::byte>> send,
                                  std::span<const std::span<std::byte>> recv, Traffic traffic);

void barrier(Communicator& comm);

}  // namespace tessera::runtime
