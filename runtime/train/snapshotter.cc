#include "runtime/train/snapshotter.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/require.h"
#include "recovery/store/snapshot_files.h"
#include "runtime/comm/collectives.h"
#include "runtime/train/agree.h"

namespace tessera::runtime {
namespace {

using recovery::Component;

constexpr int kTag = 0;  // messages of a pair arrive in the order of the snapshots they belong to
constexpr std::array<const char*, 3> kTierNames = {"memory", "disk", "cloud"};

/// The runs of a block that meet [begin, end) of its atoms.
template <class Visit>
void visit_runs(const std::vector<AtomRun>& runs, int block, std::int64_t begin, std::int64_t end,
                const Visit& visit) {
  auto run = std::ranges::partition_point(runs, [&](const AtomRun& r) {
    return r.block < block || (r.block == block && r.in_atom + r.count <= begin);
  });
  for (; run != runs.end() && run->block == block && run->in_atom < end; ++run) {
    const std::int64_t first = std::max(begin, run->in_atom);
    const std::int64_t last = std::min(end, run->in_atom + run->count);
    visit(first, run->offset + (first - run->in_atom), last - first);
  }
}

/// Bytes of one snapshot that a node may keep in memory: two lie there side by side for a moment.
std::int64_t snapshot_budget(const planner::TrainSpec& spec) {
  constexpr std::int64_t kMega = 1000000;
  return spec.recovery_memory.empty() ? SnapshotNode().budget : spec.recovery_memory_mb * kMega / 2;
}

PlacementQuestion placement_question(const TrainInputs& inputs, const std::vector<std::string>& nodes) {
  PlacementQuestion question;
  question.table = atom_table(inputs.model);
  std::map<std::string, int> numbers;
  std::vector<int> node_of_rank;
  for (const std::string& node : nodes) {
    const auto [at, added] = numbers.emplace(node, static_cast<int>(numbers.size()));
    if (added) question.nodes.push_back({node, at->second, snapshot_budget(inputs.spec)});
    node_of_rank.push_back(at->second);
  }
  question.ranks = rank_holdings(inputs.model, inputs.plan, node_of_rank);
  question.copies = static_cast<int>(inputs.spec.recovery_copies);
  question.spare_copies = static_cast<int>(inputs.spec.recovery_spare_copies);
  return question;
}

/// One rank's part of a snapshot, as it tells the others.
struct Verdict {
  std::array<Status, 3> tiers;
  double stall_s = 0;
  double exchange_s = 0;
  double write_s = 0;
  std::int64_t kept_bytes = 0;
  std::int64_t sent_bytes = 0;
  std::vector<std::pair<int, std::uint64_t>> checksums;
};

std::string encode(const Verdict& verdict) {
  nlohmann::json tiers = nlohmann::json::array();
  for (const Status& status : verdict.tiers) {
    tiers.push_back({static_cast<int>(status.code()), status.message()});
  }
  return nlohmann::json{{"tiers", tiers},
                        {"stall_s", verdict.stall_s},
                        {"exchange_s", verdict.exchange_s},
                        {"write_s", verdict.write_s},
                        {"kept", verdict.kept_bytes},
                        {"sent", verdict.sent_bytes},
                        {"checksums", verdict.checksums}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Verdict decode(std::string_view text) {
  const auto json = nlohmann::json::parse(text);
  Verdict verdict;
  for (std::size_t t = 0; t < verdict.tiers.size(); ++t) {
    const auto code = static_cast<Code>(json["tiers"][t][0].get<int>());
    if (code != Code::kOk) verdict.tiers[t] = {code, json["tiers"][t][1].get<std::string>()};
  }
  verdict.stall_s = json["stall_s"];
  verdict.exchange_s = json["exchange_s"];
  verdict.write_s = json["write_s"];
  verdict.kept_bytes = json["kept"];
  verdict.sent_bytes = json["sent"];
  verdict.checksums = json["checksums"].get<std::vector<std::pair<int, std::uint64_t>>>();
  return verdict;
}

}  // namespace

Snapshotter::Snapshotter(Communicator& world, const TrainInputs& inputs, RecoveryStores& stores,
                         Trainer::State state, const std::vector<std::string>& nodes, const Clock& clock)
    : world_(world),
      channel_(world.split(0, world.rank().value)),
      stores_(stores),
      state_(state),
      clock_(clock),
      keep_(inputs.spec.recovery_keep) {
  const PlacementQuestion question = placement_question(inputs, nodes);
  table_ = question.table;
  const SnapshotPlacement placement = place_snapshot(question);
  description_ = to_text(placement, question);
  const auto mine = static_cast<std::size_t>(world.rank().value);
  first_on_node_ = std::ranges::find(nodes, nodes[mine]) - nodes.begin() == world.rank().value;
  plan_copies(inputs, placement);
  worker_ = std::thread([this] { work(); });
}

std::int64_t Snapshotter::memory(const TrainInputs& inputs, const std::vector<std::string>& nodes,
                                 Rank rank) {
  if (!keeps_snapshots(inputs.spec)) return 0;
  std::int64_t bytes = 0;
  for (const Piece& piece : place_snapshot(placement_question(inputs, nodes)).pieces) {
    if (piece.to == rank.value) bytes += piece.bytes();  // kept
    if (piece.from != piece.to && (piece.to == rank.value || piece.from == rank.value))
      bytes += piece.bytes();
  }
  return 2 * bytes;
}

Snapshotter::~Snapshotter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    jobs_.clear();
  }
  changed_.notify_all();
  worker_.join();
}

void Snapshotter::plan_copies(const TrainInputs& inputs, const SnapshotPlacement& placement) {
  const int me = world_.rank().value;
  const RankState own =
      rank_state(inputs.model, inputs.plan, planner::rank_places(inputs.plan)[static_cast<std::size_t>(me)]);
  std::vector<std::int64_t> begins(static_cast<std::size_t>(table_.count()), -1);
  std::int64_t kept_floats = 0;
  for (int atom = 0; atom < table_.count(); ++atom) {
    const auto a = static_cast<std::size_t>(atom);
    const std::vector<int>& holders = placement.holders[a];
    if (std::ranges::find(holders, me) == holders.end()) continue;
    begins[a] = kept_floats;
    kept_.push_back({atom, kept_floats, placement.cloud[a] == me});
    kept_floats += table_.bytes(atom) / 4;
  }

  const auto add_copies = [&](const Piece& piece, bool outgoing, std::int64_t to) {
    const Component component = table_.at(piece.atom).component;
    const bool weight = component == Component::kWeight;
    std::int64_t copied = 0;
    visit_runs(weight ? own.weights : own.saved_moments, piece.atom / recovery::kComponents, piece.begin,
               piece.end, [&](std::int64_t in_atom, std::int64_t from, std::int64_t count) {
                 const std::int64_t at = to + (in_atom - piece.begin);
                 copied += count;
                 copies_.push_back({static_cast<Source>(component), outgoing, from, at, count});
               });
    TS_REQUIRE(copied == piece.end - piece.begin, piece.atom, piece.begin, piece.end, copied);
  };
  /// Pieces of one peer follow each other in one message.
  const auto add_to_message = [](std::vector<Message>& messages, int peer, std::int64_t at,
                                 std::int64_t count) {
    if (messages.empty() || messages.back().peer != Rank(peer)) messages.push_back({Rank(peer), at, 0});
    messages.back().count += count;
  };

  std::vector<const Piece*> arriving;
  std::int64_t outgoing = 0;
  for (const Piece& piece : placement.pieces) {  // by `to`, then atom, then begin
    const std::int64_t count = piece.end - piece.begin;
    if (piece.from == me && piece.to == me) {
      add_copies(piece, false, begins[static_cast<std::size_t>(piece.atom)] + piece.begin);
    } else if (piece.from == me) {
      add_copies(piece, true, outgoing);
      add_to_message(sends_, piece.to, outgoing, count);
      outgoing += count;
    } else if (piece.to == me) {
      arriving.push_back(&piece);
    }
  }
  std::ranges::stable_sort(arriving, {}, [](const Piece* piece) { return piece->from; });
  std::int64_t incoming = 0;
  for (const Piece* piece : arriving) {
    const std::int64_t count = piece->end - piece->begin;
    add_to_message(receives_, piece->from, incoming, count);
    arrivals_.push_back({incoming, begins[static_cast<std::size_t>(piece->atom)] + piece->begin, count});
    incoming += count;
  }
  sent_bytes_ = outgoing * 4;
  for (Slot& slot : slots_) {
    slot.kept = kernels::Buffer<float>(kept_floats);
    slot.outgoing = kernels::Buffer<float>(outgoing);
    slot.incoming = kernels::Buffer<float>(incoming);
  }
}

void Snapshotter::start(const recovery::StateMeta& meta) { begin(meta, true); }

void Snapshotter::begin(const recovery::StateMeta& meta, bool write) {
  TS_REQUIRE(can_start(), under_way_.size());
  const std::size_t index = !under_way_.empty() && under_way_.back() == 0 ? 1 : 0;
  Slot& slot = slots_[index];
  slot.begin = clock_.now();
  const std::array<const float*, 3> sources = {state_.parameters, state_.first_moment, state_.second_moment};
  for (const Copy& copy : copies_) {
    float* to = (copy.outgoing ? slot.outgoing.data() : slot.kept.data()) + copy.to;
    std::memcpy(to, sources[static_cast<std::size_t>(copy.source)] + copy.from,
                static_cast<std::size_t>(copy.count) * sizeof(float));
  }
  slot.meta = meta;
  slot.write = write;
  slot.handed_over = false;
  slot.written = false;
  slot.tiers = {};
  for (const Message& message : receives_) {
    slot.requests.push_back(
        channel_->irecv(as_writable_bytes(slot.incoming.data() + message.begin, message.count), message.peer,
                        kTag, Traffic::kRecovery));
  }
  for (const Message& message : sends_) {
    slot.requests.push_back(channel_->isend(as_bytes(slot.outgoing.data() + message.begin, message.count),
                                            message.peer, kTag, Traffic::kRecovery));
  }
  under_way_.push_back(index);
  slot.stall_s = seconds(clock_.now() - slot.begin);
  poll();
}

void Snapshotter::poll() {
  for (const std::size_t index : under_way_) {
    Slot& slot = slots_[index];
    if (slot.handed_over) continue;
    std::erase_if(slot.requests, [](Request& request) { return request.done(); });
    if (!slot.requests.empty()) continue;
    slot.exchange_s = seconds(clock_.now() - slot.begin) - slot.stall_s;
    slot.handed_over = true;
    enqueue([this, &slot] { write(slot); });
  }
}

bool Snapshotter::settled() {
  if (under_way_.empty()) return false;
  poll();
  const std::lock_guard lock(mutex_);
  return oldest().written;
}

SnapshotResult Snapshotter::settle() {
  TS_REQUIRE(!under_way_.empty());
  Slot& slot = oldest();
  channel_->wait_all(slot.requests);
  poll();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return slot.written; });
  }
  Verdict mine;
  mine.tiers = slot.tiers;
  mine.stall_s = slot.stall_s;
  mine.exchange_s = slot.exchange_s;
  mine.write_s = slot.write_s;
  mine.sent_bytes = sent_bytes_;
  for (std::size_t k = 0; k < kept_.size(); ++k) {
    mine.checksums.emplace_back(kept_[k].atom, slot.checksums[k]);
    mine.kept_bytes += table_.bytes(kept_[k].atom);
  }
  const std::string text = encode(mine);

  SnapshotResult result;
  result.step = slot.meta.step;
  std::vector<std::optional<std::uint64_t>> sums(static_cast<std::size_t>(table_.count()));
  std::array<Status, kTiers> tiers;
  int rank = 0;
  for (const auto& bytes : all_gather_bytes(world_, as_bytes(text.data(), std::ssize(text)))) {
    const Verdict verdict = decode({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    for (std::size_t t = 0; t < kTiers; ++t) {
      if (!tiers[t].ok() || verdict.tiers[t].ok()) continue;
      tiers[t] = {verdict.tiers[t].code(),
                  fmt::format("{}: rank {}: {}", kTierNames[t], rank, verdict.tiers[t].message())};
    }
    result.stall_s = std::max(result.stall_s, verdict.stall_s);
    result.exchange_s = std::max(result.exchange_s, verdict.exchange_s);
    result.write_s = std::max(result.write_s, verdict.write_s);
    result.kept_bytes += verdict.kept_bytes;
    result.sent_bytes += verdict.sent_bytes;
    for (const auto& [atom, sum] : verdict.checksums) {
      auto& known = sums[static_cast<std::size_t>(atom)];
      if (known && *known != sum) {
        result.status = {Code::kDataLoss, fmt::format("{}: rank {} has other bytes than another replica",
                                                      to_string(table_.at(atom)), rank)};
      }
      known = sum;
    }
    ++rank;
  }
  std::vector<std::uint64_t> checksums;
  for (const auto& sum : sums) checksums.push_back(sum.value_or(recovery::checksum({})));
  result.state_hash = recovery::state_hash(slot.meta, checksums);

  const std::array<bool, kTiers> there = {stores_.memory != nullptr, stores_.disk != nullptr,
                                          stores_.cloud != nullptr};
  for (std::size_t t = 0; t < kTiers; ++t) {
    if (!there[t]) continue;
    if (tiers[t].ok()) result.tiers.emplace_back(kTierNames[t]);
    if (!tiers[t].ok()) result.failures.push_back(tiers[t]);
  }
  if (result.status.ok() && result.tiers.empty()) result.status = result.failures.front();
  under_way_.pop_front();
  if (slot.write && result.status.ok()) remove_older(result.step, result);
  return result;
}

SnapshotResult Snapshotter::examine(const recovery::StateMeta& meta) {
  TS_REQUIRE(under_way_.empty());
  begin(meta, false);
  return settle();
}

void Snapshotter::remove_older(std::int64_t step, const SnapshotResult& result) {
  const auto whole_in = [&](const char* tier) {
    return std::ranges::find(result.tiers, tier) != result.tiers.end();
  };
  // What cannot be removed costs space; the next snapshot tries again.
  if (whole_in("memory") && first_on_node_) {
    enqueue([this, step] { static_cast<void>(recovery::remove_before(*stores_.memory, stores_.job, step)); });
  }
  if (whole_in("disk")) {
    disk_steps_.push_back(step);
    if (std::ssize(disk_steps_) > keep_) disk_steps_.erase(disk_steps_.begin());
    if (first_on_node_ && std::ssize(disk_steps_) == keep_) {
      enqueue([this, oldest = disk_steps_.front()] {
        static_cast<void>(recovery::remove_before(*stores_.disk, stores_.job, oldest));
      });
    }
  }
  if (whole_in("cloud") && world_.rank() == Rank(0)) {
    enqueue([this] {
      static_cast<void>(recovery::keep_newest(*stores_.cloud, stores_.job, static_cast<int>(keep_)));
    });
  }
}

void Snapshotter::enqueue(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void Snapshotter::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (ending_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

void Snapshotter::write(Slot& slot) {
  const Nanoseconds begin = clock_.now();
  for (const Arrival& arrival : arrivals_) {
    std::copy_n(slot.incoming.data() + arrival.from, arrival.count, slot.kept.data() + arrival.to);
  }
  std::vector<recovery::AtomBytes> all;
  std::vector<recovery::AtomBytes> uploaded;
  std::vector<std::uint64_t> checksums;
  for (const Kept& kept : kept_) {
    const recovery::Bytes bytes = as_bytes(slot.kept.data() + kept.begin, table_.bytes(kept.atom) / 4);
    checksums.push_back(recovery::checksum(bytes));
    all.push_back({table_.at(kept.atom), bytes, checksums.back()});
    if (kept.cloud) uploaded.push_back(all.back());
  }
  std::array<Status, kTiers> tiers;
  if (slot.write) {
    const recovery::SnapshotManifest manifest{
        stores_.job,  fmt::format("{}.rank-{:04}", stores_.node, world_.rank().value),
        stores_.node, slot.meta,
        table_,       {}};
    const auto put = [&](recovery::Store* store, const std::vector<recovery::AtomBytes>& atoms) -> Status {
      if (store == nullptr || atoms.empty()) return {};
      try {
        const auto written = recovery::write_snapshot(*store, manifest, atoms);
        return written.ok() ? Status() : written.status();
      } catch (const std::exception& error) {  // of a library: it must not end training
        return {Code::kInternal, error.what()};
      }
    };
    tiers = {put(stores_.memory.get(), all), put(stores_.disk.get(), all),
             put(stores_.cloud.get(), uploaded)};
  }
  {
    const std::lock_guard lock(mutex_);
    slot.tiers = tiers;
    slot.checksums = std::move(checksums);
    slot.write_s = seconds(clock_.now() - begin);
    slot.written = true;
  }
  changed_.notify_all();
}

}  // namespace tessera::runtime
