#include "recovery/restore/restore.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "recovery/restore/byte_codec.h"
#include "recovery/restore/inventory.h"
#include "recovery/restore/landing.h"
#include "recovery/restore/restore_round.h"

namespace tessera::recovery {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Who takes part, as every rank sees it.
struct Job {
  std::vector<std::string> nodes;  // in order of their first ranks
  std::vector<std::vector<int>> ranks_of;
  std::vector<int> node_of;  // by rank
  std::vector<NodeRates> rates;
  double cloud_total = 0;
  std::vector<AtomSet> needed;  // by rank
};

void write_rate(ByteWriter& out, double rate) { out.number(std::bit_cast<std::uint64_t>(rate)); }
double read_rate(ByteReader& in) { return std::bit_cast<double>(in.number<std::uint64_t>()); }

Job meet(PeerExchange& peers, const RestoreRequest& request) {
  const int atoms = request.table.count();
  TS_REQUIRE(request.needed.size() == atoms, request.needed.size(), atoms);
  ByteWriter out;
  out.text(request.node);
  for (const double rate : {request.rates.memory, request.rates.disk, request.rates.nic_in,
                            request.rates.nic_out, request.rates.cloud, request.cloud_total}) {
    write_rate(out, rate);
  }
  for (int atom = 0; atom < atoms; ++atom) out.number(std::uint8_t{request.needed.has(atom)});
  Job job;
  const std::vector<std::byte> mine = std::move(out).take();
  const auto all = peers.all_gather(mine);
  for (int rank = 0; rank < peers.size(); ++rank) {
    ByteReader in(all[at(rank)]);
    const std::string name = in.text();
    NodeRates rates;
    for (double* const rate : {&rates.memory, &rates.disk, &rates.nic_in, &rates.nic_out, &rates.cloud}) {
      *rate = read_rate(in);
    }
    const double cloud_total = read_rate(in);
    const auto known = std::find(job.nodes.begin(), job.nodes.end(), name);
    const int node = static_cast<int>(known - job.nodes.begin());
    if (known == job.nodes.end()) {
      job.nodes.push_back(name);
      job.ranks_of.emplace_back();
      job.rates.push_back(rates);
    }
    if (rank == 0) job.cloud_total = cloud_total;
    job.ranks_of[at(node)].push_back(rank);
    job.node_of.push_back(node);
    AtomSet needed(atoms);
    for (int atom = 0; atom < atoms; ++atom) {
      // An empty atom needs no copy: it is there.
      if (in.number<std::uint8_t>() != 0 && request.table.bytes(atom) > 0) needed.add(atom);
    }
    job.needed.push_back(std::move(needed));
  }
  return job;
}

StoreListing list_store(const Holder& holder, Store& store, const std::string& job) {
  StoreListing listing{holder, {}, {}};
  Result<StoreContents> contents = read_contents(store, job);
  if (contents.ok()) {
    listing.contents = std::move(contents).value();
  } else {
    listing.status = contents.status();
  }
  return listing;
}

/// What all stores say; the same on every rank. The cloud is asked by one rank, and by the next if it cannot.
std::vector<StoreListing> list_all(PeerExchange& peers, const RestoreRequest& request, const Job& job) {
  constexpr int kAsked = 3;
  const int node = job.node_of[at(peers.rank())];
  std::vector<StoreListing> listings;
  for (int asked = 0; asked < std::min(kAsked, peers.size()); ++asked) {
    std::vector<StoreListing> mine;
    if (asked == 0 && !request.cloud_only && job.ranks_of[at(node)].front() == peers.rank()) {
      for (const auto& [tier, store] :
           {std::pair(Tier::kMemory, request.memory), std::pair(Tier::kDisk, request.disk)}) {
        if (store != nullptr) mine.push_back(list_store({node, tier}, *store, request.job));
      }
    }
    if (asked == peers.rank() && request.cloud != nullptr) {
      mine.push_back(list_store(Holder{}, *request.cloud, request.job));
    }
    bool cloud_failed = false;
    for (const auto& bytes : peers.all_gather(encode(mine))) {
      for (StoreListing& listing : decode(bytes)) {
        cloud_failed = cloud_failed || (listing.holder == Holder{} && !listing.status.ok());
        listings.push_back(std::move(listing));
      }
    }
    if (!cloud_failed) break;
  }
  return listings;
}

// ---- what ranks tell each other after a round

std::vector<std::byte> encode_result(const RoundResult& result) {
  ByteWriter out;
  out.number(static_cast<std::uint64_t>(result.landings.size()));
  for (const auto& [atom, landed] : result.landings) {
    out.number(static_cast<std::int32_t>(atom));
    out.number(static_cast<std::uint8_t>(landed.tier));
    out.text(landed.place.object);
  }
  out.number(static_cast<std::uint64_t>(result.failures.size()));
  for (const RoundFailure& failure : result.failures) {
    out.number(static_cast<std::int32_t>(failure.holder.node));
    out.number(static_cast<std::uint8_t>(failure.holder.tier));
    out.number(static_cast<std::int32_t>(failure.atom));
    out.number(static_cast<std::int32_t>(failure.node));
    out.number(static_cast<std::uint8_t>(failure.lasting));
    out.text(failure.message);
  }
  out.number(static_cast<std::uint64_t>(result.delivered.size()));
  for (const int atom : result.delivered) out.number(static_cast<std::int32_t>(atom));
  out.number(static_cast<std::int32_t>(result.left));
  out.number(static_cast<std::uint64_t>(result.notes.size()));
  for (const std::string& note : result.notes) out.text(note);
  for (const std::int64_t bytes :
       {result.fetched.peer_memory, result.fetched.peer_disk, result.fetched.cloud}) {
    out.number(bytes);
  }
  return std::move(out).take();
}

RoundResult decode_result(std::span<const std::byte> bytes, const Snapshot& snapshot) {
  ByteReader in(bytes);
  RoundResult result;
  for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
    RoundLanding landing;
    landing.atom = in.number<std::int32_t>();
    landing.landed.tier = static_cast<Tier>(in.number<std::uint8_t>());
    landing.landed.place = {snapshot.table.at(landing.atom), in.text(), 0, snapshot.table.bytes(landing.atom),
                            snapshot.checksums[at(landing.atom)]};
    result.landings.push_back(std::move(landing));
  }
  for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
    RoundFailure failure;
    failure.holder.node = in.number<std::int32_t>();
    failure.holder.tier = static_cast<Tier>(in.number<std::uint8_t>());
    failure.atom = in.number<std::int32_t>();
    failure.node = in.number<std::int32_t>();
    failure.lasting = in.number<std::uint8_t>() != 0;
    failure.message = in.text();
    result.failures.push_back(std::move(failure));
  }
  for (auto left = in.number<std::uint64_t>(); left > 0; --left) {
    result.delivered.push_back(in.number<std::int32_t>());
  }
  result.left = in.number<std::int32_t>();
  for (auto left = in.number<std::uint64_t>(); left > 0; --left) result.notes.push_back(in.text());
  for (std::int64_t* const sum :
       {&result.fetched.peer_memory, &result.fetched.peer_disk, &result.fetched.cloud}) {
    *sum = in.number<std::int64_t>();
  }
  return result;
}

/// Which ranks of the nodes move what: received by a rank that needs it, sent by who has sent least.
std::vector<RankFetch> give_to_ranks(const RestorePlan& plan, const Job& job,
                                     const std::vector<AtomSet>& undelivered, const AtomTable& table) {
  std::vector<std::int64_t> received(job.node_of.size(), 0);
  std::vector<std::int64_t> sent(job.node_of.size(), 0);
  std::map<std::pair<int, int>, int> receiver;  // of (atom, node)
  const auto least = [](const std::vector<int>& ranks, const std::vector<std::int64_t>& load, auto may) {
    int best = -1;
    for (const int rank : ranks) {
      if (may(rank) && (best < 0 || load[at(rank)] < load[at(best)])) best = rank;
    }
    return best;
  };
  std::vector<RankFetch> fetches;
  for (const Fetch& fetch : plan.fetches) {
    const std::int64_t bytes = table.bytes(fetch.atom);
    RankFetch of_ranks{fetch, -1, -1};
    of_ranks.to_rank = least(job.ranks_of[at(fetch.to)], received,
                             [&](int rank) { return undelivered[at(rank)].has(fetch.atom); });
    received[at(of_ranks.to_rank)] += bytes;
    receiver[{fetch.atom, fetch.to}] = of_ranks.to_rank;
    if (fetch.from != kCloudNode) {
      of_ranks.from_rank = fetch.passed_on
                               ? receiver.at({fetch.atom, fetch.from})
                               : least(job.ranks_of[at(fetch.from)], sent, [](int) { return true; });
      sent[at(of_ranks.from_rank)] += bytes;
    }
    fetches.push_back(of_ranks);
  }
  return fetches;
}

/// One snapshot from the first round to the last.
class Attempt {
 public:
  Attempt(PeerExchange& peers, const RestoreRequest& request, const Job& job, Snapshot snapshot,
          RestoreReport& report)
      : peers_(peers),
        request_(request),
        job_(job),
        snapshot_(std::move(snapshot)),
        report_(report),
        node_(job.node_of[at(peers.rank())]),
        landing_(request.memory, request.disk,
                 {request.job, "", request.node, snapshot_.meta, snapshot_.table, {}}, peers.rank()),
        undelivered_(job.needed) {
    report_.meta = snapshot_.meta;
    report_.checksums = snapshot_.checksums;
    report_.bytes = {};
  }

  /// kDataLoss when something is nowhere right.
  Status run() {
    for (bool first = true; wanted(); first = false) {
      const RestoreProblem problem = problem_now();
      const Result<RestorePlan> plan = make_restore_plan(problem);
      if (!plan.ok()) {
        tell_failures(nullptr);
        landing_.discard();
        return {Code::kDataLoss, what_is_lost(problem)};
      }
      tell_failures(&plan.value());
      if (first) {
        report_.plan = plan.value();
        report_.plan_text = to_text(plan.value(), problem);
      }
      if (!round(plan.value(), problem)) {
        tell_failures(nullptr);
        landing_.discard();
        return {Code::kDataLoss, "a round that brought nothing and ruled nothing out"};
      }
    }
    tell_failures(nullptr);
    publish();
    return {};
  }

 private:
  [[nodiscard]] bool wanted() const {
    return std::any_of(undelivered_.begin(), undelivered_.end(),
                       [](const AtomSet& s) { return s.count() > 0; });
  }

  [[nodiscard]] RestoreProblem problem_now() const {
    RestoreProblem problem;
    const int atoms = snapshot_.table.count();
    for (int atom = 0; atom < atoms; ++atom) problem.atom_bytes.push_back(snapshot_.table.bytes(atom));
    problem.held = snapshot_.held(static_cast<int>(job_.nodes.size()));
    problem.cloud = snapshot_.cloud();
    problem.needed.assign(job_.nodes.size(), AtomSet(atoms));
    for (std::size_t rank = 0; rank < undelivered_.size(); ++rank) {
      problem.needed[at(job_.node_of[rank])] |= undelivered_[rank];
    }
    problem.rates = job_.rates;
    problem.cloud_total = job_.cloud_total;
    problem.forward = !request_.cloud_only;
    return problem;
  }

  [[nodiscard]] std::string what_is_lost(const RestoreProblem& problem) const {
    std::vector<std::string> names;
    for (int atom = 0; atom < snapshot_.table.count(); ++atom) {
      bool needed = false;
      bool held = problem.cloud.has(atom);
      for (std::size_t n = 0; n < problem.needed.size(); ++n) {
        needed = needed || problem.needed[n].has(atom);
        held = held || problem.held[n].memory.has(atom) || problem.held[n].disk.has(atom);
      }
      if (needed && !held) names.push_back(to_string(snapshot_.table.at(atom)));
    }
    return fmt::format("no right copy is left of {} atoms, the first of them {}", names.size(),
                       names.front());
  }

  /// Whether it brought something or ruled something out.
  bool round(const RestorePlan& plan, const RestoreProblem& problem) {
    std::vector<Load> mine;
    for (const Load& load : plan.loads) {
      if (load.node == node_ && undelivered_[at(peers_.rank())].has(load.atom)) mine.push_back(load);
    }
    const RoundResult result =
        run_round(peers_, request_, snapshot_, landing_, node_, undelivered_[at(peers_.rank())], mine,
                  give_to_ranks(plan, job_, undelivered_, snapshot_.table));
    ++report_.rounds;
    std::vector<RoundResult> results;
    for (const auto& bytes : peers_.all_gather(encode_result(result))) {
      results.push_back(decode_result(bytes, snapshot_));
    }
    bool moved = count_loads(plan, problem, results);
    for (int rank = 0; rank < peers_.size(); ++rank) {
      const RoundResult& theirs = results[at(rank)];
      const int node = job_.node_of[at(rank)];
      for (const RoundLanding& landing : theirs.landings) add_copy({node, landing.landed.tier}, landing);
      for (const int atom : theirs.delivered) undelivered_[at(rank)].remove(atom);
      // What was left is not ruled out: whoever had something to begin began it.
      moved = moved || !theirs.landings.empty() || !theirs.delivered.empty() || theirs.left > 0;
      report_.bytes += theirs.fetched;
      notes_.insert(notes_.end(), theirs.notes.begin(), theirs.notes.end());
    }
    for (const RoundResult& theirs : results) {
      for (const RoundFailure& failure : theirs.failures) moved = strike(failure) || moved;
    }
    return moved;
  }

  /// Adds to the report what nodes read for themselves, each atom once for each node. What came over the
  /// network in a round before is not counted again.
  bool count_loads(const RestorePlan& plan, const RestoreProblem& problem,
                   const std::vector<RoundResult>& results) {
    std::set<std::pair<int, int>> delivered;  // (node, atom)
    for (std::size_t rank = 0; rank < results.size(); ++rank) {
      for (const int atom : results[rank].delivered) delivered.emplace(job_.node_of[rank], atom);
    }
    for (const Load& load : plan.loads) {
      if (!delivered.contains({load.node, load.atom}) || !counted_.emplace(load.node, load.atom).second)
        continue;
      (load.tier == Tier::kDisk ? report_.bytes.own_disk : report_.bytes.own_memory) +=
          problem.atom_bytes[at(load.atom)];
    }
    for (const Fetch& fetch : plan.fetches) counted_.emplace(fetch.to, fetch.atom);
    return !delivered.empty();
  }

  void add_copy(const Holder& holder, const RoundLanding& landing) {
    auto& stores = snapshot_.stores;
    auto entry = std::find_if(stores.begin(), stores.end(), [&](const auto& e) { return e.first == holder; });
    if (entry == stores.end()) {
      const int atoms = snapshot_.table.count();
      stores.emplace_back(holder, StoredSnapshot{snapshot_.meta, snapshot_.table, AtomSet(atoms),
                                                 std::vector<std::vector<StoredAtom>>(at(atoms))});
      entry = std::prev(stores.end());
    }
    entry->second.held.add(landing.atom);
    entry->second.places[at(landing.atom)] = {landing.landed.place};
  }

  /// Rules out a copy that is wrong or gone at once, one that could not be read the second time. Whether
  /// anything is different afterwards.
  bool strike(const RoundFailure& failure) {
    constexpr int kTries = 2;
    failures_.push_back(failure);
    const int tries = ++strikes_[{failure.holder, failure.atom}];
    if (!failure.lasting && tries < kTries) return true;
    for (auto& [holder, store] : snapshot_.stores) {
      if (holder != failure.holder || !store.held.has(failure.atom)) continue;
      store.held.remove(failure.atom);
      store.places[at(failure.atom)].clear();
      return true;
    }
    return false;
  }

  /// A line for each failure and what is done about it; of many from one store, the first few.
  void tell_failures(const RestorePlan* plan) {
    constexpr int kLines = 20;
    std::map<Holder, int> told;
    std::set<std::tuple<Holder, int, int>> seen;
    for (const RoundFailure& failure : failures_) {
      if (!seen.emplace(failure.holder, failure.atom, failure.node).second) continue;
      if (++told[failure.holder] > kLines) continue;
      report_.lines.push_back(
          fmt::format("{}: {} failed: {}; {}", to_string(snapshot_.table.at(failure.atom)),
                      to_string(failure.holder, job_.nodes), failure.message, what_next(plan, failure)));
    }
    for (const auto& [holder, count] : told) {
      if (count > kLines) {
        report_.lines.push_back(
            fmt::format("{} more failures of {}", count - kLines, to_string(holder, job_.nodes)));
      }
    }
    failures_.clear();
    constexpr std::size_t kNotes = 20;
    for (std::size_t i = 0; i < std::min(kNotes, notes_.size()); ++i) report_.lines.push_back(notes_[i]);
    if (notes_.size() > kNotes) {
      report_.lines.push_back(fmt::format("{} more atoms that nodes do not keep", notes_.size() - kNotes));
    }
    notes_.clear();
  }

  [[nodiscard]] std::string what_next(const RestorePlan* plan, const RoundFailure& failure) const {
    const std::string& node = job_.nodes[at(failure.node)];
    if (plan != nullptr) {
      for (const Load& load : plan->loads) {
        if (load.atom != failure.atom || load.node != failure.node) continue;
        return fmt::format("node {} takes its {}", node, tier_name(load.tier));
      }
      for (const Fetch& fetch : plan->fetches) {
        if (fetch.atom != failure.atom || fetch.to != failure.node) continue;
        return fmt::format("node {} takes {}", node, to_string(Holder{fetch.from, fetch.tier}, job_.nodes));
      }
    }
    return wanted() ? fmt::format("nothing else is left for node {}", node)
                    : fmt::format("node {} has it meanwhile", node);
  }

  void publish() {
    const Status status = landing_.publish();
    ByteWriter out;
    out.text(one_line(status.message()));
    const auto all = peers_.all_gather(std::move(out).take());
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      const std::string message = ByteReader(all[rank]).text();
      if (message.empty()) continue;
      report_.lines.push_back(fmt::format("rank {} cannot publish what it received: {}", rank, message));
    }
  }

  PeerExchange& peers_;
  const RestoreRequest& request_;
  const Job& job_;
  Snapshot snapshot_;  // copies that are wrong leave it, copies that landed join it: equal on all ranks
  RestoreReport& report_;
  const int node_;
  Landing landing_;
  std::vector<AtomSet> undelivered_;  // by rank
  std::map<std::pair<Holder, int>, int> strikes_;
  std::set<std::pair<int, int>> counted_;  // (node, atom)
  std::vector<RoundFailure> failures_;     // since the last plan
  std::vector<std::string> notes_;
};

/// Leaves out what is not of this run or not of this model.
void keep_own(std::vector<Snapshot>& snapshots, const RestoreRequest& request,
              std::vector<std::string>& lines) {
  std::erase_if(snapshots, [&](const Snapshot& snapshot) {
    Status status;
    if (snapshot.table != request.table) {
      status = Status(Code::kFailedPrecondition, "its atoms are another model's");
    } else if (request.accept) {
      status = request.accept(snapshot.meta);
    }
    if (!status.ok()) {
      lines.push_back(
          fmt::format("{} is left out: {}", to_string(snapshot.meta.id()), one_line(status.message())));
    }
    return !status.ok();
  });
}

RestoreOutcome restore_newest(PeerExchange& peers, const RestoreRequest& request) {
  RestoreOutcome outcome;
  RestoreReport& report = outcome.report;
  const Job job = meet(peers, request);
  std::vector<Snapshot> snapshots = merge(list_all(peers, request, job), job.nodes, report.lines);
  if (snapshots.empty()) {
    outcome.status = Status(Code::kNotFound, fmt::format("no snapshot of job {} anywhere", request.job));
    return outcome;
  }
  keep_own(snapshots, request, report.lines);
  for (int newest = newest_complete(snapshots); newest >= 0; newest = newest_complete(snapshots)) {
    for (int i = 0; i < newest; ++i) {
      report.lines.push_back(fmt::format("{} is not whole: {} atoms are nowhere",
                                         to_string(snapshots[at(i)].meta.id()), snapshots[at(i)].lacking()));
    }
    Snapshot snapshot = std::move(snapshots[at(newest)]);
    snapshots.erase(snapshots.begin(), snapshots.begin() + newest + 1);
    const SnapshotId id = snapshot.meta.id();
    const Status status = Attempt(peers, request, job, std::move(snapshot), report).run();
    if (status.ok()) {
      report.lines.push_back(fmt::format("restored {}: {}", to_string(id), to_string(report.bytes)));
      return outcome;
    }
    report.lines.push_back(fmt::format("{} is given up: {}", to_string(id), status.message()));
  }
  for (const Snapshot& snapshot : snapshots) {
    report.lines.push_back(fmt::format("{} is not whole: {} atoms are nowhere", to_string(snapshot.meta.id()),
                                       snapshot.lacking()));
  }
  outcome.status = Status(
      Code::kDataLoss, fmt::format("no snapshot of job {} can be put together{}", request.job,
                                   report.lines.empty() ? "" : "; the last reason: " + report.lines.back()));
  return outcome;
}

}  // namespace

RestoreOutcome restore(PeerExchange& peers, const RestoreRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  RestoreOutcome outcome = restore_newest(peers, request);
  outcome.report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return outcome;
}

}  // namespace tessera::recovery
