#include "tests/runtime/comm/conformance.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "runtime/comm/collectives.h"
#include "tests/support/expect_all_ranks.h"

namespace tessera::test {
namespace {

using runtime::as_bytes;
using runtime::as_writable_bytes;
using runtime::block_begin;
using runtime::CommError;
using runtime::Communicator;
using runtime::Reduction;
using runtime::Request;
using runtime::segments;
using runtime::Traffic;
using runtime::TrafficCount;
using runtime::TrafficTable;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

Rank right_of(const Communicator& comm) { return Rank((comm.rank().value + 1) % comm.size()); }
Rank left_of(const Communicator& comm) { return Rank((comm.rank().value + comm.size() - 1) % comm.size()); }

int ceil_log2(int n) {
  int log = 0;
  while ((1 << log) < n) ++log;
  return log;
}

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(seed));
  return bytes;
}

/// Element i of rank r's vector; any rank can compute any other's.
float element(int rank, std::int64_t i) {
  return static_cast<float>(uniform(static_cast<std::uint64_t>(rank) + 1, static_cast<std::uint64_t>(i)) -
                            0.5);
}

std::vector<float> vector_of(int rank, std::int64_t count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = element(rank, i);
  return x;
}

/// The sizes at which a ring can go wrong: empty, fewer elements than ranks, one each, several segments
/// with blocks of unequal length.
std::vector<std::int64_t> ring_sizes(int n) { return {0, 1, n - 1, n, n + 1, 1000, 1000003}; }

int block_of(std::int64_t count, int n, std::int64_t i) {
  int b = 0;
  while (block_begin(count, n, b + 1) <= i) ++b;
  return b;
}

/// Holds elements [begin, end) of `sum` to a serial sum: bit-equal in the documented order x_{b+1} + ... +
/// x_{b+n}, which is itself within n * 2^-24 * sum |x| of the sum in double.
bool is_serial_sum(std::span<const float> sum, int n, std::int64_t begin, std::int64_t end) {
  const auto count = static_cast<std::int64_t>(sum.size());
  int b = begin < end ? block_of(count, n, begin) : 0;
  for (std::int64_t i = begin; i < end; ++i) {
    while (block_begin(count, n, b + 1) <= i) ++b;
    float serial = element((b + 1) % n, i);
    double exact = element((b + 1) % n, i);
    double magnitude = std::abs(exact);
    for (int k = 2; k <= n; ++k) {
      const float x = element((b + k) % n, i);
      serial += x;
      exact += x;
      magnitude += std::abs(static_cast<double>(x));
    }
    const float got = sum[static_cast<std::size_t>(i)];
    if (got != serial || std::abs(got - exact) > n * 0x1p-24 * magnitude) return false;
  }
  return true;
}

// ---- point to point

void same_tag_arrives_in_order(Communicator& comm) {
  constexpr int kMessages = 50;
  std::vector<std::vector<std::byte>> sent;
  std::vector<Request> requests;
  for (int i = 0; i < kMessages; ++i) {
    sent.push_back(pattern(static_cast<std::size_t>(i * 321), comm.rank().value + i));
    requests.push_back(comm.isend(sent.back(), right_of(comm), 5, Traffic::kControl));
    // Between them, another tag that the receiver wants only at the end.
    requests.push_back(comm.isend(as_bytes(sent.back().data(), i), right_of(comm), 6, Traffic::kControl));
  }
  bool right = true;
  for (const int tag : {5, 6}) {
    for (int i = 0; i < kMessages; ++i) {
      std::vector<std::byte> got(static_cast<std::size_t>(tag == 5 ? i * 321 : i));
      Request receive = comm.irecv(got, left_of(comm), tag, Traffic::kControl);
      comm.wait(receive);
      auto expected = pattern(static_cast<std::size_t>(i * 321), left_of(comm).value + i);
      expected.resize(got.size());
      right = right && got == expected;
    }
  }
  comm.wait_all(requests);
  EXPECT_ALL_RANKS(comm, right);
}

void zero_bytes_is_a_message(Communicator& comm) {
  const TrafficCount before = comm.traffic().at(comm.root_rank(right_of(comm)), Traffic::kKeyValue);
  std::array<Request, 2> requests = {comm.irecv({}, left_of(comm), 1, Traffic::kKeyValue),
                                     comm.isend({}, right_of(comm), 1, Traffic::kKeyValue)};
  comm.wait_all(requests);
  const TrafficCount after = comm.traffic().at(comm.root_rank(right_of(comm)), Traffic::kKeyValue);
  EXPECT_ALL_RANKS(comm, after.messages_sent == before.messages_sent + 1);
  EXPECT_ALL_RANKS(comm, after.bytes_sent == before.bytes_sent);
}

void rank_sends_to_itself(Communicator& comm) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{3000000}}) {
    const auto sent = pattern(size, comm.rank().value);
    std::vector<std::byte> got(size);
    // Both orders of posting.
    Request receive = comm.irecv(got, comm.rank(), 0, Traffic::kControl);
    Request send = comm.isend(sent, comm.rank(), 0, Traffic::kControl);
    comm.wait(send);
    comm.wait(receive);
    EXPECT_ALL_RANKS(comm, got == sent);
    got.assign(size, std::byte{0});
    send = comm.isend(sent, comm.rank(), 0, Traffic::kControl);
    receive = comm.irecv(got, comm.rank(), 0, Traffic::kControl);
    comm.wait(receive);
    comm.wait(send);
    EXPECT_ALL_RANKS(comm, got == sent);
  }
}

void unequal_sizes_are_an_error(Communicator& comm) {
  const auto sent = pattern(64, 1);
  for (const std::size_t expected : {std::size_t{63}, std::size_t{65}, std::size_t{0}}) {
    std::vector<std::byte> got(expected);
    std::string what;
    {
      Request receive = comm.irecv(got, left_of(comm), 3, Traffic::kControl);
      Request send = comm.isend(sent, right_of(comm), 3, Traffic::kControl);
      try {
        comm.wait(receive);
      } catch (const CommError& e) {
        EXPECT_EQ(e.cause(), CommError::Cause::kLibrary);
        what = e.what();
      }
      comm.wait(send);
    }
    EXPECT_THAT(what, HasSubstr("receive of " + std::to_string(expected) + " bytes from rank " +
                                std::to_string(comm.root_rank(left_of(comm)).value)));
    EXPECT_THAT(what, HasSubstr("tag 3"));
    barrier(comm);  // the communicator is still of use
  }
}

void many_messages_are_outstanding(Communicator& comm) {
  constexpr int kPerPeer = 100;
  constexpr int kFloats = 500;
  const int n = comm.size();
  std::vector<std::vector<float>> got;
  std::vector<std::vector<float>> sent;
  std::vector<Request> requests;
  for (int peer = 0; peer < n; ++peer) {
    for (int i = 0; i < kPerPeer; ++i) {
      got.emplace_back(kFloats);
      sent.push_back(vector_of(comm.rank().value * 1000 + peer * 100 + i, kFloats));
      requests.push_back(
          comm.irecv(as_writable_bytes(got.back().data(), kFloats), Rank(peer), i, Traffic::kControl));
      requests.push_back(
          comm.isend(as_bytes(sent.back().data(), kFloats), Rank(peer), kPerPeer - 1 - i, Traffic::kControl));
    }
  }
  std::reverse(requests.begin(), requests.end());
  comm.wait_all(requests);
  bool right = true;
  for (int peer = 0; peer < n; ++peer) {
    for (int i = 0; i < kPerPeer; ++i) {
      right = right && got[static_cast<std::size_t>(peer * kPerPeer + i)] ==
                           vector_of(peer * 1000 + comm.rank().value * 100 + kPerPeer - 1 - i, kFloats);
    }
  }
  EXPECT_ALL_RANKS(comm, right);
}

void polling_alone_finishes_messages(Communicator& comm) {
  int got = -1;
  const int sent = comm.rank().value;
  Request receive = comm.irecv(as_writable_bytes(&got, 1), left_of(comm), 2, Traffic::kControl);
  Request send = comm.isend(as_bytes(&sent, 1), right_of(comm), 2, Traffic::kControl);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!(receive.done() && send.done()) && std::chrono::steady_clock::now() < give_up) {
  }
  EXPECT_ALL_RANKS(comm, got == left_of(comm).value);
  EXPECT_TRUE(receive.done());  // stays done
}

// ---- split

void split_orders_by_key_then_rank(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  const auto before = comm.traffic().total();
  const auto reversed = comm.split(0, -r);
  const auto same_key = comm.split(0, 7);
  const auto after = comm.traffic().total();
  EXPECT_EQ(before.messages_sent, after.messages_sent);  // forming one counts nothing
  EXPECT_EQ(reversed->size(), n);
  EXPECT_EQ(reversed->rank().value, n - 1 - r);
  EXPECT_EQ(same_key->rank().value, r);
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(reversed->root_rank(Rank(i)), comm.root_rank(Rank(n - 1 - i)));
    EXPECT_EQ(same_key->root_rank(Rank(i)), comm.root_rank(Rank(i)));
  }
}

void split_of_split_keeps_root_ranks(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  comm.set_deadline(std::chrono::seconds(31));
  const auto parity = comm.split(r % 2, -r);
  EXPECT_EQ(parity->deadline(), std::chrono::seconds(31));
  const auto pair = parity->split(parity->rank().value / 2, 0);
  std::vector<int> same_parity;
  for (int i = n - 1; i >= 0; --i) {
    if (i % 2 == r % 2) same_parity.push_back(i);
  }
  ASSERT_ALL_RANKS(comm, parity->size() == static_cast<int>(same_parity.size()));
  const int mine = parity->rank().value;
  EXPECT_EQ(same_parity[static_cast<std::size_t>(mine)], r);
  const int first = mine / 2 * 2;
  EXPECT_EQ(pair->size(), std::min(2, parity->size() - first));
  for (int i = 0; i < pair->size(); ++i) {
    EXPECT_EQ(pair->root_rank(Rank(i)).value, same_parity[static_cast<std::size_t>(first + i)]);
  }
  // Sums over the members, and the bytes are counted under their root ranks in the one table.
  const Rank neighbour = pair->root_rank(right_of(*pair));
  const auto before = comm.traffic().at(neighbour, Traffic::kQuery);
  std::vector<float> x(100, static_cast<float>(r));
  all_reduce_sum(*pair, x, Traffic::kQuery);
  float sum = 0;
  for (int i = 0; i < pair->size(); ++i) sum += static_cast<float>(pair->root_rank(Rank(i)).value);
  EXPECT_EQ(x, std::vector<float>(100, sum));
  const auto after = comm.traffic().at(neighbour, Traffic::kQuery);
  EXPECT_EQ(after.bytes_sent - before.bytes_sent, pair->size() == 1 ? 0 : 400);
  EXPECT_EQ(&pair->traffic(), &comm.traffic());
}

void parent_and_child_do_not_mix(Communicator& comm) {
  const auto child = comm.split(0, comm.rank().value);
  const auto sibling = comm.split(0, comm.rank().value);
  const std::array<int, 3> sent = {1, 2, 3};
  std::array<int, 3> got = {};
  const std::array<Communicator*, 3> comms = {&comm, child.get(), sibling.get()};
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 3; ++i) {  // same pair, same tag, opposite order of sending and receiving
    requests.push_back(comms[i]->isend(as_bytes(&sent[i], 1), right_of(comm), 9, Traffic::kControl));
    requests.push_back(
        comms[2 - i]->irecv(as_writable_bytes(&got[2 - i], 1), left_of(comm), 9, Traffic::kControl));
  }
  comm.wait_all(requests);
  EXPECT_ALL_RANKS(comm, got == sent);
}

// ---- collectives

void all_reduce_equals_serial_sum(Communicator& comm) {
  const int n = comm.size();
  for (const std::int64_t count : ring_sizes(n)) {
    std::vector<float> x = vector_of(comm.rank().value, count);
    all_reduce_sum(comm, x, Traffic::kGradient);
    EXPECT_ALL_RANKS(comm, is_serial_sum(x, n, 0, count)) << count;
  }
}

void reduce_scatter_equals_serial_sum(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  for (const std::int64_t count : ring_sizes(n)) {
    std::vector<float> x = vector_of(r, count);
    reduce_scatter_sum(comm, x, Traffic::kGradient);
    EXPECT_ALL_RANKS(comm, is_serial_sum(x, n, block_begin(count, n, r), block_begin(count, n, r + 1)))
        << count;
  }
}

void all_gather_collects_blocks(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  for (const std::int64_t count : ring_sizes(n)) {
    std::vector<float> x(static_cast<std::size_t>(count), std::numeric_limits<float>::quiet_NaN());
    for (std::int64_t i = block_begin(count, n, r); i < block_begin(count, n, r + 1); ++i) {
      x[static_cast<std::size_t>(i)] = element(r, i);
    }
    all_gather(comm, x, Traffic::kParameter);
    bool right = true;
    for (int b = 0; b < n; ++b) {
      for (std::int64_t i = block_begin(count, n, b); i < block_begin(count, n, b + 1); ++i) {
        right = right && x[static_cast<std::size_t>(i)] == element(b, i);
      }
    }
    EXPECT_ALL_RANKS(comm, right) << count;
  }
}

/// Bytes and messages of all blocks but one.
TrafficCount blocks_but(std::int64_t count, int n, int skipped) {
  TrafficCount sum;
  for (int b = 0; b < n; ++b) {
    if (b == skipped % n) continue;
    const std::int64_t length = block_begin(count, n, b + 1) - block_begin(count, n, b);
    sum.bytes_sent += 4 * length;
    sum.messages_sent += segments(length);
  }
  return sum;
}

void ring_counts_match_the_formulas(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  TrafficTable& table = comm.traffic();
  for (const std::int64_t count : ring_sizes(n)) {
    std::vector<float> x(static_cast<std::size_t>(count));
    table.reset();
    reduce_scatter_sum(comm, x, Traffic::kGradient);
    all_gather(comm, x, Traffic::kParameter);
    all_reduce_sum(comm, x, Traffic::kQueryGrad);
    // All of it goes to the right and comes from the left, which sends what its own formula says.
    const TrafficCount scatter = blocks_but(count, n, r);
    const TrafficCount gather = blocks_but(count, n, r + 1);
    const TrafficCount left_scatter = blocks_but(count, n, r + n - 1);
    const TrafficCount left_gather = blocks_but(count, n, r);
    const TrafficCount got_scatter = table.by_kind(Traffic::kGradient);
    const TrafficCount got_gather = table.by_kind(Traffic::kParameter);
    const TrafficCount got_reduce = table.by_kind(Traffic::kQueryGrad);
    EXPECT_EQ(got_scatter.bytes_sent, scatter.bytes_sent);
    EXPECT_EQ(got_scatter.messages_sent, scatter.messages_sent);
    EXPECT_EQ(got_scatter.bytes_received, left_scatter.bytes_sent);
    EXPECT_EQ(got_scatter.messages_received, left_scatter.messages_sent);
    EXPECT_EQ(got_gather.bytes_sent, gather.bytes_sent);
    EXPECT_EQ(got_gather.messages_sent, gather.messages_sent);
    EXPECT_EQ(got_gather.bytes_received, left_gather.bytes_sent);
    EXPECT_EQ(got_gather.messages_received, left_gather.messages_sent);
    EXPECT_EQ(got_reduce.bytes_sent, scatter.bytes_sent + gather.bytes_sent);
    EXPECT_EQ(got_reduce.messages_sent, scatter.messages_sent + gather.messages_sent);
    const TrafficCount to_right = table.by_peer(comm.root_rank(right_of(comm)));
    EXPECT_EQ(to_right.bytes_sent, 2 * (scatter.bytes_sent + gather.bytes_sent));
    EXPECT_EQ(table.total().bytes_sent, to_right.bytes_sent);
    EXPECT_EQ(table.total().messages_sent, to_right.messages_sent);
  }
  EXPECT_ALL_RANKS(comm, !::testing::Test::HasFailure());
}

void small_collectives_count_as_documented(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  TrafficTable& table = comm.traffic();
  table.reset();
  std::vector<double> x(5, 1.0);
  all_reduce(comm, x, Reduction::kSum);
  EXPECT_EQ(table.by_kind(Traffic::kControl).bytes_sent, (n - 1) * 5 * 8);
  EXPECT_EQ(table.by_kind(Traffic::kControl).messages_sent, ceil_log2(n));
  EXPECT_EQ(table.by_kind(Traffic::kControl).bytes_received, (n - 1) * 5 * 8);
  table.reset();
  barrier(comm);
  EXPECT_EQ(table.total().bytes_sent, 0);
  EXPECT_EQ(table.total().messages_sent, ceil_log2(n));
  table.reset();
  const std::vector<std::byte> mine(static_cast<std::size_t>(r + 1));
  (void)all_gather_bytes(comm, mine);
  std::int64_t expected = 8 * (n - 1);
  for (int have = 1; have < n; have *= 2) {
    for (int i = 0; i < std::min(have, n - have); ++i) expected += (r + i) % n + 1;
  }
  EXPECT_EQ(table.total().bytes_sent, expected);
  EXPECT_EQ(table.total().messages_sent, 2 * ceil_log2(n));
  EXPECT_EQ(table.total().bytes_received,
            8 * (n - 1) + n * (n + 1) / 2 - (r + 1));  // every other's string once
}

void repeats_are_bit_equal(Communicator& comm) {
  constexpr std::int64_t kCount = 70001;
  std::vector<float> first;
  for (int repeat = 0; repeat < 4; ++repeat) {
    std::vector<float> x = vector_of(comm.rank().value, kCount);
    if (repeat % 2 == 0) {
      all_reduce_sum(comm, x, Traffic::kGradient);
    } else {
      reduce_scatter_sum(comm, x, Traffic::kGradient);
      all_gather(comm, x, Traffic::kGradient);
    }
    if (repeat == 0) first = x;
    EXPECT_ALL_RANKS(comm, std::memcmp(x.data(), first.data(), x.size() * sizeof(float)) == 0);
  }
}

void exact_reductions_agree_everywhere(Communicator& comm) {
  const int n = comm.size();
  // Magnitudes so far apart that another order of addition gives another sum.
  const auto value = [](int rank, int i) {
    return std::ldexp(uniform(static_cast<std::uint64_t>(rank), static_cast<std::uint64_t>(i)) - 0.5,
                      (rank * 17) % 60);
  };
  constexpr int kCount = 9;
  for (const Reduction reduction : {Reduction::kSum, Reduction::kMin, Reduction::kMax}) {
    std::vector<double> x(kCount);
    for (int i = 0; i < kCount; ++i) x[static_cast<std::size_t>(i)] = value(comm.rank().value, i);
    all_reduce(comm, x, reduction);
    bool right = true;
    for (int i = 0; i < kCount; ++i) {
      double expected = value(0, i);
      for (int r = 1; r < n; ++r) {
        const double v = value(r, i);
        expected = reduction == Reduction::kSum   ? expected + v
                   : reduction == Reduction::kMin ? std::min(expected, v)
                                                  : std::max(expected, v);
      }
      right = right && x[static_cast<std::size_t>(i)] == expected;
    }
    EXPECT_ALL_RANKS(comm, right);
  }
}

void broadcast_reaches_all_from_any_root(Communicator& comm) {
  const int n = comm.size();
  for (int root = 0; root < n; ++root) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100001}}) {
      const auto expected = pattern(size, root);
      std::vector<std::byte> x = comm.rank().value == root ? expected : std::vector<std::byte>(size);
      comm.traffic().reset();
      broadcast(comm, x, Rank(root), Traffic::kParameter);
      const TrafficCount count = comm.traffic().by_kind(Traffic::kParameter);
      EXPECT_LE(count.messages_sent, ceil_log2(n));
      EXPECT_EQ(count.bytes_sent, count.messages_sent * static_cast<std::int64_t>(size));
      EXPECT_EQ(count.messages_received, comm.rank().value == root ? 0 : 1);
      std::array<double, 1> sent = {static_cast<double>(count.messages_sent)};
      all_reduce(comm, sent, Reduction::kSum);
      EXPECT_EQ(sent[0], n - 1);  // a tree
      EXPECT_ALL_RANKS(comm, x == expected);
    }
  }
}

void byte_strings_are_gathered_in_rank_order(Communicator& comm) {
  const int n = comm.size();
  const auto length = [](int rank) { return static_cast<std::size_t>(rank % 3 == 1 ? 0 : rank * 1000 + 1); };
  const auto all = all_gather_bytes(comm, pattern(length(comm.rank().value), comm.rank().value));
  bool right = static_cast<int>(all.size()) == n;
  for (int r = 0; right && r < n; ++r) right = all[static_cast<std::size_t>(r)] == pattern(length(r), r);
  EXPECT_ALL_RANKS(comm, right);
}

void all_to_all_exchanges_ragged_pieces(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  const auto length = [](int from, int to) {
    return static_cast<std::size_t>((from * 5 + to * 3) % 4 == 0 ? 0 : from * 1001 + to * 77);
  };
  std::vector<std::vector<std::byte>> out;
  std::vector<std::vector<std::byte>> in;
  for (int i = 0; i < n; ++i) {
    out.push_back(pattern(length(r, i), r * 16 + i));
    in.emplace_back(length(i, r));
  }
  const std::vector<std::span<const std::byte>> send(out.begin(), out.end());
  const std::vector<std::span<std::byte>> receive(in.begin(), in.end());
  comm.traffic().reset();
  Request request = iall_to_all(comm, send, receive, Traffic::kHeadExchange);
  comm.wait(request);
  std::int64_t others = 0;
  bool right = true;
  for (int i = 0; i < n; ++i) {
    if (i != r) others += static_cast<std::int64_t>(length(r, i));
    right = right && in[static_cast<std::size_t>(i)] == pattern(length(i, r), i * 16 + r);
  }
  EXPECT_EQ(comm.traffic().by_kind(Traffic::kHeadExchange).bytes_sent, others);
  EXPECT_EQ(comm.traffic().by_kind(Traffic::kHeadExchange).messages_sent, n - 1);
  EXPECT_ALL_RANKS(comm, right);
}

// ---- overlap

void collectives_overlap_with_messages(Communicator& comm) {
  const int n = comm.size();
  const int r = comm.rank().value;
  constexpr std::int64_t kCount = 300007;
  const auto child = comm.split(0, -r);
  std::vector<float> x = vector_of(r, kCount);
  std::vector<float> y = vector_of(r, kCount / 2);
  std::vector<float> z = vector_of(child->rank().value, kCount);
  std::vector<Request> requests;
  requests.push_back(iall_reduce_sum(comm, x, Traffic::kGradient));
  requests.push_back(ireduce_scatter_sum(comm, y, Traffic::kGradient));
  requests.push_back(iall_reduce_sum(*child, z, Traffic::kGradient));
  // A token round the ring while they are in flight; a late rank computes for a while first.
  if (r == n - 1) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (std::chrono::steady_clock::now() < until) comm.poll();
  }
  int token = 0;
  for (int lap = 0; lap < 3; ++lap) {
    const int out = lap * n + r;
    Request receive = comm.irecv(as_writable_bytes(&token, 1), left_of(comm), 0, Traffic::kControl);
    Request send = comm.isend(as_bytes(&out, 1), right_of(comm), 0, Traffic::kControl);
    comm.wait(receive);
    comm.wait(send);
    EXPECT_EQ(token, lap * n + left_of(comm).value);
  }
  std::reverse(requests.begin(), requests.end());
  comm.wait_all(requests);
  EXPECT_ALL_RANKS(comm, is_serial_sum(x, n, 0, kCount));
  EXPECT_ALL_RANKS(comm,
                   is_serial_sum(y, n, block_begin(kCount / 2, n, r), block_begin(kCount / 2, n, r + 1)));
  EXPECT_ALL_RANKS(comm, is_serial_sum(z, n, 0, kCount));
}

/// Rank 0 waits for a message that the last rank sends only after a collective which needs rank 0.
void a_wait_advances_collectives_in_flight(Communicator& comm) {
  const int n = comm.size();
  const Rank last(n - 1);
  std::vector<float> x = vector_of(comm.rank().value, 200000);
  Request collective = iall_reduce_sum(comm, x, Traffic::kGradient);
  int word = 0;
  if (n > 1 && comm.rank() == Rank(0)) {
    Request receive = comm.irecv(as_writable_bytes(&word, 1), last, 0, Traffic::kControl);
    comm.wait(receive);
    EXPECT_EQ(word, 42);
  }
  comm.wait(collective);
  if (n > 1 && comm.rank() == last) {
    word = 42;
    Request send = comm.isend(as_bytes(&word, 1), Rank(0), 0, Traffic::kControl);
    comm.wait(send);
  }
  EXPECT_ALL_RANKS(comm, is_serial_sum(x, n, 0, 200000));
}

void steady_state_allocates_no_buffers(Communicator& comm) {
  const auto child = comm.split(comm.rank().value % 2, 0);
  std::vector<float> x(500000, 1.0F);
  int after_first = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    all_reduce_sum(comm, x, Traffic::kGradient);
    reduce_scatter_sum(comm, x, Traffic::kGradient);
    all_reduce_sum(*child, x, Traffic::kGradient);
    if (repeat == 0) after_first = comm.scratch()->allocations();
  }
  EXPECT_ALL_RANKS(comm, comm.scratch()->allocations() == after_first);
  EXPECT_LE(after_first, 2);
  EXPECT_EQ(comm.scratch(), child->scratch());
}

// ---- failure

/// Rank 0 waits for a message that the last rank never sends.
void deadline_names_operation_and_peer(Communicator& comm) {
  const Rank last(comm.size() - 1);
  barrier(comm);
  if (comm.rank() == Rank(0)) {
    const std::chrono::milliseconds kept = comm.deadline();
    constexpr std::chrono::milliseconds kDeadline(1000);
    comm.set_deadline(kDeadline);
    const auto start = std::chrono::steady_clock::now();
    std::string what;
    try {
      std::array<std::byte, 4096> nothing{};
      Request receive = comm.irecv(nothing, last, 77, Traffic::kControl);
      comm.wait(receive);
    } catch (const CommError& e) {
      EXPECT_EQ(e.cause(), CommError::Cause::kDeadline);
      what = e.what();
    }
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_GE(took, kDeadline);
    EXPECT_LE(took, kDeadline * 3 / 2);
    EXPECT_THAT(what,
                HasSubstr("receive of 4096 bytes from rank " + std::to_string(last.value) + ", tag 77"));
    EXPECT_THAT(what, ContainsRegex("rank 0 waited 1\\.[0-5] s"));
    EXPECT_THAT(what, HasSubstr("the deadline is 1.0 s"));
    EXPECT_THAT(what, HasSubstr("raise the deadline"));
    comm.set_deadline(kept);
  }
  barrier(comm);  // others waited here; the communicator survives an expired wait
}

}  // namespace

std::span<const ConformanceCase> conformance_cases() {
#define TS_CASE(body) \
  ConformanceCase { #body, body }
  static const std::vector<ConformanceCase> cases = {
      TS_CASE(same_tag_arrives_in_order),
      TS_CASE(zero_bytes_is_a_message),
      TS_CASE(rank_sends_to_itself),
      TS_CASE(unequal_sizes_are_an_error),
      TS_CASE(many_messages_are_outstanding),
      TS_CASE(polling_alone_finishes_messages),
      TS_CASE(split_orders_by_key_then_rank),
      TS_CASE(split_of_split_keeps_root_ranks),
      TS_CASE(parent_and_child_do_not_mix),
      TS_CASE(all_reduce_equals_serial_sum),
      TS_CASE(reduce_scatter_equals_serial_sum),
      TS_CASE(all_gather_collects_blocks),
      TS_CASE(ring_counts_match_the_formulas),
      TS_CASE(small_collectives_count_as_documented),
      TS_CASE(repeats_are_bit_equal),
      TS_CASE(exact_reductions_agree_everywhere),
      TS_CASE(broadcast_reaches_all_from_any_root),
      TS_CASE(byte_strings_are_gathered_in_rank_order),
      TS_CASE(all_to_all_exchanges_ragged_pieces),
      TS_CASE(collectives_overlap_with_messages),
      TS_CASE(a_wait_advances_collectives_in_flight),
      TS_CASE(steady_state_allocates_no_buffers),
      TS_CASE(deadline_names_operation_and_peer),
  };
#undef TS_CASE
  return cases;
}

}  // namespace tessera::test
