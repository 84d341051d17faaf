#include "recovery/store/snapshot_files.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

Status damaged(const Store& store, const std::string& key, const std::string& found,
               const std::string& expected) {
  return bad_input({fmt::format("{}: {}", store.describe(), key), "", found, expected,
                    "none needed: restoring takes these atoms from another place"},
                   Code::kDataLoss);
}

Result<std::string> read_text(Store& store, const std::string& key) {
  constexpr std::int64_t kLargestManifest = std::int64_t{256} << 20;
  const std::int64_t size = TS_TRY(store.size(key));
  if (size > kLargestManifest) {
    return damaged(store, key, fmt::format("{} bytes", size), fmt::format("at most {}", kLargestManifest));
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  TS_TRY(store.read(key, 0, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<SnapshotManifest> read_manifest_once(Store& store, const std::string& job, const std::string& key) {
  const std::string text = TS_TRY(read_text(store, key));
  SnapshotManifest manifest =
      TS_TRY(parse_snapshot_manifest(text, fmt::format("{}: {}", store.describe(), key)));
  const std::string own = manifest_key(manifest.job, manifest.meta.step, manifest.writer);
  if (manifest.job != job || own != key) return damaged(store, key, "the manifest of " + own, "its own");
  return manifest;
}

/// What a link has spoilt, or was replaced between size and read, comes right the second time.
Result<SnapshotManifest> read_manifest(Store& store, const std::string& job, const std::string& key) {
  Result<SnapshotManifest> manifest = read_manifest_once(store, job, key);
  return manifest.status().code() == Code::kDataLoss ? read_manifest_once(store, job, key) : manifest;
}

/// What differs between two manifests that say they are of one snapshot; "" when nothing does.
std::string difference(const StoredSnapshot& snapshot, const SnapshotManifest& manifest) {
  const StateMeta& a = snapshot.meta;
  const StateMeta& b = manifest.meta;
  if (a.next_sample != b.next_sample) return "next_sample";
  if (a.seed != b.seed) return "seed";
  if (a.identity != b.identity) return "run";
  if (planner::to_config_json(a.model) != planner::to_config_json(b.model)) return "model";
  if (snapshot.table != manifest.table) return "floats";
  for (const StoredAtom& atom : manifest.atoms) {
    const auto& places = snapshot.places[static_cast<std::size_t>(snapshot.table.index(atom.atom))];
    if (!places.empty() && places.front().xxh64 != atom.xxh64) {
      return fmt::format("the checksum of {}", to_string(atom.atom));
    }
  }
  return "";
}

void add(StoredSnapshot& snapshot, const SnapshotManifest& manifest) {
  for (const StoredAtom& atom : manifest.atoms) {
    const int index = snapshot.table.index(atom.atom);
    snapshot.held.add(index);
    snapshot.places[static_cast<std::size_t>(index)].push_back(atom);
  }
}

StoredSnapshot start(const SnapshotManifest& manifest) {
  const int atoms = manifest.table.count();
  return {manifest.meta, manifest.table, AtomSet(atoms),
          std::vector<std::vector<StoredAtom>>(static_cast<std::size_t>(atoms))};
}

}  // namespace

Result<SnapshotManifest> write_snapshot(Store& store, SnapshotManifest manifest,
                                        std::span<const AtomBytes> atoms) {
  const std::string pack = manifest.writer + "-0.pack";
  std::vector<Bytes> pieces;
  std::int64_t offset = 0;
  manifest.atoms.clear();
  for (const AtomBytes& atom : atoms) {
    const auto bytes = static_cast<std::int64_t>(atom.bytes.size());
    const std::int64_t expected = manifest.table.bytes(manifest.table.index(atom.atom));
    TS_REQUIRE(bytes == expected, to_string(atom.atom), bytes, expected);
    TS_REQUIRE(manifest.atoms.empty() || manifest.atoms.back().atom < atom.atom, to_string(atom.atom));
    manifest.atoms.push_back({atom.atom, pack, offset, bytes, atom.xxh64});
    pieces.push_back(atom.bytes);
    offset += bytes;
  }
  if (offset > 0) TS_TRY(store.put(step_folder(manifest.job, manifest.meta.step) + pack, pieces));
  const std::string text = to_json(manifest);
  const Bytes piece = bytes_of(text);
  TS_TRY(store.put(manifest_key(manifest.job, manifest.meta.step, manifest.writer), {&piece, 1}));
  return manifest;
}

bool StoredSnapshot::complete() const {
  for (int atom = 0; atom < table.count(); ++atom) {
    if (!held.has(atom) && table.bytes(atom) > 0) return false;
  }
  return true;
}

Result<StoreContents> read_contents(Store& store, const std::string& job) {
  StoreContents contents;
  std::map<SnapshotId, StoredSnapshot> snapshots;
  for (const std::string& key : TS_TRY(store.list(job + "/"))) {
    if (!step_of_key(job, key).ok() || !is_manifest_key(key)) continue;
    const Result<SnapshotManifest> manifest = read_manifest(store, job, key);
    if (!manifest.ok()) {
      contents.refused.push_back(manifest.status());
      continue;
    }
    StoredSnapshot& snapshot =
        snapshots.try_emplace(manifest->meta.id(), start(manifest.value())).first->second;
    if (const std::string what = difference(snapshot, manifest.value()); !what.empty()) {
      contents.refused.push_back(
          damaged(store, key, "another " + what, "what the snapshot's other manifests say"));
      continue;
    }
    add(snapshot, manifest.value());
  }
  for (auto at = snapshots.rbegin(); at != snapshots.rend(); ++at)
    contents.snapshots.push_back(std::move(at->second));
  return contents;
}

Status read_atom(Store& store, const std::string& job, const StoredSnapshot& snapshot, int atom,
                 std::span<std::byte> into) {
  const auto bytes = static_cast<std::int64_t>(into.size());
  TS_REQUIRE(bytes == snapshot.table.bytes(atom), atom, bytes);
  if (bytes == 0) return {};
  const std::string name = to_string(snapshot.table.at(atom));
  const std::string folder = step_folder(job, snapshot.meta.step);
  Status status(Code::kNotFound, fmt::format("{}: {} holds no {}", store.describe(), folder, name));
  constexpr int kReads = 2;  // what a link has spoilt comes right the second time
  for (const StoredAtom& place : snapshot.places[static_cast<std::size_t>(atom)]) {
    for (int i = 0; i < kReads; ++i) {
      status = store.read(folder + place.object, place.offset, into);
      if (!status.ok()) break;
      const std::uint64_t found = checksum(into);
      if (found == place.xxh64) return {};
      status = damaged(store, folder + place.object, fmt::format("{} of XXH64 {:016x}", name, found),
                       fmt::format("XXH64 {:016x}", place.xxh64));
    }
  }
  // A place that the manifest names and that is gone is lost data, not an atom that nobody has.
  if (snapshot.held.has(atom) && status.code() == Code::kNotFound) return {Code::kDataLoss, status.message()};
  return status;
}

Status remove_before(Store& store, const std::string& job, std::int64_t step) {
  std::vector<std::string> old;
  for (std::string& key : TS_TRY(store.list(job + "/"))) {
    const Result<std::int64_t> of = step_of_key(job, key);
    if (of.ok() && of.value() < step) old.push_back(std::move(key));
  }
  std::stable_partition(old.begin(), old.end(), [](const std::string& key) { return is_manifest_key(key); });
  for (const std::string& key : old) TS_TRY(store.remove(key));
  return {};
}

Status keep_newest(Store& store, const std::string& job, int count) {
  TS_REQUIRE(count > 0, count);
  std::set<std::int64_t> complete;
  for (const StoredSnapshot& snapshot : TS_TRY(read_contents(store, job)).snapshots) {
    if (snapshot.complete()) complete.insert(snapshot.meta.step);
  }
  if (complete.size() < static_cast<std::size_t>(count)) return {};
  return remove_before(store, job, *std::prev(complete.end(), count));
}

}  // namespace tessera::recovery
