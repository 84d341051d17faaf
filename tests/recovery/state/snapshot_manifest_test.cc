// What is written is read; every flipped bit is refused; every field of the wrong type, range or place is
// refused by name.
#include "recovery/state/snapshot_manifest.h"

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "planner/spec/model_spec.h"
#include "recovery/state/store_key.h"
#include "tests/recovery/state/example_manifest.h"
#include "tests/support/sealed_json.h"

namespace tessera::recovery {
namespace {

using test::sealed;
using ::testing::HasSubstr;
using Json = nlohmann::json;

TEST(SnapshotManifest, ReadsWhatWasWritten) {
  const SnapshotManifest manifest = example_manifest();
  const auto read = parse_snapshot_manifest(to_json(manifest), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->job, manifest.job);
  EXPECT_EQ(read->writer, manifest.writer);
  EXPECT_EQ(read->node, manifest.node);
  EXPECT_EQ(read->meta.id(), (SnapshotId{200, 3}));
  EXPECT_EQ(read->meta.next_sample, 800);
  EXPECT_EQ(read->meta.seed, manifest.meta.seed);
  EXPECT_EQ(read->meta.identity, manifest.meta.identity);
  EXPECT_EQ(planner::to_config_json(read->meta.model), planner::to_config_json(manifest.meta.model));
  EXPECT_EQ(read->table, manifest.table);
  EXPECT_EQ(read->atoms, manifest.atoms);
  EXPECT_EQ(to_json(read.value()), to_json(manifest));
}

TEST(SnapshotManifest, EveryFlippedBitIsRefused) {
  const std::string text = to_json(example_manifest());
  int flips = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const auto read = parse_snapshot_manifest(damaged, "m");
      ++flips;
      ASSERT_FALSE(read.ok()) << "bit " << bit << " of byte " << i;
      EXPECT_EQ(read.status().code(), Code::kDataLoss);
    }
  }
  EXPECT_GT(flips, 8000);
}

TEST(SnapshotManifest, EveryTruncationIsRefused) {
  const std::string text = to_json(example_manifest());
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(parse_snapshot_manifest(text.substr(0, size), "m").ok()) << size;
  }
  EXPECT_FALSE(parse_snapshot_manifest(text + "\n", "m").ok());
  EXPECT_FALSE(parse_snapshot_manifest(text + text, "m").ok());
}

TEST(SnapshotManifest, EachWrongFieldIsNamed) {
  const auto set = [](const char* pointer, Json value) {
    return [=](Json& json) { json[Json::json_pointer(pointer)] = value; };
  };
  const auto erase = [](const char* field) { return [=](Json& json) { json.erase(field); }; };
  struct Row {
    std::function<void(Json&)> change;
    std::vector<std::string> says;
  };
  const Json other_pack = "node-b.rank-0000-0.pack";
  const std::vector<Row> rows = {
      {set("/format", "other"), {"format", "\"other\"", "tessera-snapshot"}},
      {set("/version", 2), {"version", "found     2"}},
      {set("/job", "a/b"), {"job", "a/b", "a part of a key"}},
      {set("/job", ".."), {"job"}},
      {set("/writer", ""), {"writer"}},
      {set("/node", 3), {"node", "found     3"}},
      {set("/step", -1), {"step", "-1"}},
      {set("/step", 1.5), {"step", "1.5"}},
      {set("/attempt", -1), {"attempt", "-1"}},
      {set("/next_sample", std::uint64_t{1} << 63), {"next_sample", "9223372036854775808"}},
      {set("/seed", "5"), {"seed", "\"5\""}},
      {set("/seed", -5), {"seed", "-5"}},
      {erase("step"), {"step", "nothing"}},
      {erase("attempt"), {"attempt", "nothing"}},
      {erase("model"), {"model", "nothing"}},
      {erase("atoms"), {"atoms", "nothing"}},
      {erase("floats"), {"floats", "nothing"}},
      {set("/extra", 1), {"\"extra\"", "only format"}},
      {set("/model/hidden_size", 0), {"hidden_size", "0"}},
      {set("/model/num_hidden_layers", 3), {"floats", "10 numbers"}},
      {set("/run", 3), {"run", "3"}},
      {set("/run/0", "seed"), {"run", "pairs of texts"}},
      {set("/run/0/1", 5), {"run", "pairs of texts"}},
      {set("/floats/0", -1), {"floats", "integers"}},
      {set("/floats/7", std::int64_t{1} << 44), {"floats", "in total"}},
      {set("/floats/0", 141), {"atoms[0].bytes", "560", "564"}},
      {set("/atoms", Json::object()), {"atoms", "a list of objects"}},
      {set("/atoms/1", 7), {"atoms[1]", "7"}},
      {set("/atoms/1/layer", 4), {"atoms[1].layer", "from 0 to 3"}},
      {set("/atoms/1/slice", 2), {"atoms[1].slice", "from 0 to 1"}},
      {set("/atoms/1/component", "gradient"), {"atoms[1].component", "first_moment"}},
      {set("/atoms/1/object", "../elsewhere"), {"atoms[1].object", "a part of a key"}},
      {set("/atoms/1/object", other_pack), {"atoms[1].object", "node-a.rank-0003-0.pack"}},
      {set("/atoms/1/object", "node-a.rank-0003.manifest.json"), {"atoms[1].object", ".pack"}},
      {set("/atoms/1/offset", -4), {"atoms[1].offset", "-4"}},
      {set("/atoms/1/offset", 559), {"atoms", "over each other"}},
      {set("/atoms/1/bytes", 559), {"atoms[1].bytes", "559", "560"}},
      {set("/atoms/1/xxh64", "123"), {"atoms[1].xxh64", "16 hexadecimal digits"}},
      {set("/atoms/1/xxh64", "0123456789ABCDEF"), {"atoms[1].xxh64"}},
      {set("/atoms/1/component", "weight"), {"atoms[1].layer", "an atom after layer 0, slice 0, weight"}},
      {set("/atoms/1/more", 1), {"atoms[1].", "\"more\"", "only layer, slice"}},
  };
  for (const Row& row : rows) {
    Json json = Json::parse(to_json(example_manifest()));
    row.change(json);
    const auto read = parse_snapshot_manifest(sealed(json), "store: the/key");
    ASSERT_FALSE(read.ok()) << row.says[0];
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
    EXPECT_THAT(read.status().message(), HasSubstr("store: the/key"));
    for (const std::string& part : row.says) EXPECT_THAT(read.status().message(), HasSubstr(part));
  }
}

TEST(SnapshotManifest, TheSameValuesInOtherBytesAreRefused) {
  const Json json = Json::parse(to_json(example_manifest()));
  EXPECT_TRUE(parse_snapshot_manifest(sealed(json), "m").ok());
  EXPECT_FALSE(parse_snapshot_manifest(json.dump(1), "m").ok());
}

TEST(SnapshotManifest, TextThatIsNoManifestIsRefused) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  for (const std::string& text : std::vector<std::string>{
           "", "{", "[]", "null", "{}", "\xff", deep, "{\"format\": " + deep + "}", "{\"step\": 1e999}"}) {
    const auto read = parse_snapshot_manifest(text, "m");
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
  }
}

TEST(SnapshotManifest, AnAtomMayBeEmptyAndAManifestHoldNothing) {
  SnapshotManifest manifest = example_manifest();
  EXPECT_EQ(manifest.atoms.back().bytes, 0);
  manifest.atoms.clear();
  const auto read = parse_snapshot_manifest(to_json(manifest), "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_TRUE(read->atoms.empty());
}

TEST(SnapshotKeys, AreKeysAndSayTheirStep) {
  const std::string key = manifest_key("job-1", 200, "node-a.rank-0003");
  EXPECT_EQ(key, "job-1/step-00000200/node-a.rank-0003.manifest.json");
  EXPECT_TRUE(is_key(key));
  EXPECT_TRUE(is_key_prefix(step_folder("job-1", 200)));
  EXPECT_TRUE(is_manifest_key(key));
  EXPECT_FALSE(is_manifest_key(step_folder("job-1", 200) + "node-a.rank-0003-0.pack"));
  for (const std::int64_t step :
       {std::int64_t{0}, std::int64_t{7}, std::int64_t{99'999'999}, std::int64_t{100'000'000}, INT64_MAX}) {
    const auto read = step_of_key("job-1", manifest_key("job-1", step, "w"));
    ASSERT_TRUE(read.ok()) << step;
    EXPECT_EQ(read.value(), step);
  }
  for (const char* other :
       {"", "job-1", "job-1/", "job-1/step-", "job-1/step-200/x", "job-1/step-00000200",
        "job-1/step-00000200x/y", "job-1/step-000000200/x", "job-1/step--0000200/x", "job-1/step-+0000200/x",
        "job-10/step-00000200/x", "job-1/step-99999999999999999999/x", "step-00000200/x"}) {
    EXPECT_EQ(step_of_key("job-1", other).status().code(), Code::kNotFound) << other;
  }
}

TEST(SnapshotIds, TheGreaterIsTheNewer) {
  EXPECT_LT((SnapshotId{100, 9}), (SnapshotId{101, 0}));
  EXPECT_LT((SnapshotId{100, 1}), (SnapshotId{100, 2}));
  EXPECT_EQ(to_string(SnapshotId{200, 3}), "step 200 of attempt 3");
}

TEST(Checksums, AreXxh64) {
  EXPECT_EQ(checksum({}), 0xef46db3751d8e999ULL);  // the published value of no bytes, seed 0
  const std::string abc = "abc";
  EXPECT_EQ(checksum(std::as_bytes(std::span(abc))), 0x44bc2cf5ad770999ULL);
}

TEST(StateHash, DependsOnEachPart) {
  StateMeta meta = example_meta();
  const std::vector<std::uint64_t> sums = {1, 2, 3};
  const std::uint64_t hash = state_hash(meta, sums);
  meta.attempt = 4;  // how it came about is no part of the state
  EXPECT_EQ(state_hash(meta, sums), hash);
  EXPECT_NE(state_hash(meta, std::vector<std::uint64_t>{2, 1, 3}), hash);
  EXPECT_NE(state_hash(meta, std::vector<std::uint64_t>{1, 2, 3, 0}), hash);
  meta.next_sample = 801;
  EXPECT_NE(state_hash(meta, sums), hash);
  meta = example_meta();
  meta.step = 201;
  EXPECT_NE(state_hash(meta, sums), hash);
}

TEST(StateHash, IsOverLittleEndianNumbers) {
  StateMeta meta;
  meta.step = 0x0102;
  meta.next_sample = 3;
  const std::vector<unsigned char> bytes = {2, 1, 0, 0, 0, 0, 0, 0, 3,    0,    0,    0,
                                            0, 0, 0, 0, 8, 7, 6, 5, 0x44, 0x33, 0x22, 0x11};
  EXPECT_EQ(state_hash(meta, std::vector<std::uint64_t>{0x1122334405060708ULL}),
            XXH64(bytes.data(), bytes.size(), 0));
}

}  // namespace
}  // namespace tessera::recovery
