#include "recovery/restore/landing.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace tessera::recovery {

Landing::Landing(Store* memory, Store* disk, SnapshotManifest manifest, int rank)
    : memory_(memory), disk_(disk), manifest_(std::move(manifest)), rank_(rank) {}

Result<std::string> Landing::writer_of(Tier tier) {
  const std::lock_guard lock(mutex_);
  std::string& writer = writers_[static_cast<int>(tier)];
  if (!writer.empty()) return writer;
  // A name of its own: what an earlier restore left under another one stays readable.
  const std::string folder = step_folder(manifest_.job, manifest_.meta.step);
  const std::vector<std::string> keys = TS_TRY(store(tier).list(folder));
  for (int number = 0;; ++number) {
    const std::string name = fmt::format("{}.rank-{:04}.restored-{}", manifest_.node, rank_, number);
    const std::string key = manifest_key(manifest_.job, manifest_.meta.step, name);
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    writer = name;
    return writer;
  }
}

Result<LandedAtom> Landing::keep(int atom, Bytes bytes, std::uint64_t xxh64) {
  Status status(Code::kResourceExhausted, fmt::format("node {} has no store", manifest_.node));
  for (const Tier tier : {Tier::kMemory, Tier::kDisk}) {
    if ((tier == Tier::kMemory ? memory_ : disk_) == nullptr) continue;
    const Result<std::string> writer = writer_of(tier);
    if (!writer.ok()) {
      status = writer.status();
      continue;
    }
    const std::string object = fmt::format("{}-{}.pack", writer.value(), atom);
    status = store(tier).put(step_folder(manifest_.job, manifest_.meta.step) + object, {&bytes, 1});
    if (!status.ok()) continue;
    const LandedAtom landed{
        tier, {manifest_.table.at(atom), object, 0, static_cast<std::int64_t>(bytes.size()), xxh64}};
    const std::lock_guard lock(mutex_);
    landed_.push_back(landed);
    return landed;
  }
  return status;
}

Status Landing::publish() {
  Status first;
  for (const Tier tier : {Tier::kMemory, Tier::kDisk}) {
    SnapshotManifest manifest = manifest_;
    for (const LandedAtom& landed : landed_) {
      if (landed.tier == tier) manifest.atoms.push_back(landed.place);
    }
    if (manifest.atoms.empty()) continue;
    // An atom that had to be fetched again has two entries of one object.
    std::sort(manifest.atoms.begin(), manifest.atoms.end(),
              [](const StoredAtom& a, const StoredAtom& b) { return a.atom < b.atom; });
    manifest.atoms.erase(
        std::unique(manifest.atoms.begin(), manifest.atoms.end(),
                    [](const StoredAtom& a, const StoredAtom& b) { return a.atom == b.atom; }),
        manifest.atoms.end());
    manifest.writer = writers_[static_cast<int>(tier)];
    const std::string text = to_json(manifest);
    const Bytes piece = std::as_bytes(std::span(text));
    const Status status =
        store(tier).put(manifest_key(manifest.job, manifest.meta.step, manifest.writer), {&piece, 1});
    if (first.ok()) first = status;
  }
  return first;
}

void Landing::discard() {
  const std::string folder = step_folder(manifest_.job, manifest_.meta.step);
  for (const LandedAtom& landed : landed_) (void)store(landed.tier).remove(folder + landed.place.object);
  landed_.clear();
}

}  // namespace tessera::recovery
