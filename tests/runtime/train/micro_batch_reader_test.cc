#include "runtime/train/micro_batch_reader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/loss/cross_entropy.h"
#include "runtime/attention/token_layout.h"
#include "runtime/train/token_files.h"

namespace tessera::runtime {
namespace {

/// Token t has the value 1000 + t, so a token says where it came from.
class Numbered final : public TokenSource {
 public:
  explicit Numbered(std::int64_t tokens, std::vector<std::int64_t> documents = {0}, std::int32_t first = 1000)
      : tokens_(tokens), documents_(std::move(documents)), first_(first) {}
  [[nodiscard]] std::int64_t tokens() const override { return tokens_; }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = first_ + static_cast<std::int32_t>(begin) + static_cast<int>(i);
  }
  [[nodiscard]] std::span<const std::int64_t> document_starts() const override { return documents_; }
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  std::int64_t tokens_;
  std::vector<std::int64_t> documents_;
  std::int32_t first_;
  std::string description_ = "numbered";
};

planner::Plan plan_of(std::int64_t global_batch, std::int64_t micro_batch,
                      const std::vector<std::int64_t>& micro_batches) {
  planner::Plan plan;
  plan.global_batch = global_batch;
  plan.micro_batch = micro_batch;
  for (const std::int64_t m : micro_batches) plan.groups.push_back({m, {}, 0, 0});
  return plan;
}

TEST(FirstSample, IsTheHeadersExample) {
  const planner::Plan plan = plan_of(8, 2, {3, 1});
  EXPECT_EQ(first_sample(plan, 3, 0, 0), 24);
  EXPECT_EQ(first_sample(plan, 3, 0, 2), 28);
  EXPECT_EQ(first_sample(plan, 3, 1, 0), 30);
}

TEST(FirstSample, AStepIsTheSameSamplesForAnyGroupsAndMicroBatches) {
  for (const auto& [micro, micro_batches] : std::vector<std::pair<std::int64_t, std::vector<std::int64_t>>>{
           {1, {12}}, {12, {1}}, {1, {6, 6}}, {2, {1, 5}}, {4, {1, 2}}, {3, {2, 1, 1}}, {1, {1, 9, 2}}}) {
    const planner::Plan plan = plan_of(12, micro, micro_batches);
    std::set<std::int64_t> samples;
    for (int g = 0; g < static_cast<int>(micro_batches.size()); ++g) {
      for (std::int64_t m = 0; m < micro_batches[static_cast<std::size_t>(g)]; ++m) {
        for (std::int64_t i = 0; i < micro; ++i) samples.insert(first_sample(plan, 5, g, m) + i);
      }
    }
    EXPECT_EQ(samples.size(), 12U);
    EXPECT_EQ(*samples.begin(), 60);
    EXPECT_EQ(*samples.rbegin(), 71);
  }
}

TEST(MicroBatchReader, ContextRanksTogetherHoldEachTokenWithItsNextOne) {
  const Numbered source(500);
  constexpr std::int64_t kLength = 17;
  for (const TokenLayout layout : {TokenLayout::kZigzag, TokenLayout::kStriped, TokenLayout::kContiguous}) {
    for (const int ranks : {1, 2, 3, 5}) {
      std::map<std::int32_t, int> seen;
      for (int r = 0; r < ranks; ++r) {
        const auto positions = token_positions(layout, kLength, ranks, r);
        MicroBatchReader reader(source, positions, kLength, 2, true);
        const std::vector<std::int64_t> starts = {100, 300};
        const MicroBatch batch = reader.load(starts, starts, 9);
        ASSERT_EQ(batch.tokens.size(), 2 * positions.size());
        EXPECT_TRUE(batch.attention.documents.empty());
        for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
          EXPECT_EQ(batch.labels[i], batch.tokens[i] + 1);
          ++seen[batch.tokens[i]];
        }
        EXPECT_EQ(batch.tokens[0], 1100 + positions[0]);
        EXPECT_EQ(batch.tokens[positions.size()], 1300 + positions[0]);
        EXPECT_EQ(batch.dropout_key, 9U);
      }
      EXPECT_EQ(seen.size(), 2U * kLength);
      for (const auto& [token, count] : seen) EXPECT_EQ(count, 1) << token;
    }
  }
}

TEST(MicroBatchReader, DocumentsSeparateAttentionAndLabels) {
  const Numbered source(100, {0, 12, 15, 40});
  const std::vector<std::int32_t> positions = {0, 1, 2, 3, 4, 5, 6, 7};
  MicroBatchReader reader(source, positions, 8, 2, true);
  const std::vector<std::int64_t> starts = {10, 32};
  const MicroBatch batch = reader.load(starts, starts, 0);
  // Tokens 10..17: documents start at 12 and 15; 32..39: one document, and 40 begins the next.
  const std::vector<std::int32_t> documents = {0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_TRUE(std::ranges::equal(batch.attention.documents, documents));
  constexpr std::int32_t kNone = kernels::kIgnoredLabel;
  const std::vector<std::int32_t> labels = {1011, kNone, 1013, 1014, kNone, 1016, 1017, 1018,
                                            1033, 1034,  1035, 1036, 1037,  1038, 1039, kNone};
  EXPECT_TRUE(std::ranges::equal(batch.labels, labels));

  MicroBatchReader unmasked(source, positions, 8, 2, false);
  const MicroBatch whole = unmasked.load(starts, starts, 0);
  EXPECT_TRUE(whole.attention.documents.empty());
  EXPECT_EQ(whole.labels[1], 1012);
}

TEST(MicroBatchReader, AnEmptySlotHasNoLabels) {
  const Numbered source(100, {0, 12});
  const std::vector<std::int32_t> positions = {0, 1, 2};
  MicroBatchReader reader(source, positions, 3, 2, true);
  const std::vector<std::int64_t> starts = {20, MicroBatchReader::kEmpty};
  const MicroBatch batch = reader.load(starts, starts, 0);
  for (std::size_t i = 3; i < 6; ++i) EXPECT_EQ(batch.labels[i], kernels::kIgnoredLabel);
  EXPECT_EQ(batch.labels[0], 1021);
}

TEST(TokenFiles, SeveralSourcesReadAsOne) {
  std::vector<std::unique_ptr<TokenSource>> sources;
  sources.push_back(std::make_unique<Numbered>(5, std::vector<std::int64_t>{0, 3}, 100));
  sources.push_back(std::make_unique<Numbered>(4, std::vector<std::int64_t>{0}, 200));
  sources.push_back(std::make_unique<Numbered>(3, std::vector<std::int64_t>{0, 1}, 300));
  const auto joined = join_token_sources(std::move(sources));
  EXPECT_EQ(joined->tokens(), 12);
  EXPECT_TRUE(std::ranges::equal(joined->document_starts(), std::vector<std::int64_t>{0, 3, 5, 9, 10}));
  const std::vector<std::int32_t> all = {100, 101, 102, 103, 104, 200, 201, 202, 203, 300, 301, 302};
  for (std::size_t begin = 0; begin < all.size(); ++begin) {
    for (std::size_t end = begin; end <= all.size(); ++end) {
      std::vector<std::int32_t> out(end - begin);
      joined->read(static_cast<std::int64_t>(begin), out);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), all.begin() + static_cast<std::ptrdiff_t>(begin)));
    }
  }
}

class Letters final : public TokenSource {
 public:
  explicit Letters(std::vector<std::int32_t> tokens) : tokens_(std::move(tokens)) {}
  [[nodiscard]] std::int64_t tokens() const override { return std::ssize(tokens_); }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override {
    std::copy_n(tokens_.begin() + begin, out.size(), out.begin());
  }
  [[nodiscard]] std::span<const std::int64_t> document_starts() const override { return {}; }
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  std::vector<std::int32_t> tokens_;
  std::string description_;
};

TEST(UnigramEntropy, KnownValues) {
  const Letters aab({97, 97, 98});
  EXPECT_NEAR(unigram_entropy(aab, 0, 3), -(2.0 / 3) * std::log(2.0 / 3) - (1.0 / 3) * std::log(1.0 / 3),
              1e-15);
  EXPECT_EQ(unigram_entropy(aab, 0, 2), 0);
  EXPECT_EQ(unigram_entropy(aab, 0, 0), 0);
  std::vector<std::int32_t> many;  // longer than a piece, values beyond every small table
  for (int i = 0; i < 200000; ++i) many.push_back(i % 4 == 0 ? 1 << 30 : i % 4);
  EXPECT_NEAR(unigram_entropy(Letters(many), 0, 200000), std::log(4.0), 1e-12);
}

}  // namespace
}  // namespace tessera::runtime
