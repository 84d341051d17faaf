#include "recovery/restore/inventory.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "recovery/restore/byte_codec.h"

namespace tessera::recovery {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Everything manifests of one snapshot must agree on, as text: a manifest without atoms.
std::string identity_text(const StoredSnapshot& snapshot) {
  return to_json({"any", "any", "any", snapshot.meta, snapshot.table, {}});
}

void encode_snapshot(ByteWriter& out, const StoredSnapshot& snapshot) {
  out.text(identity_text(snapshot));
  std::map<std::string, std::uint32_t> objects;
  std::uint64_t places = 0;
  for (const auto& of_atom : snapshot.places) {
    places += of_atom.size();
    for (const StoredAtom& place : of_atom) objects.try_emplace(place.object, 0);
  }
  out.number(static_cast<std::uint64_t>(objects.size()));
  std::uint32_t next = 0;
  for (auto& [name, number] : objects) {
    number = next++;
    out.text(name);
  }
  out.number(places);
  for (const auto& of_atom : snapshot.places) {
    for (const StoredAtom& place : of_atom) {
      out.number(static_cast<std::int32_t>(snapshot.table.index(place.atom)));
      out.number(objects.at(place.object));
      out.number(place.offset);
      out.number(place.xxh64);
    }
  }
}

StoredSnapshot decode_snapshot(ByteReader& in) {
  Result<SnapshotManifest> manifest = parse_snapshot_manifest(in.text(), "a listing");
  TS_REQUIRE(manifest.ok(), manifest.status().message());
  StoredSnapshot snapshot;
  snapshot.meta = std::move(manifest->meta);
  snapshot.table = std::move(manifest->table);
  snapshot.held = AtomSet(snapshot.table.count());
  snapshot.places.resize(at(snapshot.table.count()));
  std::vector<std::string> objects(in.number<std::uint64_t>());
  for (std::string& name : objects) name = in.text();
  for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
    const int atom = in.number<std::int32_t>();
    const auto object = in.number<std::uint32_t>();
    const auto offset = in.number<std::int64_t>();
    const auto xxh64 = in.number<std::uint64_t>();
    snapshot.held.add(atom);
    snapshot.places[at(atom)].push_back(
        {snapshot.table.at(atom), objects.at(object), offset, snapshot.table.bytes(atom), xxh64});
  }
  return snapshot;
}

/// Believes for each atom the checksum that most stores name, the smaller of equals, and leaves out the rest.
void settle_checksums(Snapshot& snapshot, const std::vector<std::string>& nodes,
                      std::vector<std::string>& lines) {
  const int atoms = snapshot.table.count();
  snapshot.checksums.assign(at(atoms), checksum({}));
  for (int atom = 0; atom < atoms; ++atom) {
    std::map<std::uint64_t, int> votes;
    for (const auto& [holder, store] : snapshot.stores) {
      for (const StoredAtom& place : store.places[at(atom)]) ++votes[place.xxh64];
    }
    if (votes.empty() || snapshot.table.bytes(atom) == 0) continue;
    const auto most = std::max_element(votes.begin(), votes.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    snapshot.checksums[at(atom)] = most->first;
    if (votes.size() == 1) continue;
    for (auto& [holder, store] : snapshot.stores) {
      auto& places = store.places[at(atom)];
      const auto others =
          std::erase_if(places, [&](const StoredAtom& place) { return place.xxh64 != most->first; });
      if (others == 0) continue;
      if (places.empty()) store.held.remove(atom);
      lines.push_back(fmt::format("{} of {}: {} names another checksum than most stores; not used",
                                  to_string(snapshot.table.at(atom)), to_string(snapshot.meta.id()),
                                  to_string(holder, nodes)));
    }
  }
}

}  // namespace

std::vector<std::byte> encode(std::span<const StoreListing> listings) {
  ByteWriter out;
  for (const StoreListing& listing : listings) {
    out.number(static_cast<std::int32_t>(listing.holder.node));
    out.number(static_cast<std::uint8_t>(listing.holder.tier));
    out.number(static_cast<std::uint8_t>(listing.status.code()));
    out.text(listing.status.message());
    out.number(static_cast<std::uint64_t>(listing.contents.refused.size()));
    for (const Status& refused : listing.contents.refused) out.text(refused.message());
    out.number(static_cast<std::uint64_t>(listing.contents.snapshots.size()));
    for (const StoredSnapshot& snapshot : listing.contents.snapshots) encode_snapshot(out, snapshot);
  }
  return std::move(out).take();
}

std::vector<StoreListing> decode(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  std::vector<StoreListing> listings;
  while (!in.empty()) {
    StoreListing listing;
    listing.holder.node = in.number<std::int32_t>();
    listing.holder.tier = static_cast<Tier>(in.number<std::uint8_t>());
    const auto code = static_cast<Code>(in.number<std::uint8_t>());
    listing.status = Status(code, in.text());
    for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
      listing.contents.refused.emplace_back(Code::kDataLoss, in.text());
    }
    for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
      listing.contents.snapshots.push_back(decode_snapshot(in));
    }
    listings.push_back(std::move(listing));
  }
  return listings;
}

const StoredSnapshot* Snapshot::in(const Holder& holder) const {
  for (const auto& [who, store] : stores) {
    if (who == holder) return &store;
  }
  return nullptr;
}

int Snapshot::lacking() const {
  int count = 0;
  for (int atom = 0; atom < table.count(); ++atom) {
    const bool somewhere = std::any_of(stores.begin(), stores.end(),
                                       [&](const auto& entry) { return entry.second.held.has(atom); });
    if (!somewhere && table.bytes(atom) > 0) ++count;
  }
  return count;
}

std::vector<NodeHoldings> Snapshot::held(int nodes) const {
  std::vector<NodeHoldings> held(at(nodes), {AtomSet(table.count()), AtomSet(table.count())});
  for (const auto& [holder, store] : stores) {
    if (holder.node == kCloudNode) continue;
    (holder.tier == Tier::kMemory ? held[at(holder.node)].memory : held[at(holder.node)].disk) |= store.held;
  }
  return held;
}

AtomSet Snapshot::cloud() const {
  const StoredSnapshot* const store = in(Holder{});
  return store != nullptr ? store->held : AtomSet(table.count());
}

std::vector<Snapshot> merge(std::vector<StoreListing> listings, const std::vector<std::string>& nodes,
                            std::vector<std::string>& lines) {
  std::sort(listings.begin(), listings.end(),
            [](const StoreListing& a, const StoreListing& b) { return a.holder < b.holder; });
  std::map<std::string, Snapshot> by_identity;
  for (StoreListing& listing : listings) {
    const std::string who = to_string(listing.holder, nodes);
    if (!listing.status.ok()) {
      lines.push_back(fmt::format("{} cannot be listed: {}", who, one_line(listing.status.message())));
    }
    for (const Status& refused : listing.contents.refused) {
      lines.push_back(fmt::format("{}: a manifest is left out: {}", who, one_line(refused.message())));
    }
    for (StoredSnapshot& stored : listing.contents.snapshots) {
      Snapshot& snapshot = by_identity[identity_text(stored)];
      snapshot.meta = stored.meta;
      snapshot.table = stored.table;
      snapshot.stores.emplace_back(listing.holder, std::move(stored));
    }
  }
  std::vector<Snapshot> snapshots;
  for (auto& [identity, snapshot] : by_identity) {
    settle_checksums(snapshot, nodes, lines);
    snapshots.push_back(std::move(snapshot));
  }
  std::stable_sort(snapshots.begin(), snapshots.end(), [](const Snapshot& a, const Snapshot& b) {
    return std::pair(b.meta.id(), a.lacking()) < std::pair(a.meta.id(), b.lacking());
  });
  return snapshots;
}

int newest_complete(std::span<const Snapshot> snapshots) {
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    if (snapshots[i].lacking() == 0) return static_cast<int>(i);
  }
  return -1;
}

std::string to_string(const Holder& holder, const std::vector<std::string>& nodes) {
  if (holder.node == kCloudNode) return "the cloud";
  return fmt::format("{} of node {}", tier_name(holder.tier), nodes[at(holder.node)]);
}

std::string one_line(const std::string& message) {
  std::string line;
  for (const char c : message.substr(0, message.find("\n  remedy"))) {
    if (c == '\n') {
      line += ';';
    } else if (c != ' ' || !line.ends_with(' ')) {
      if (line.ends_with(';') && c != ' ') line += ' ';
      line += c;
    }
  }
  return line;
}

}  // namespace tessera::recovery
