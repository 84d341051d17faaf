// The file's bytes: cut at every place, changed at every place, grown by zeros, and written by someone else.
#include "algos/ttl/ledger_log.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/algos/ttl/ledger_state.h"

namespace tessera::ttl {
namespace {

using Kind = Operation::Kind;
using ::testing::HasSubstr;

struct File {
  std::string bytes;
  std::uint64_t snapshot_end = 0;
  std::vector<std::uint64_t> ends;  // where each frame of operations ends
  std::vector<LedgerState> states;  // states[i]: after i frames
};

/// A snapshot with accounts of both stores and something lapsed, then frames of 1 to 3 operations.
File sample() {
  const Policy policy = Policy::make(20, 5).value();
  Accounts accounts(policy, 3);
  for (Ticks t = 3; t < 23; ++t)
    EXPECT_EQ(accounts.apply({Kind::kCredit, t, AccountId{7}, {}, 5}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kCredit, 24, AccountId{~0ULL}, {}, 9}), Outcome::kDone);
  EXPECT_EQ(accounts.apply({Kind::kSpend, 27, AccountId{7}, {}, 11}), Outcome::kDone);
  File file;
  std::uint64_t sequence = write_snapshot(accounts, [&](std::string_view piece) {
                             file.bytes += piece;
                             return Status();
                           }).value();
  file.snapshot_end = file.bytes.size();
  file.states.push_back(state_of(accounts));
  const std::vector<std::vector<Operation>> groups = {
      {{Kind::kCredit, 28, AccountId{1}, {}, 4}},
      {{Kind::kTransfer, 28, AccountId{7}, AccountId{2}, 30}, {Kind::kSpend, 29, AccountId{2}, {}, 1}},
      {{Kind::kResume, 33, {}, {}, 0},
       {Kind::kCredit, 33, AccountId{7}, {}, 1},
       {Kind::kSpend, 33, AccountId{1}, {}, 4}},
      {{Kind::kTransfer, 34, AccountId{2}, AccountId{2}, 1}},
  };
  for (const auto& group : groups) {
    std::string payload;
    for (const Operation& operation : group) {
      EXPECT_EQ(accounts.apply(operation), Outcome::kDone);
      append_operation(payload, operation);
    }
    file.bytes += frame(FrameType::kOperations, sequence++, payload);
    file.ends.push_back(file.bytes.size());
    file.states.push_back(state_of(accounts));
  }
  return file;
}

/// Whether the file cut to `size` bytes and continued with zeros is the same up to `end`.
bool holds(const File& file, std::size_t size, std::size_t zeros, std::uint64_t end) {
  return size >= end || (size + zeros >= end && file.bytes.find_first_not_of('\0', size) >= end);
}

Result<Recovered> recover_bytes(const std::string& bytes) {
  return recover(std::as_bytes(std::span(bytes)), "test.ledger");
}

TEST(TtlLedgerLog, ComesBackAsWritten) {
  const File file = sample();
  const Recovered recovered = recover_bytes(file.bytes).value();
  EXPECT_EQ(state_of(*recovered.accounts), file.states.back());
  EXPECT_EQ(recovered.bytes, file.bytes.size());
  EXPECT_EQ(recovered.torn_bytes, 0U);
  EXPECT_EQ(recovered.operations, 7U);
  EXPECT_EQ(recovered.accounts->policy().ttl(), 20);
}

TEST(TtlLedgerLog, CutAnywhereAllWholeFramesComeBack) {
  const File file = sample();
  for (std::size_t size = 0; size < file.bytes.size(); ++size) {
    for (const std::size_t zeros : {0, 7, 4096}) {  // reserved space behind
      const std::string cut = file.bytes.substr(0, size) + std::string(zeros, '\0');
      const Result<Recovered> recovered = recover_bytes(cut);
      if (!holds(file, size, zeros, file.snapshot_end)) {
        ASSERT_EQ(recovered.status().code(), Code::kDataLoss) << size;
        continue;
      }
      ASSERT_TRUE(recovered.ok()) << size << recovered.status().message();
      std::size_t frames = 0;
      while (frames < file.ends.size() && holds(file, size, zeros, file.ends[frames])) ++frames;
      ASSERT_EQ(state_of(*recovered->accounts), file.states[frames]) << size << "+" << zeros;
      ASSERT_EQ(recovered->bytes, frames == 0 ? file.snapshot_end : file.ends[frames - 1]);
    }
  }
}

TEST(TtlLedgerLog, AChangedBitIsRefusedUnlessItLooksLikeATornEnd) {
  const File file = sample();
  const std::size_t last_begin = file.ends[file.ends.size() - 2];
  for (std::size_t at = 0; at < file.bytes.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string changed = file.bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const Result<LedgerState> state = state_in(changed);
      if (at >= last_begin) {  // the last frame: dropped, or its padding was hit
        ASSERT_TRUE(state.ok()) << at << state.status().message();
        ASSERT_TRUE(state.value() == file.states[file.states.size() - 2] ||
                    state.value() == file.states.back())
            << at;
        continue;
      }
      if (state.ok()) {  // padding carries nothing
        ASSERT_EQ(state.value(), file.states.back()) << at;
        ASSERT_EQ(file.bytes[at], '\0') << at;
        continue;
      }
      ASSERT_EQ(state.status().code(), Code::kDataLoss) << at;
      ASSERT_THAT(state.status().message(), HasSubstr("test.ledger")) << at;
    }
  }
}

TEST(TtlLedgerLog, AHoleInTheMiddleIsNoTornEnd) {
  File file = sample();
  std::fill(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.ends[0]),
            file.bytes.begin() + static_cast<std::ptrdiff_t>(file.ends[1]), '\0');
  const Status status = state_in(file.bytes).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("a damaged frame before a good one"));
}

/// With the right checksums, so that only the contents can be refused.
class TtlForeignLog : public ::testing::Test {
 protected:
  static std::string header() { return file_header(Policy::make(20, 5).value()); }
  static void put(std::string& out, std::uint64_t value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string numbers(const std::vector<std::uint64_t>& values) {
    std::string out;
    for (const std::uint64_t value : values) put(out, value);
    return out;
  }
  /// clock 10; credited, spent, expired, live.
  static std::string begin(std::uint64_t credited = 0, std::uint64_t spent = 0, std::uint64_t expired = 0,
                           std::uint64_t live = 0, std::uint64_t clock = 10) {
    return frame(FrameType::kBegin, 0, numbers({clock, credited, 0, spent, 0, expired, 0, live, 0}));
  }
  static std::string empty_ledger() { return header() + begin() + frame(FrameType::kReady, 1, numbers({0})); }
  static std::string complaint(const std::string& bytes) {
    const Result<Recovered> recovered = recover_bytes(bytes);
    return recovered.ok() ? "accepted" : recovered.status().message();
  }
  static std::string with_operation(const Operation& operation) {
    std::string payload;
    append_operation(payload, operation);
    return empty_ledger() + frame(FrameType::kOperations, 2, payload);
  }
};

TEST_F(TtlForeignLog, WhatCannotHaveBeenIsRefused) {
  EXPECT_EQ(complaint(empty_ledger()), "accepted");
  EXPECT_THAT(complaint(""), HasSubstr("no ledger file"));
  EXPECT_THAT(complaint("{\"json\": true, \"padding\": \"................\"}"), HasSubstr("no ledger file"));
  EXPECT_THAT(complaint(header()), HasSubstr("incomplete snapshot"));
  EXPECT_THAT(complaint(header() + begin()), HasSubstr("incomplete snapshot"));
  EXPECT_THAT(complaint(header() + frame(FrameType::kReady, 0, numbers({0}))), HasSubstr("wrong place"));
  EXPECT_THAT(complaint(header() + begin() + frame(FrameType::kReady, 2, numbers({0}))),
              HasSubstr("out of sequence"));
  EXPECT_THAT(complaint(header() + begin() + frame(static_cast<FrameType>(9), 1, "")), HasSubstr("type 9"));
  EXPECT_THAT(complaint(header() + begin(0, 0, 0, 0, ~0ULL)), HasSubstr("malformed beginning"));
  EXPECT_THAT(complaint(header() + begin(5, 6)), HasSubstr("do not add up"));
  EXPECT_THAT(complaint(header() + begin(5, 1, 1, 4)), HasSubstr("do not add up"));
  EXPECT_THAT(complaint(header() + begin(5, 0, 0, 5) + frame(FrameType::kReady, 1, numbers({0}))),
              HasSubstr("does not add up"));
}

TEST_F(TtlForeignLog, AccountsThatCannotBeAreRefused) {
  const auto accounts = [&](const std::vector<std::uint64_t>& values, std::uint64_t live) {
    return complaint(header() + begin(live, 0, 0, live) + frame(FrameType::kAccounts, 1, numbers(values)) +
                     frame(FrameType::kReady, 2, numbers({1})));
  };
  EXPECT_EQ(accounts({1, 2, 12, 5, 32, 5}, 10), "accepted");
  EXPECT_THAT(accounts({1, 1, 13, 5}, 5), HasSubstr("account 1")) << "off the grid";
  EXPECT_THAT(accounts({1, 1, 8, 5}, 5), HasSubstr("account 1")) << "lapsed";
  EXPECT_THAT(accounts({1, 1, 36, 5}, 5), HasSubstr("account 1")) << "too late";
  EXPECT_THAT(accounts({1, 2, 32, 5, 12, 5}, 10), HasSubstr("account 1")) << "falling";
  EXPECT_THAT(accounts({1, 2, 12, 5, 12, 5}, 10), HasSubstr("account 1")) << "twice";
  EXPECT_THAT(accounts({1, 2, 12, ~0ULL, 32, 1}, 0), HasSubstr("account 1")) << "too much";
  EXPECT_THAT(accounts({1, 1, 12, 0}, 0), HasSubstr("account 1")) << "nothing";
  EXPECT_THAT(accounts({1, 1, 12, 5, 1, 1, 12, 5}, 10), HasSubstr("account 1")) << "two of one id";
  EXPECT_THAT(accounts({1, 2, 12, 5}, 5), HasSubstr("malformed account"));
  EXPECT_THAT(accounts({1, ~0ULL, 12, 5}, 5), HasSubstr("malformed account"));
  EXPECT_THAT(accounts({1}, 0), HasSubstr("malformed account"));
  EXPECT_THAT(accounts({1, 1, 12, 5}, 6), HasSubstr("does not add up"));
}

TEST_F(TtlForeignLog, OperationsThatCannotHaveBeenAreRefused) {
  EXPECT_EQ(complaint(with_operation({Kind::kCredit, 10, AccountId{1}, {}, 1})), "accepted");
  EXPECT_THAT(complaint(with_operation({Kind::kSpend, 10, AccountId{1}, {}, 1})),
              HasSubstr("cannot have been accepted"));
  EXPECT_THAT(complaint(with_operation({Kind::kCredit, 9, AccountId{1}, {}, 1})), HasSubstr("runs back"));
  EXPECT_THAT(complaint(with_operation({static_cast<Kind>(5), 10, AccountId{1}, {}, 1})),
              HasSubstr("no known kind"));
  EXPECT_THAT(complaint(empty_ledger() + frame(FrameType::kOperations, 2, "\1abc")),
              HasSubstr("malformed operation"));
}

}  // namespace
}  // namespace tessera::ttl
