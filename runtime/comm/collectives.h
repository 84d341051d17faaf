/// Collectives over any Communicator's point-to-point messages, asynchronous, in a fixed order of addition.
///
/// n ranks, message of N elements. Element block i of n is [i*N/n, (i+1)*N/n) (block_begin); a block of m
/// elements moves as segments(m) messages of at most kSegmentElements, so as none if it is empty.
///
/// | operation            | algorithm             | bytes sent by rank r           | messages sent by rank r
/// |
/// |----------------------|-----------------------|--------------------------------|------------------------------|
/// | reduce_scatter_sum   | ring, n-1 hops        | all blocks but block r         | their segments | |
/// all_gather           | ring, n-1 hops        | all blocks but block r+1       | their segments | |
/// all_reduce_sum       | the two above         | their sum, about 2(n-1)/n * 4N | their sum | | all_reduce
/// (doubles) | Bruck, add in order   | (n-1) * 8N                     | ceil(log2 n)                 | |
/// broadcast            | binomial tree         | N * children(r)                | children(r) <= ceil(log2
/// n)  | | all_gather_bytes     | Bruck, sizes then all | 8(n-1) + n-1 of the strings    | 2 ceil(log2 n) |
/// | all_to_all           | pairwise              | what it has for others         | n-1 | | barrier |
/// dissemination         | 0                              | ceil(log2 n)                 |
///
/// Worked example, reduce_scatter on n = 3, N = 3, rank r holding x_r: hop 1 rank r sends block r-1 to
/// r+1 and adds block r-2 of r-1 to its own; after hop n-1 rank r holds the sum over ranks of block r. The
/// order of addition for block i is x_{i+1} + x_{i+2} + ... + x_{i+n}, indices mod n, on every run.
///
///   rank      0            1            2
///   before    a0 b0 c0     a1 b1 c1     a2 b2 c2
///   hop 1     c0 -> 1      a1 -> 2      b2 -> 0
///             a0 B c0      a1 b1 C      A b2 c2       A = a1+a2, B = b2+b0, C = c0+c1
///   hop 2     B -> 1       C -> 2       A -> 0
///             A+a0 . .     . B+b1 .     . . C+c2
///
/// The ring is a pipeline of segments: adding one overlaps with moving the next, across hops, and buffers
/// come from the communicator's ScratchPool, four segments of them whatever the message size.
///
/// Asynchronous forms return a Request; data must stay untouched until it is done. Every rank must start
/// the same collectives on one communicator in the same order.
/// Thakur, Rabenseifner & Gropp 2005, "Optimization of Collective Communication Operations in MPICH"; Bruck
/// et al. 1997, "Efficient Algorithms for All-to-All Communications", IEEE TPDS 8(11).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

[[nodiscard]] constexpr std::int64_t block_begin(std::int64_t count, int blocks, int i) {
  return count * i / blocks;
}

/// Longest message of the ring, 256 KiB: long enough to hide its start, short enough to stay in cache.
inline constexpr std::int64_t kSegmentElements = 1 << 16;

[[nodiscard]] constexpr std::int64_t segments(std::int64_t elements) {
  return (elements + kSegmentElements - 1) / kSegmentElements;
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
