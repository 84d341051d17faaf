// What MeshAttention promises besides the right numbers: refusals, repetition bit for bit, independent calls,
// failure of a rank, times and events.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device/thread_pool.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/attention/tile_schedule.h"
#include "runtime/comm/collectives.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

using support::AttentionInput;
using support::AttentionRank;
using ::testing::HasSubstr;

AttentionConfig small_config(const char* shape) {
  AttentionConfig config;
  config.dims = {2, 61, 4, 2, 8};
  config.shape = parse_mesh_shape(shape).value();
  return config;
}

struct Refusal {
  std::string words;  // what the message must say
  std::function<void(AttentionConfig&)> spoil;
};

const std::vector<Refusal>& refusals() {
  static const std::vector<Refusal> all = {
      {"which needs 6 ranks; the group has 4", [](auto& c) { c.shape = MeshShape::mesh(3, 2); }},
      {"choose a and b with a * b = 4", [](auto& c) { c.shape = MeshShape::ring(5); }},
      {"q 0.2", [](auto& c) { c.shape.q.outer = 0; }},
      {"kv 1.-4", [](auto& c) { c.shape.kv.inner = -4; }},
      {"heads 0", [](auto& c) { c.shape.heads = 0; }},
      {"as text",
       [](auto& c) {
         c.shape.kv = {1 << 20, 1 << 20};
       }},
      // Four query but two key/value heads: four ranks cannot share them, a ring of four can.
      {"4 ranks are to share 4 query and 2 key/value heads",
       [](auto& c) {
         c.shape = {4, {1, 1}, {1, 1}};
       }},
      {"1x(4.1)",
       [](auto& c) {
         c.shape = {4, {1, 1}, {1, 1}};
       }},
      {"dims.batch", [](auto& c) { c.dims.batch = 0; }},
      {"dims.tokens", [](auto& c) { c.dims.tokens = 0; }},
      {"dims.tokens", [](auto& c) { c.dims.tokens = std::int64_t{1} << 31; }},
      {"4 query heads, 3 key/value heads", [](auto& c) { c.dims.kv_heads = 3; }},
      {"0 query heads", [](auto& c) { c.dims.heads = 0; }},
      {"kv_heads", [](auto& c) { c.dims.kv_heads = 0; }},
      {"1 to 256", [](auto& c) { c.dims.head_dim = 257; }},
      {"head_dim", [](auto& c) { c.dims.head_dim = 0; }},
      {"sliding_window", [](auto& c) { c.window = -1; }},
      {"scale", [](auto& c) { c.scale = -1; }},
      {"scale", [](auto& c) { c.scale = std::numeric_limits<float>::infinity(); }},
      {"dropout", [](auto& c) { c.dropout = 1; }},
      {"dropout", [](auto& c) { c.dropout = std::nanf(""); }},
      {"head_pieces", [](auto& c) { c.head_pieces = 0; }},
      {"head_pieces", [](auto& c) { c.head_pieces = 2; }},  // 2x2 exchanges no heads
      {"a divisor of the 1 key/value heads",
       [](auto& c) {
         c.shape = parse_mesh_shape("u2:2x1").value();
         c.head_pieces = 2;
       }},
      {"forward schedule costs", [](auto& c) { c.forward_costs.receive_row = 0; }},
      {"backward schedule costs", [](auto& c) { c.backward_costs.block = -1; }},
  };
  return all;
}

TEST(MeshAttentionContract, RefusesWithTheReasonOnEveryRankAlike) {
  for (const Refusal& refusal : refusals()) {
    AttentionConfig config = small_config("2x2");
    refusal.spoil(config);
    std::set<std::string> messages;
    std::mutex mutex;
    run_local_ranks(4, [&](Communicator& comm) {
      const SystemClock clock;
      const auto made = MeshAttention::make(comm, config, clock);
      const std::lock_guard lock(mutex);
      EXPECT_FALSE(made.ok()) << refusal.words;
      EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
      messages.insert(made.status().message());
    });
    ASSERT_EQ(messages.size(), 1U) << refusal.words;
    EXPECT_THAT(*messages.begin(), HasSubstr(refusal.words));
    EXPECT_THAT(*messages.begin(), HasSubstr("remedy"));
  }
}

TEST(MeshAttentionContract, RefusesConfigurationsThatDiffer) {
  std::set<std::string> messages;
  std::mutex mutex;
  run_local_ranks(4, [&](Communicator& comm) {
    AttentionConfig config = small_config("2x2");
    if (comm.rank().value == 2) config.layout = TokenLayout::kStriped;
    const SystemClock clock;
    const auto made = MeshAttention::make(comm, config, clock);
    const std::lock_guard lock(mutex);
    messages.insert(made.status().message());
  });
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_THAT(*messages.begin(), HasSubstr("rank 2: mesh"));
  EXPECT_THAT(*messages.begin(), HasSubstr("striped"));
}

/// Documents change which chunks travel from call to call; what an earlier call left behind does not show.
TEST(MeshAttentionContract, CallsWithOtherDocumentsAreIndependent) {
  for (const char* shape : {"1x6", "3x2", "(2.2)x1", "u2:1x3", "2x(2.2)"}) {
    const AttentionConfig config = small_config(shape);
    std::vector<AttentionInput> inputs(4, support::random_attention(config.dims, 3));
    for (std::size_t i = 1; i < inputs.size(); ++i) {  // the first call has no documents
      for (std::int64_t t = 0; t < config.dims.batch * config.dims.tokens; ++t) {
        inputs[i].documents.push_back(static_cast<std::int32_t>(t % config.dims.tokens / (i == 2 ? 4 : 19)));
      }
    }
    std::vector<support::AttentionOutput> expected;
    for (const AttentionInput& input : inputs) expected.push_back(support::run_attention(config, input));
    std::vector<support::AttentionOutput> found(inputs.size(), support::empty_output(inputs[0]));
    run_local_ranks(config.shape.ranks(), [&](Communicator& comm) {
      AttentionRank rank(comm, config, inputs[0]);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        rank.set_documents(inputs[i].documents);
        rank.forward();
        rank.backward();
        rank.put(found[i]);
      }
    });
    for (std::size_t i = 0; i < inputs.size(); ++i)
      EXPECT_TRUE(found[i] == expected[i]) << shape << " call " << i;
  }
}

/// Ranks that are held up at random places: messages come in another order, sums do not.
TEST(MeshAttentionContract, RepeatsBitForBitWhateverTheTiming) {
  for (const char* shape : {"3x3", "(2.2)x(2.2)", "1x(2.4)", "u2:2x2", "4x2"}) {
    AttentionConfig config = small_config(shape);
    config.forward_costs.two_lanes = config.backward_costs.two_lanes = true;
    config.dropout = 0.1F;
    AttentionInput input = support::random_attention(config.dims, 3);
    input.dropout_keys = {11, 12};
    const auto first = support::run_attention(config, input);
    for (std::uint64_t round = 1; round <= 5; ++round) {
      auto again = support::empty_output(input);
      run_local_ranks(config.shape.ranks(), [&](Communicator& comm) {
        kernels::ThreadPool pool(1 + static_cast<int>(round % 3));
        const kernels::ScopedPool scope(pool);
        AttentionRank rank(comm, config, input);
        std::uint64_t events = 0;
        rank.attention().set_observer([&](const AttentionEvent&) {
          const std::uint64_t draw =
              mix64(round * 1000003 + events++ * 257 + std::uint64_t(comm.rank().value));
          if (draw % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw / 4 % 300));
        });
        rank.forward();
        rank.backward();
        rank.put(again);
      });
      EXPECT_TRUE(first == again) << shape << " round " << round;
    }
  }
}

/// Nothing of one call is left over in the next: documents, dropout, partials.
TEST(MeshAttentionContract, CallsAreIndependent) {
  AttentionConfig config = small_config("u2:2x3");
  config.dropout = 0.3F;
  const AttentionInput plain = support::random_attention(config.dims, 5);
  AttentionInput other = support::random_attention(config.dims, 6);
  for (std::int64_t i = 0; i < 2 * 61; ++i) other.documents.push_back(static_cast<std::int32_t>(i % 61 / 9));
  other.dropout_keys = {1, 2};
  const auto expected = support::run_attention(config, plain);

  auto found = support::empty_output(plain);
  auto answer = support::reference_attention(config, plain, 12);
  run_local_ranks(12, [&](Communicator& comm) {
    const SystemClock clock;
    AttentionRank rank(comm, config, plain);
    const auto positions = rank.attention().positions();
    const auto take = [&](const std::vector<float>& all) {
      return support::take_tokens(all, 2, 61, positions);
    };
    const std::vector<float> q = take(other.q);
    const std::vector<float> k = take(other.k);
    const std::vector<float> v = take(other.v);
    std::vector<float> o(q.size());
    std::vector<float> lse(q.size() / 8);
    std::vector<float> dq(q.size());
    std::vector<float> dk(k.size());
    std::vector<float> dv(k.size());
    const AttentionCall call{other.documents, other.dropout_keys};
    rank.forward();
    rank.attention().forward(q.data(), k.data(), v.data(), o.data(), lse.data(), call);
    rank.attention().backward(q.data(), k.data(), v.data(), o.data(), lse.data(), q.data(), dq.data(),
                              dk.data(), dv.data(), call);
    rank.backward();
    rank.put(found);
  });
  EXPECT_TRUE(expected == found);
  EXPECT_TRUE(support::within_bounds(found, answer));
}

/// A rank that fails in the middle of a call ends every other rank's call with its reason.
TEST(MeshAttentionContract, OneRankFailingEndsAll) {
  for (const bool in_backward : {false, true}) {
    const AttentionConfig config = small_config("u2:3x2");
    const AttentionInput input = support::random_attention(config.dims, 9);
    std::atomic<int> told = 0;
    const auto body = [&](Communicator& comm) {
      const auto fail_at_third_block = [&, blocks = 0](const AttentionEvent& event) mutable {
        if (std::string(event.kind) == "block" && ++blocks == 3) throw std::runtime_error("disk on fire");
      };
      try {
        AttentionRank rank(comm, config, input);  // a slow rank may still be in here when rank 7 fails
        if (in_backward) rank.forward();
        if (comm.rank().value == 7) rank.attention().set_observer(fail_at_third_block);
        if (!in_backward) rank.forward();
        rank.backward();
        barrier(comm);  // a rank that had all it needed may have come through
      } catch (const CommError& error) {
        EXPECT_EQ(error.cause(), CommError::Cause::kAborted);
        EXPECT_THAT(error.what(), HasSubstr("disk on fire"));
        ++told;
        throw;
      }
    };
    EXPECT_THROW(run_local_ranks(12, body), std::runtime_error);
    EXPECT_EQ(told, 11);
  }
}

/// A rank that does not come is named when the deadline has passed.
TEST(MeshAttentionContract, ARankThatDoesNotComeIsNamed) {
  const AttentionConfig config = small_config("1x4");
  const AttentionInput input = support::random_attention(config.dims, 9);
  std::string said;
  try {
    run_local_ranks(4, [&](Communicator& comm) {
      AttentionRank rank(comm, config, input);
      comm.set_deadline(std::chrono::milliseconds(300));
      if (comm.rank().value == 2) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1500));
        return;
      }
      rank.forward();
    });
    FAIL() << "nobody noticed";
  } catch (const CommError& error) {
    said = error.what();
    EXPECT_EQ(error.cause(), CommError::Cause::kDeadline);
  }
  EXPECT_THAT(said, HasSubstr("attention: "));
  EXPECT_THAT(said, HasSubstr("rank 2"));
}

TEST(MeshAttentionContract, EventsFollowTheScheduleAndTimesAddUp) {
  const AttentionConfig config = small_config("3x4");
  const AttentionInput input = support::random_attention(config.dims, 9);
  run_local_ranks(12, [&](Communicator& comm) {
    AttentionRank rank(comm, config, input);
    std::vector<AttentionEvent> events;
    rank.attention().set_observer([&](const AttentionEvent& event) { events.push_back(event); });
    for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
      events.clear();
      if (pass == Pass::kForward) {
        rank.forward();
      } else {
        rank.backward();
      }
      const TileSchedule schedule = plan_schedule(
          pass, config.shape, pass == Pass::kForward ? config.forward_costs : config.backward_costs);
      std::vector<Block> blocks;
      std::vector<TransferOp> transfers;
      double waits = 0;
      double hops = 0;
      for (const AttentionEvent& event : events) {
        EXPECT_LE(event.start, event.end);
        const std::string kind = event.kind;
        if (kind == "block") blocks.push_back({event.row, event.column});
        if (kind == "receive_row") transfers.push_back({Transfer::kReceiveRow, event.row});
        if (kind == "receive_column") transfers.push_back({Transfer::kReceiveColumn, event.column});
        if (kind == "send_row") transfers.push_back({Transfer::kSendRow, event.row});
        if (kind == "send_column") transfers.push_back({Transfer::kSendColumn, event.column});
        if (kind == "wait") waits += seconds(event.end - event.start);
        if (kind.starts_with("receive") || kind.starts_with("send")) hops += seconds(event.end - event.start);
      }
      EXPECT_EQ(blocks, schedule.blocks);
      EXPECT_EQ(transfers, schedule.transfers);
      const AttentionTimes& times = rank.attention().last_times();
      EXPECT_GT(times.compute_s, 0);
      EXPECT_GE(times.exposed_wait_s, 0);
      // Two readings of the same spans; the sums are of a dozen terms.
      EXPECT_LE(times.exposed_wait_s, waits + 1e-12);
      EXPECT_NEAR(times.transfer_s, hops, 1e-9);
      EXPECT_LE(times.compute_s + times.exposed_wait_s, times.total_s + 1e-12);
    }
  });
}

TEST(MeshAttentionContract, OneRankWaitsForNothing) {
  const AttentionConfig config = small_config("1x1");
  const AttentionInput input = support::random_attention(config.dims, 9);
  run_local_ranks(1, [&](Communicator& comm) {
    AttentionRank rank(comm, config, input);
    rank.forward();
    rank.backward();
    EXPECT_EQ(rank.attention().last_times().exposed_wait_s, 0);
    EXPECT_EQ(rank.attention().last_times().transfer_s, 0);
    EXPECT_EQ(comm.traffic().total().bytes_sent, 0);
  });
}

}  // namespace
}  // namespace tessera::runtime
