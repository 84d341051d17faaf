#include "runtime/train/checkpoint_manifest.h"

#include <algorithm>
#include <limits>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/mapped_file.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tessera-checkpoint";
constexpr int kVersion = 2;
constexpr int kMaxDepth = 8;                                     // the format nests 5 deep
constexpr std::int64_t kMostParameters = std::int64_t{1} << 44;  // 12 bytes each stay far from overflow
constexpr std::int64_t kMostSteps = std::numeric_limits<std::int64_t>::max();

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

/// A JSON object whose fields are asked for by name and type.
class Object {
 public:
  Object(const Json& json, const std::string& file, std::string prefix)
      : json_(json), file_(file), prefix_(std::move(prefix)) {}

  [[nodiscard]] Status refuse(const std::string& name, const std::string& expected) const {
    const bool there = json_.is_object() && json_.contains(name);
    return damaged_checkpoint(file_, prefix_ + name, there ? shown(json_[name]) : "nothing", expected);
  }
  [[nodiscard]] Result<const Json*> field(const char* name) const {
    if (!json_.is_object() || !json_.contains(name)) return refuse(name, "this field");
    return &json_[name];
  }
  [[nodiscard]] Result<std::int64_t> count(const char* name, std::int64_t most) const {
    const Json* value = TS_TRY(field(name));
    // As std::uint64_t: the library compares mixed signs as signed, where 2^63 is negative.
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
      return refuse(name, fmt::format("an integer from 0 to {}", most));
    }
    return value->get<std::int64_t>();
  }
  [[nodiscard]] Result<std::string> text(const char* name) const {
    const Json* value = TS_TRY(field(name));
    if (!value->is_string()) return refuse(name, "text");
    return value->get<std::string>();
  }
  [[nodiscard]] Result<const Json*> array(const char* name) const {
    const Json* value = TS_TRY(field(name));
    if (!value->is_array()) return refuse(name, "an array");
    return value;
  }

 private:
  const Json& json_;
  const std::string& file_;
  std::string prefix_;
};

Json shard_to_json(const CheckpointShard& shard) {
  Json ranges = Json::array();
  for (const FlatRange& range : shard.ranges) ranges.push_back({range.offset, range.count});
  return {{"file", shard.file}, {"bytes", shard.bytes}, {"xxh64", shard.xxh64}, {"ranges", ranges}};
}

Result<CheckpointShard> shard_from_json(const Json& json, const std::string& file, const std::string& where) {
  const Object object(json, file, where);
  CheckpointShard shard;
  shard.file = TS_TRY(object.text("file"));
  if (shard.file.empty() || shard.file.find('/') != std::string::npos || shard.file == "." ||
      shard.file == "..") {
    return object.refuse("file", "the name of a file beside the manifest");
  }
  shard.bytes = TS_TRY(object.count("bytes", 12 * kMostParameters));
  shard.xxh64 = TS_TRY(object.text("xxh64"));
  std::int64_t total = 0;
  for (const Json& range : *TS_TRY(object.array("ranges"))) {
    const auto is_count = [](const Json& value) {
      return value.is_number_unsigned() &&
             value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMostParameters);
    };
    if (!range.is_array() || range.size() != 2 || !is_count(range[0]) || !is_count(range[1])) {
      return object.refuse("ranges", "pairs of an offset and a count");
    }
    shard.ranges.push_back({range[0].get<std::int64_t>(), range[1].get<std::int64_t>()});
    total += shard.ranges.back().count;
    if (total > kMostParameters) return object.refuse("ranges", "ranges of the parameters");
  }
  if (shard.bytes != 12 * total) {
    return object.refuse("bytes", fmt::format("{}, 12 for each float of the ranges", 12 * total));
  }
  return shard;
}

/// Each of [0, parameters) once.
Status check_cover(const CheckpointManifest& manifest, const std::string& file) {
  std::vector<FlatRange> all;
  for (const CheckpointShard& shard : manifest.shards) {
    all.insert(all.end(), shard.ranges.begin(), shard.ranges.end());
  }
  std::sort(all.begin(), all.end(),
            [](auto& a, auto& b) { return std::pair(a.offset, a.count) < std::pair(b.offset, b.count); });
  std::int64_t at = 0;
  const bool adjacent = std::all_of(all.begin(), all.end(), [&](const FlatRange& range) {
    if (range.offset != at) return false;
    at += range.count;
    return true;
  });
  if (adjacent && at == manifest.parameters) return {};
  return damaged_checkpoint(
      file, "shards", fmt::format("ranges that leave a gap or overlap at parameter {}", at),
      fmt::format("ranges that together hold each of {} parameters once", manifest.parameters));
}

std::string seal_of(const Json& unsealed) {
  const std::string text = unsealed.dump();
  return fmt::format("{:016x}", XXH64(text.data(), text.size(), 0));
}

Status fill(CheckpointManifest& manifest, const Json& json, const std::string& file) {
  const Object object(json, file, "");
  CheckpointMeta& meta = manifest.meta;
  meta.step = TS_TRY(object.count("step", kMostSteps));
  meta.next_sample = TS_TRY(object.count("next_sample", kMostSteps));
  const Json* seed = TS_TRY(object.field("seed"));
  if (!seed->is_number_unsigned()) return object.refuse("seed", "an integer from 0");
  meta.seed = seed->get<std::uint64_t>();
  Result<planner::ModelSpec> model = planner::parse_model_spec(TS_TRY(object.field("model"))->dump(), file);
  if (!model.ok()) return {Code::kDataLoss, model.status().message()};
  meta.model = std::move(model).value();
  const Json* run = TS_TRY(object.field("run"));
  if (!run->is_object()) return object.refuse("run", "an object");
  for (const auto& [name, value] : run->items()) {
    if (!value.is_string()) return object.refuse("run", "an object of texts");
    meta.identity.emplace_back(name, value.get<std::string>());
  }
  manifest.parameters = TS_TRY(object.count("parameters", kMostParameters));
  if (const std::int64_t total = ParameterLayout(meta.model).total(); manifest.parameters != total) {
    return object.refuse("parameters", fmt::format("{}, which the model has", total));
  }
  const Json* shards = TS_TRY(object.array("shards"));
  for (std::size_t i = 0; i < shards->size(); ++i) {
    manifest.shards.push_back(TS_TRY(shard_from_json((*shards)[i], file, fmt::format("shards[{}].", i))));
  }
  return check_cover(manifest, file);
}

/// Nothing for text that is no JSON, or nests deeper than the format: printing such a value recurses.
Json parse_shallow(std::string_view text) {
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t /*event*/, const Json& /*parsed*/) {
    deep = deep || depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  return deep || json.is_discarded() ? Json() : json;
}

}  // namespace

std::int64_t floats(std::span<const FlatRange> ranges) {
  std::int64_t sum = 0;
  for (const FlatRange& range : ranges) sum += range.count;
  return sum;
}

Status damaged_checkpoint(const std::string& file, const std::string& field, const std::string& found,
                          const std::string& expected) {
  return bad_input(
      {file, field, found, expected,
       "use an older checkpoint: tessera-train takes one by name with --resume DIRECTORY, and the "
       "newest sound one with --resume-fallback on"},
      Code::kDataLoss);
}

std::string to_json(const CheckpointShard& shard) { return shard_to_json(shard).dump(); }

Result<CheckpointShard> parse_checkpoint_shard(std::string_view text) {
  return shard_from_json(parse_shallow(text), "a rank's shard entry", "");
}

std::string to_json(const CheckpointManifest& manifest) {
  const CheckpointMeta& meta = manifest.meta;
  Json run = Json::object();
  for (const auto& [name, value] : meta.identity) run[name] = value;
  Json shards = Json::array();
  for (const CheckpointShard& shard : manifest.shards) shards.push_back(shard_to_json(shard));
  Json json = {{"format", kFormat}, {"version", kVersion},
               {"step", meta.step}, {"next_sample", meta.next_sample},
               {"seed", meta.seed}, {"model", Json::parse(planner::to_config_json(meta.model))},
               {"run", run},        {"parameters", manifest.parameters},
               {"shards", shards}};
  json["xxh64"] = seal_of(json);
  return json.dump(1) + "\n";
}

Result<CheckpointManifest> parse_checkpoint_manifest(std::string_view text, const std::string& file_name) {
  Json json = parse_shallow(text);
  const Object object(json, file_name, "");
  if (!json.is_object()) {
    return damaged_checkpoint(file_name, "", "text that is not such an object",
                              "the JSON object of a checkpoint");
  }
  const Json* format = TS_TRY(object.field("format"));
  if (*format != kFormat) return object.refuse("format", fmt::format("\"{}\"", kFormat));
  const Json* version = TS_TRY(object.field("version"));
  if (*version != kVersion) {
    return object.refuse("version", fmt::format("{}: this program reads no other", kVersion));
  }
  const std::string seal = TS_TRY(object.text("xxh64"));
  json.erase("xxh64");
  if (const std::string found = seal_of(json); found != seal) {
    return damaged_checkpoint(file_name, "xxh64", "contents of XXH64 " + found, "XXH64 " + shown(seal));
  }
  CheckpointManifest manifest;
  TS_TRY(fill(manifest, json, file_name));
  return manifest;
}

Result<CheckpointManifest> read_checkpoint_manifest(const std::string& directory) {
  const std::string path = directory + "/manifest.json";
  const Result<MappedFile> file = MappedFile::open(path, "", "");
  if (!file.ok()) {
    return damaged_checkpoint(path, "", "no readable manifest", "a manifest.json, which is written last");
  }
  const auto bytes = file.value().bytes();
  return parse_checkpoint_manifest({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace tessera::runtime
