#include "runtime/train/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <xxhash.h>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "algos/base/mapped_file.h"
#include "algos/base/require.h"
#include "runtime/comm/collectives.h"
#include "runtime/train/agree.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kSaving = ".saving-";

std::string step_name(std::int64_t step) { return fmt::format("step-{:08}", step); }
std::string shard_name(int rank, int ranks) { return fmt::format("shard-{:04}-of-{:04}.bin", rank, ranks); }
std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

/// Copies the part of `from`, three blocks of the shard's floats at `at` of each, that lies in `piece`.
void copy_piece(const StatePiece& piece, FlatRange range, const std::byte* from,
                std::int64_t floats_in_shard) {
  const std::int64_t first = std::max(piece.range.offset, range.offset);
  const std::int64_t last = std::min(piece.range.offset + piece.range.count, range.offset + range.count);
  const auto bytes = static_cast<std::size_t>(last - first) * 4;
  const std::int64_t to = first - piece.range.offset;
  from += (first - range.offset) * 4;
  std::memcpy(piece.parameters + to, from, bytes);
  if (piece.first_moment == nullptr) return;
  std::memcpy(piece.first_moment + to, from + floats_in_shard * 4, bytes);
  std::memcpy(piece.second_moment + to, from + floats_in_shard * 8, bytes);
}

/// Pieces by where they start, to find those that a range meets.
class PieceIndex {
 public:
  explicit PieceIndex(std::vector<StatePiece> pieces) : pieces_(std::move(pieces)) {
    std::ranges::sort(pieces_, {}, [](const StatePiece& piece) { return piece.range.offset; });
    for (const StatePiece& piece : pieces_) longest_ = std::max(longest_, piece.range.count);
  }
  template <class Visit>
  void for_each_in(FlatRange range, const Visit& visit) const {
    auto piece = std::ranges::lower_bound(pieces_, range.offset - longest_ + 1, {},
                                          [](const StatePiece& p) { return p.range.offset; });
    for (; piece != pieces_.end() && piece->range.offset < range.offset + range.count; ++piece) {
      if (piece->range.offset + piece->range.count > range.offset) visit(*piece);
    }
  }

 private:
  std::vector<StatePiece> pieces_;
  std::int64_t longest_ = 0;
};

Status load_shard(const std::string& directory, const CheckpointShard& shard, const PieceIndex& pieces) {
  const std::string path = directory + "/" + shard.file;
  const auto file = TS_TRY(MappedFile::open(path, "a shard of the checkpoint", "use another checkpoint"));
  const auto bytes = file.bytes();
  if (std::ssize(bytes) != shard.bytes) {
    return damaged_checkpoint(path, "", fmt::format("{} bytes", bytes.size()),
                              fmt::format("{} bytes", shard.bytes));
  }
  const std::string checksum = hex(XXH64(bytes.data(), bytes.size(), 0));
  if (checksum != shard.xxh64) {
    return damaged_checkpoint(path, "", "XXH64 " + checksum, "XXH64 " + shard.xxh64);
  }
  const std::int64_t count = floats(shard.ranges);
  std::int64_t at = 0;  // bytes
  for (const FlatRange& range : shard.ranges) {
    pieces.for_each_in(range,
                       [&](const StatePiece& piece) { copy_piece(piece, range, bytes.data() + at, count); });
    at += range.count * 4;
  }
  return {};
}

Status prepare_directory(const std::string& saving) {
  std::error_code error;
  fs::remove_all(saving, error);
  if (!error) fs::create_directories(saving, error);
  return error ? write_failure(saving, "cannot create", error) : Status();
}

Result<CheckpointShard> write_shard(const std::string& directory, int rank, int ranks,
                                    const StateView& state) {
  std::vector<const StatePiece*> saved;
  for (const StatePiece& piece : state.pieces) {
    if (piece.saved) saved.push_back(&piece);
  }
  std::ranges::sort(saved, {}, [](const StatePiece* piece) { return piece->range.offset; });
  std::vector<std::span<const std::byte>> pieces;
  for (float* const StatePiece::*values :
       {&StatePiece::parameters, &StatePiece::first_moment, &StatePiece::second_moment}) {
    for (const StatePiece* piece : saved) pieces.push_back(as_bytes(piece->*values, piece->range.count));
  }

  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> hash(XXH64_createState(),
                                                                               XXH64_freeState);
  XXH64_reset(hash.get(), 0);
  CheckpointShard shard;
  for (const auto& piece : pieces) {
    if (!piece.empty()) XXH64_update(hash.get(), piece.data(), piece.size());
    shard.bytes += std::ssize(piece);
  }
  shard.file = shard_name(rank, ranks);
  shard.xxh64 = hex(XXH64_digest(hash.get()));
  for (const StatePiece* piece : saved) {
    if (!shard.ranges.empty() &&
        shard.ranges.back().offset + shard.ranges.back().count == piece->range.offset) {
      shard.ranges.back().count += piece->range.count;
    } else {
      shard.ranges.push_back(piece->range);
    }
  }
  TS_TRY(write_durably(directory + "/" + shard.file, pieces));
  return shard;
}

Status publish(const std::string& saving, const std::string& directory, const CheckpointManifest& manifest) {
  TS_TRY(write_durably(saving + "/" + kManifest, to_json(manifest)));
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

Status check_identity(const std::string& origin, const RunIdentity& found, const RunIdentity& expected) {
  const std::string remedy =
      "a run goes on with the model, data, seed and batch it began with: restore that setting, or begin "
      "another run with --resume never and another --out";
  for (const auto& [name, value] : expected) {
    const auto at =
        std::find_if(found.begin(), found.end(), [&field = name](const auto& f) { return f.first == field; });
    const std::string has = at == found.end() ? "nothing" : at->second;
    if (has != value) return bad_input({origin, name, has, value + ", as this run says", remedy});
  }
  if (found.size() != expected.size()) {
    return bad_input({origin, "run", fmt::format("{} fields", found.size()),
                      fmt::format("{} fields", expected.size()), remedy});
  }
  return {};
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
  const Result<CheckpointShard> mine = write_shard(saving, world.rank().value, world.size(), state);
  if (const Status status = agree(world, mine.ok() ? Status() : mine.status()); !status.ok()) {
    return give_up(status);
  }
  const std::string entry = to_json(mine.value());
  const auto entries = all_gather_bytes(world, as_bytes(entry.data(), std::ssize(entry)));
  Status published;
  if (first) {
    CheckpointManifest manifest{meta, state.parameters, {}};
    for (const auto& bytes : entries) {
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      const Result<CheckpointShard> shard = parse_checkpoint_shard(text);
      TS_REQUIRE(shard.ok(), shard.status().message());
      manifest.shards.push_back(shard.value());
    }
    published = publish(saving, directory, manifest);
  }
  if (const Status status = agree(world, published); !status.ok()) return give_up(status);
  if (first) prune(root, keep);
  return {};
}

Result<CheckpointMeta> load_checkpoint(const std::string& directory, const RunIdentity& identity,
                                       const StateView& state) {
  const CheckpointManifest manifest = TS_TRY(read_checkpoint_manifest(directory));
  TS_TRY(check_identity(directory + "/" + kManifest, manifest.meta.identity, identity));
  if (manifest.parameters != state.parameters) {
    return damaged_checkpoint(directory, "parameters", fmt::format("{}", manifest.parameters),
                              fmt::format("{}", state.parameters));
  }
  TS_TRY(read_checkpoint_state(directory, manifest, state));
  return manifest.meta;
}

Status check_checkpoint_files(const std::string& directory, const CheckpointManifest& manifest) {
  for (const CheckpointShard& shard : manifest.shards) {
    const std::string path = directory + "/" + shard.file;
    std::error_code error;
    const auto size = fs::file_size(path, error);
    const std::string expected = fmt::format("{} bytes", shard.bytes);
    if (error) return damaged_checkpoint(path, "", "no such file", expected);
    if (static_cast<std::int64_t>(size) != shard.bytes) {
      return damaged_checkpoint(path, "", fmt::format("{} bytes", size), expected);
    }
  }
  return {};
}

Status read_checkpoint_state(const std::string& directory, const CheckpointManifest& manifest,
                             const StateView& state) {
  TS_REQUIRE(manifest.parameters == state.parameters, manifest.parameters, state.parameters);
  TS_TRY(check_checkpoint_files(directory, manifest));
  const PieceIndex pieces(state.pieces);
  for (const CheckpointShard& shard : manifest.shards) TS_TRY(load_shard(directory, shard, pieces));
  return {};
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
    const Result<CheckpointManifest> manifest = read_checkpoint_manifest(entry.directory);
    entry.complete =
        manifest.ok() ? check_checkpoint_files(entry.directory, manifest.value()) : manifest.status();
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
