#include "runtime/train/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"
#include "algos/base/mapped_file.h"
#include "algos/base/require.h"
#include "runtime/comm/collectives.h"
#include "runtime/train/agree.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kFormat = "tessera-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kSaving = ".saving-";

std::string step_name(std::int64_t step) { return fmt::format("step-{:08}", step); }
std::string shard_name(int rank, int ranks) { return fmt::format("shard-{:04}-of-{:04}.bin", rank, ranks); }
std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::int64_t floats(std::span<const FlatRange> ranges) {
  std::int64_t sum = 0;
  for (const FlatRange& range : ranges) sum += range.count;
  return sum;
}

struct ShardEntry {
  std::string file;
  std::int64_t bytes = 0;
  std::string xxh64;
  std::vector<FlatRange> ranges;
};

/// Everything a manifest says.
struct Manifest {
  CheckpointMeta meta;
  std::int64_t parameters = 0;  // floats of the flat buffer
  std::vector<ShardEntry> shards;
};

ordered_json to_json(const ShardEntry& shard) {
  ordered_json ranges = ordered_json::array();
  for (const FlatRange& range : shard.ranges) ranges.push_back({range.offset, range.count});
  return {{"file", shard.file}, {"bytes", shard.bytes}, {"xxh64", shard.xxh64}, {"ranges", ranges}};
}

ShardEntry shard_from_json(const ordered_json& object) {
  ShardEntry shard{object.at("file"), object.at("bytes"), object.at("xxh64"), {}};
  for (const auto& range : object.at("ranges")) shard.ranges.push_back({range.at(0), range.at(1)});
  return shard;
}

std::string manifest_text(const Manifest& manifest) {
  ordered_json run = ordered_json::object();
  for (const auto& [name, value] : manifest.meta.identity) run[name] = value;
  ordered_json shards = ordered_json::array();
  for (const ShardEntry& shard : manifest.shards) shards.push_back(to_json(shard));
  const ordered_json object = {{"format", kFormat},
                               {"version", kVersion},
                               {"step", manifest.meta.step},
                               {"next_sample", manifest.meta.next_sample},
                               {"seed", manifest.meta.seed},
                               {"run", run},
                               {"run_xxh64", identity_hash(manifest.meta.identity)},
                               {"parameters", manifest.parameters},
                               {"shards", shards}};
  return object.dump(1) + "\n";
}

Status damaged(const std::string& file, const std::string& found, const std::string& expected) {
  return bad_input({file, "checkpoint", found, expected,
                    "use an older checkpoint (--resume DIRECTORY), or let the run take the newest sound one "
                    "with --resume-fallback on"},
                   Code::kDataLoss);
}

Result<Manifest> read_manifest(const std::string& directory) {
  const std::string path = directory + "/" + kManifest;
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return damaged(path, "no readable manifest", "a manifest.json, which is written last");
  }
  try {
    const ordered_json object = ordered_json::parse(text.str());
    if (object.at("format") != kFormat || object.at("version") != kVersion) {
      return damaged(path, object.at("format").dump() + " version " + object.at("version").dump(),
                     fmt::format("\"{}\" version {}", kFormat, kVersion));
    }
    Manifest manifest;
    manifest.meta.step = object.at("step");
    manifest.meta.next_sample = object.at("next_sample");
    manifest.meta.seed = object.at("seed");
    for (const auto& [name, value] : object.at("run").items()) {
      manifest.meta.identity.emplace_back(name, value.get<std::string>());
    }
    manifest.parameters = object.at("parameters");
    for (const auto& shard : object.at("shards")) manifest.shards.push_back(shard_from_json(shard));
    if (object.at("run_xxh64") != identity_hash(manifest.meta.identity)) {
      return damaged(path, "a run description that does not match its own checksum", "an unchanged file");
    }
    return manifest;
  } catch (const nlohmann::json::exception& e) {
    return damaged(path, e.what(), "a manifest.json as this program writes it");
  }
}

Status check_files(const std::string& directory, const Manifest& manifest) {
  for (const ShardEntry& shard : manifest.shards) {
    const std::string path = directory + "/" + shard.file;
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error) return damaged(path, "no such file", fmt::format("{} bytes", shard.bytes));
    if (static_cast<std::int64_t>(size) != shard.bytes) {
      return damaged(path, fmt::format("{} bytes", size), fmt::format("{} bytes", shard.bytes));
    }
  }
  return {};
}

Status check_identity(const std::string& directory, const RunIdentity& found, const RunIdentity& expected) {
  const std::string path = directory + "/" + kManifest;
  const std::string remedy =
      "a run goes on with the model, data, seed and batch it began with: restore that setting, or begin "
      "another run with --resume never and another --out";
  for (const auto& [name, value] : expected) {
    const auto at =
        std::find_if(found.begin(), found.end(), [&field = name](const auto& f) { return f.first == field; });
    const std::string has = at == found.end() ? "nothing" : at->second;
    if (has != value) return bad_input({path, name, has, value + ", as this run says", remedy});
  }
  if (found.size() != expected.size()) {
    return bad_input({path, "run", fmt::format("{} fields", found.size()),
                      fmt::format("{} fields", expected.size()), remedy});
  }
  return {};
}

/// Copies the part of `from` (values of `range`) that lies in `owned` into the shard buffer `into`.
void copy_owned(std::span<const FlatRange> owned, std::span<float> into, FlatRange range,
                const std::byte* from) {
  std::int64_t at = 0;
  for (const FlatRange& mine : owned) {
    const std::int64_t first = std::max(mine.offset, range.offset);
    const std::int64_t last = std::min(mine.offset + mine.count, range.offset + range.count);
    if (first < last) {
      std::memcpy(into.data() + at + (first - mine.offset), from + (first - range.offset) * 4,
                  static_cast<std::size_t>(last - first) * 4);
    }
    at += mine.count;
  }
}

Status load_shard(const std::string& directory, const ShardEntry& shard, const StateView& state) {
  const std::string path = directory + "/" + shard.file;
  const auto file = TS_TRY(MappedFile::open(path, "a shard of the checkpoint", "use another checkpoint"));
  const auto bytes = file.bytes();
  const std::int64_t count = floats(shard.ranges);
  if (std::ssize(bytes) != shard.bytes || shard.bytes != count * 12) {
    return damaged(path, fmt::format("{} bytes", bytes.size()), fmt::format("{} bytes", count * 12));
  }
  const std::string checksum = hex(XXH64(bytes.data(), bytes.size(), 0));
  if (checksum != shard.xxh64) return damaged(path, "XXH64 " + checksum, "XXH64 " + shard.xxh64);
  std::int64_t at = 0;  // bytes
  for (const FlatRange& range : shard.ranges) {
    if (range.offset < 0 || range.count < 0 || range.offset + range.count > std::ssize(state.parameters)) {
      return damaged(path, fmt::format("range [{}, {})", range.offset, range.offset + range.count),
                     fmt::format("ranges inside {} parameters", state.parameters.size()));
    }
    const std::byte* p = bytes.data() + at;
    std::memcpy(state.parameters.data() + range.offset, p, static_cast<std::size_t>(range.count) * 4);
    copy_owned(state.owned, state.first_moment, range, p + count * 4);
    copy_owned(state.owned, state.second_moment, range, p + count * 8);
    at += range.count * 4;
  }
  return {};
}

Status check_cover(const std::string& directory, const Manifest& manifest) {
  std::vector<FlatRange> all;
  for (const ShardEntry& shard : manifest.shards) {
    all.insert(all.end(), shard.ranges.begin(), shard.ranges.end());
  }
  std::sort(all.begin(), all.end(),
            [](auto& a, auto& b) { return std::pair(a.offset, a.count) < std::pair(b.offset, b.count); });
  std::int64_t at = 0;
  for (const FlatRange& range : all) {
    if (range.offset != at) break;
    at += range.count;
  }
  if (at == manifest.parameters) return {};
  return damaged(directory, fmt::format("shards that leave a gap or overlap at parameter {}", at),
                 fmt::format("shards that together hold each of {} parameters once", manifest.parameters));
}

Status prepare_directory(const std::string& saving) {
  std::error_code error;
  fs::remove_all(saving, error);
  if (!error) fs::create_directories(saving, error);
  return error ? write_failure(saving, "cannot create", error) : Status();
}

Result<ShardEntry> write_shard(const std::string& directory, int rank, int ranks, const StateView& state) {
  std::vector<std::span<const std::byte>> pieces;
  for (const FlatRange& range : state.owned) {
    pieces.push_back(as_bytes(state.parameters.data() + range.offset, range.count));
  }
  pieces.push_back(std::as_bytes(state.first_moment));
  pieces.push_back(std::as_bytes(state.second_moment));

  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> hash(XXH64_createState(),
                                                                               XXH64_freeState);
  XXH64_reset(hash.get(), 0);
  ShardEntry shard;
  for (const auto& piece : pieces) {
    if (!piece.empty()) XXH64_update(hash.get(), piece.data(), piece.size());
    shard.bytes += std::ssize(piece);
  }
  shard.file = shard_name(rank, ranks);
  shard.xxh64 = hex(XXH64_digest(hash.get()));
  shard.ranges.assign(state.owned.begin(), state.owned.end());
  TS_TRY(write_durably(directory + "/" + shard.file, pieces));
  return shard;
}

Status publish(const std::string& saving, const std::string& directory, const Manifest& manifest) {
  TS_TRY(write_durably(saving + "/" + kManifest, manifest_text(manifest)));
  return replace_directory(saving, directory);
}

void prune(const std::string& root, std::int64_t keep) {
  for (const CheckpointEntry& entry : list_checkpoints(root)) {
    if (!entry.complete.ok() || keep-- > 0) continue;
    std::error_code ignored;  // a directory that stays costs space, nothing else
    fs::remove_all(entry.directory, ignored);
  }
}

}  // namespace

std::string identity_hash(const RunIdentity& identity) {
  std::string text;
  for (const auto& [name, value] : identity) text += name + '\0' + value + '\0';
  return hex(XXH64(text.data(), text.size(), 0));
}

Status save_checkpoint(Communicator& world, const std::string& root, const CheckpointMeta& meta,
                       const StateView& state, std::int64_t keep) {
  const bool first = world.rank() == Rank(0);
  const std::string directory = root + "/" + step_name(meta.step);
  const std::string saving = root + "/" + kSaving + step_name(meta.step);
  const auto give_up = [&](const Status& status) {
    std::error_code ignored;  // the first error is the one to report
    if (first) fs::remove_all(saving, ignored);
    return status;
  };
  if (const Status status = agree(world, first ? prepare_directory(saving) : Status()); !status.ok()) {
    return give_up(status);
  }
  const Result<ShardEntry> mine = write_shard(saving, world.rank().value, world.size(), state);
  if (const Status status = agree(world, mine.ok() ? Status() : mine.status()); !status.ok()) {
    return give_up(status);
  }
  const std::string entry = to_json(mine.value()).dump();
  const auto entries = all_gather_bytes(world, as_bytes(entry.data(), std::ssize(entry)));
  Status published;
  if (first) {
    Manifest manifest{meta, std::ssize(state.parameters), {}};
    for (const auto& bytes : entries) {
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      manifest.shards.push_back(shard_from_json(ordered_json::parse(text)));
    }
    published = publish(saving, directory, manifest);
  }
  if (const Status status = agree(world, published); !status.ok()) return give_up(status);
  if (first) prune(root, keep);
  return {};
}

Result<CheckpointMeta> load_checkpoint(const std::string& directory, const RunIdentity& identity,
                                       const StateView& state) {
  TS_REQUIRE(floats(state.owned) == std::ssize(state.first_moment), state.first_moment.size());
  TS_REQUIRE(floats(state.owned) == std::ssize(state.second_moment), state.second_moment.size());
  const Manifest manifest = TS_TRY(read_manifest(directory));
  TS_TRY(check_files(directory, manifest));
  TS_TRY(check_identity(directory, manifest.meta.identity, identity));
  if (manifest.parameters != std::ssize(state.parameters)) {
    return damaged(directory, fmt::format("{} parameters", manifest.parameters),
                   fmt::format("{} parameters", state.parameters.size()));
  }
  TS_TRY(check_cover(directory, manifest));
  for (const ShardEntry& shard : manifest.shards) TS_TRY(load_shard(directory, shard, state));
  return manifest.meta;
}

std::vector<CheckpointEntry> list_checkpoints(const std::string& root) {
  std::vector<CheckpointEntry> entries;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(root, error)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with("step-") || name.find_first_not_of("0123456789", 5) != std::string::npos ||
        name.size() < 6 || name.size() > 23) {
      continue;
    }
    CheckpointEntry entry{item.path().string(), std::stoll(name.substr(5)), {}};
    const Result<Manifest> manifest = read_manifest(entry.directory);
    entry.complete = manifest.ok() ? check_files(entry.directory, manifest.value()) : manifest.status();
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.step > b.step; });
  return entries;
}

Status remove_checkpoints(const std::string& root) {
  std::error_code error;
  for (const CheckpointEntry& entry : list_checkpoints(root)) {
    fs::remove_all(entry.directory, error);
    if (error) return write_failure(entry.directory, "cannot remove", error);
  }
  for (const auto& item : fs::directory_iterator(root, error)) {
    std::error_code ignored;
    if (item.path().filename().string().starts_with(kSaving)) fs::remove_all(item.path(), ignored);
  }
  return {};
}

}  // namespace tessera::runtime
