/// A job on a few nodes, each with stores of its own, whose ranks are threads; its saved states and its
/// restore.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "recovery/restore/restore.h"
#include "recovery/state/snapshot_manifest.h"
#include "recovery/store/snapshot_files.h"
#include "runtime/comm/local_comm.h"
#include "runtime/comm/peer_channel.h"
#include "tests/recovery/restore/test_stores.h"
#include "tests/support/model_spec.h"

namespace tessera::recovery {

inline constexpr const char* kJob = "job-1";

struct TestNode {
  explicit TestNode(const std::string& name)
      : name(name), memory("memory of " + name), disk("disk of " + name) {}
  std::string name;
  RamStore memory;
  RamStore disk;
  int ranks = 1;
  AtomSet needed;  // by each of its ranks, unless rank_needs says otherwise
  // What restores use: the stores above, or decorators of them.
  Store* memory_used = &memory;
  Store* disk_used = &disk;
};

class RestoreJob {
 public:
  /// `scale` times 30 to 60 floats to each (layer, slice); four layers of two slices, one of them empty.
  explicit RestoreJob(int nodes, std::int64_t scale = 1) {
    table.layers = 4;
    table.slices = 2;
    for (std::int64_t i = 0; i < 8; ++i) table.floats.push_back(i == 7 ? 0 : scale * (30 + i * 37 % 31));
    for (int n = 0; n < nodes; ++n) {
      this->nodes.push_back(std::make_unique<TestNode>(std::string("node-") + static_cast<char>('a' + n)));
      this->nodes.back()->needed = all();
    }
  }

  [[nodiscard]] AtomSet all() const { return atoms(0, table.count()); }
  [[nodiscard]] AtomSet atoms(int begin, int end) const {
    AtomSet set(table.count());
    for (int atom = begin; atom < end; ++atom) set.add(atom);
    return set;
  }

  /// The atom's bytes at this step of this attempt.
  [[nodiscard]] std::vector<std::byte> bytes_of(const SnapshotId& id, int atom) const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(table.bytes(atom)));
    const std::uint64_t key =
        derive_key(derive_key(static_cast<std::uint64_t>(id.step), static_cast<std::uint64_t>(id.attempt)),
                   static_cast<std::uint64_t>(atom));
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      const std::uint64_t word = mix64(key ^ mix64(i));
      std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, bytes.size() - i));
    }
    return bytes;
  }

  [[nodiscard]] StateMeta meta(const SnapshotId& id) const {
    StateMeta meta;
    meta.step = id.step;
    meta.attempt = id.attempt;
    meta.next_sample = id.step * 8;
    meta.seed = 5;
    meta.identity = {{"data", "x"}};
    meta.model = support::small_model();
    return meta;
  }

  void save(Store& store, const std::string& writer, const SnapshotId& id, const AtomSet& atoms) {
    std::vector<std::vector<std::byte>> held;
    std::vector<AtomBytes> list;
    for (int atom = 0; atom < table.count(); ++atom) {
      if (atoms.has(atom)) held.push_back(bytes_of(id, atom));
    }
    std::size_t next = 0;
    for (int atom = 0; atom < table.count(); ++atom) {
      if (!atoms.has(atom)) continue;
      list.push_back({table.at(atom), held[next], checksum(held[next])});
      ++next;
    }
    const Result<SnapshotManifest> written =
        write_snapshot(store, {kJob, writer, "node-x", meta(id), table, {}}, list);
    ASSERT_TRUE(written.ok()) << written.status().message();
  }

  using Change = std::function<void(RestoreRequest&, int rank)>;

  [[nodiscard]] std::vector<int> node_of_ranks() const {
    std::vector<int> node_of;
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      for (int r = 0; r < nodes[n]->ranks; ++r) node_of.push_back(static_cast<int>(n));
    }
    return node_of;
  }

  struct OfRank {
    RestoreOutcome outcome;
    std::string fault;  // what this rank did not get right; ""
  };

  /// This rank's part of a restore, and whether it got exactly what it needs, bit for bit.
  OfRank restore_one(runtime::Communicator& comm, const Change& change = nullptr) {
    const int rank = comm.rank().value;
    const int at = node_of_ranks()[static_cast<std::size_t>(rank)];
    const TestNode& node = *nodes[static_cast<std::size_t>(at)];
    RestoreRequest request;
    request.job = kJob;
    request.node = node.name;
    request.memory = node.memory_used;
    request.disk = node.disk_used;
    request.cloud = cloud_used;
    request.table = table;
    request.needed = rank_needs.contains(rank) ? rank_needs.at(rank) : node.needed;
    std::map<int, std::vector<std::byte>> got;
    request.deliver = [&](int atom, Bytes bytes) { got[atom] = {bytes.begin(), bytes.end()}; };
    if (change) change(request, rank);
    runtime::PeerChannel peers(comm);
    OfRank result{restore(peers, request), ""};
    if (!result.outcome.status.ok()) return result;
    const RestoreReport& report = result.outcome.report;
    for (int atom = 0; atom < table.count(); ++atom) {
      const bool needs = request.needed.has(atom) && table.bytes(atom) > 0;
      const std::vector<std::byte> right = bytes_of(report.meta.id(), atom);
      if (needs != got.contains(atom)) result.fault = "has not exactly what it needs";
      if (needs && got[atom] != right) result.fault = "has other bytes";
      if (report.checksums[static_cast<std::size_t>(atom)] != checksum(right)) {
        result.fault = "reports another checksum";
      }
    }
    return result;
  }

  struct Outcome {
    RestoreOutcome of_rank_0;
    std::vector<std::string> faults;  // what ranks did not get right
  };

  /// Restores on all ranks as threads; outcomes must be the same.
  Outcome restore_all(const Change& change = nullptr,
                      std::chrono::milliseconds deadline = std::chrono::seconds(60)) {
    std::vector<OfRank> ranks(node_of_ranks().size());
    runtime::run_local_ranks(static_cast<int>(ranks.size()), [&](runtime::Communicator& comm) {
      comm.set_deadline(deadline);
      ranks[static_cast<std::size_t>(comm.rank().value)] = restore_one(comm, change);
    });
    Outcome result;
    const RestoreOutcome& first = ranks.front().outcome;
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      const RestoreOutcome& outcome = ranks[rank].outcome;
      const bool same =
          outcome.status.code() == first.status.code() &&
          outcome.status.message() == first.status.message() && outcome.report.lines == first.report.lines &&
          outcome.report.bytes == first.report.bytes && outcome.report.rounds == first.report.rounds &&
          outcome.report.meta.id() == first.report.meta.id();
      if (!same) result.faults.push_back("rank " + std::to_string(rank) + " reports differently");
      if (!ranks[rank].fault.empty()) {
        result.faults.push_back("rank " + std::to_string(rank) + ' ' + ranks[rank].fault);
      }
    }
    result.of_rank_0 = first;
    return result;
  }

  AtomTable table;
  std::vector<std::unique_ptr<TestNode>> nodes;
  std::map<int, AtomSet> rank_needs;
  RamStore cloud{"cloud"};
  Store* cloud_used = &cloud;
};

}  // namespace tessera::recovery
