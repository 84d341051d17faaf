#include "recovery/restore/restore_plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Bytes on each resource of all nodes, and the seconds they take.
class Usage {
 public:
  enum Resource : std::uint8_t { kMemory, kDisk, kIn, kOut, kCloud, kResources };

  explicit Usage(const RestoreProblem& problem)
      : problem_(&problem), bytes_(problem.rates.size() * kResources) {}

  /// The resources of a fetch: both NICs, what is read at the source, the cloud.
  template <class Visit>
  static void for_each(const Fetch& fetch, Visit visit) {
    visit(fetch.to, kIn);
    if (fetch.from == kCloudNode) {
      visit(fetch.to, kCloud);
      visit(kCloudNode, kCloud);
    } else {
      visit(fetch.from, kOut);
      visit(fetch.from, fetch.tier == Tier::kDisk ? kDisk : kMemory);
    }
  }

  void add(const Fetch& fetch, int sign = 1) {
    const std::int64_t bytes = sign * problem_->atom_bytes[at(fetch.atom)];
    for_each(fetch, [&](int node, Resource resource) { slot(node, resource) += bytes; });
  }
  void add(const Load& load) {
    slot(load.node, load.tier == Tier::kDisk ? kDisk : kMemory) += problem_->atom_bytes[at(load.atom)];
  }

  [[nodiscard]] std::int64_t bytes(int node, Resource resource) const {
    return node == kCloudNode ? cloud_bytes_ : bytes_[at(node) * kResources + resource];
  }
  [[nodiscard]] double seconds(int node, Resource resource, std::int64_t more = 0) const {
    return static_cast<double>(bytes(node, resource) + more) / rate(node, resource);
  }
  /// The busiest of the resources that `fetch` uses, with `copies` more of it.
  [[nodiscard]] double seconds_with(const Fetch& fetch, int copies = 1) const {
    double worst = 0;
    for_each(fetch, [&](int node, Resource resource) {
      worst = std::max(worst, seconds(node, resource, copies * problem_->atom_bytes[at(fetch.atom)]));
    });
    return worst;
  }
  struct Busiest {
    int node = 0;
    Resource resource = kIn;
    double seconds = 0;
  };
  [[nodiscard]] Busiest busiest() const {
    Busiest worst{kCloudNode, kCloud, seconds(kCloudNode, kCloud)};
    for (int node = 0; node < nodes(); ++node) {
      for (std::uint8_t r = 0; r < kResources; ++r) {
        const auto resource = static_cast<Resource>(r);
        if (const double s = seconds(node, resource); s > worst.seconds) worst = {node, resource, s};
      }
    }
    return worst;
  }
  [[nodiscard]] int nodes() const { return static_cast<int>(problem_->rates.size()); }

 private:
  [[nodiscard]] std::int64_t& slot(int node, Resource resource) {
    return node == kCloudNode ? cloud_bytes_ : bytes_[at(node) * kResources + resource];
  }
  [[nodiscard]] double rate(int node, Resource resource) const {
    if (node == kCloudNode) return problem_->cloud_total;
    const NodeRates& rates = problem_->rates[at(node)];
    return std::array{rates.memory, rates.disk, rates.nic_in, rates.nic_out, rates.cloud}[resource];
  }

  const RestoreProblem* problem_;
  std::vector<std::int64_t> bytes_;
  std::int64_t cloud_bytes_ = 0;
};

/// An atom, the nodes that lack it and where it can come from first.
struct Missing {
  int atom = 0;
  std::vector<int> wanted;                    // nodes
  std::vector<std::pair<int, Tier>> origins;  // peers that hold it, or the cloud alone
};

struct Needs {
  std::vector<Load> loads;
  std::vector<Missing> missing;  // by atom
  std::vector<int> lost;         // atoms that nobody holds
};

void check(const RestoreProblem& problem) {
  const std::size_t nodes = problem.needed.size();
  TS_REQUIRE(problem.held.size() == nodes && problem.rates.size() == nodes, nodes, problem.held.size(),
             problem.rates.size());
  TS_REQUIRE(problem.cloud_total > 0, problem.cloud_total);
  const int atoms = static_cast<int>(problem.atom_bytes.size());
  TS_REQUIRE(problem.cloud.size() == atoms, problem.cloud.size(), atoms);
  for (std::size_t n = 0; n < nodes; ++n) {
    const NodeRates& r = problem.rates[n];
    TS_REQUIRE(r.memory > 0 && r.disk > 0 && r.nic_in > 0 && r.nic_out > 0 && r.cloud > 0, n, r.memory,
               r.disk, r.nic_in, r.nic_out, r.cloud);
    TS_REQUIRE(problem.needed[n].size() == atoms && problem.held[n].memory.size() == atoms &&
                   problem.held[n].disk.size() == atoms,
               n, atoms);
  }
}

Needs needs_of(const RestoreProblem& problem) {
  check(problem);
  Needs needs;
  const int nodes = static_cast<int>(problem.needed.size());
  for (int atom = 0; atom < static_cast<int>(problem.atom_bytes.size()); ++atom) {
    if (problem.atom_bytes[at(atom)] == 0) continue;
    Missing missing{atom, {}, {}};
    for (int node = 0; node < nodes; ++node) {
      const NodeHoldings& held = problem.held[at(node)];
      const bool memory = held.memory.has(atom);
      const bool holds = memory || held.disk.has(atom);
      const Tier tier = memory ? Tier::kMemory : Tier::kDisk;
      if (holds) missing.origins.emplace_back(node, tier);
      if (!problem.needed[at(node)].has(atom)) continue;
      if (holds) {
        needs.loads.push_back({atom, node, tier});
      } else {
        missing.wanted.push_back(node);
      }
    }
    if (missing.wanted.empty()) continue;
    if (missing.origins.empty()) {
      if (problem.cloud.has(atom)) {
        missing.origins.emplace_back(kCloudNode, Tier::kCloud);
      } else {
        needs.lost.push_back(atom);
        continue;
      }
    }
    needs.missing.push_back(std::move(missing));
  }
  std::sort(needs.loads.begin(), needs.loads.end(), [](const Load& a, const Load& b) {
    return std::pair(a.node, a.atom) < std::pair(b.node, b.atom);
  });
  return needs;
}

/// The copies of one atom: a forest over the nodes that lack it.
using Copies = std::vector<Fetch>;  // as `wanted`, in order of receipt

/// Whether `node` is `fetch.to` or gets its copy, directly or not, from it.
bool comes_from(const Copies& copies, int node, const Fetch& fetch) {
  while (node != fetch.to) {
    const auto copy =
        std::find_if(copies.begin(), copies.end(), [&](const Fetch& c) { return c.to == node; });
    if (copy == copies.end() || !copy->passed_on) return false;
    node = copy->from;
  }
  return true;
}

class Assignment {
 public:
  Assignment(const RestoreProblem& problem, const Needs& needs, double bound_s, bool forward)
      : problem_(problem), missing_(needs.missing), forward_(forward), bound_s_(bound_s), usage_(problem) {
    for (const Load& load : needs.loads) usage_.add(load);
    copies_.resize(missing_.size());
    assign_longest_first();
    improve();
  }

  [[nodiscard]] const std::vector<Copies>& copies() const { return copies_; }

 private:
  /// Visits every fetch that could give `to` its copy. `have`: the other copies, of which some may be passed
  /// on.
  template <class Visit>
  void for_each_source(const Missing& missing, const Copies& have, int to, Visit visit) const {
    for (const auto& [node, tier] : missing.origins) {
      const bool once =
          node == kCloudNode && forward_;  // from the cloud to one node, from there to the others
      const auto downloaded = [&](const Fetch& c) { return c.to != to && c.from == kCloudNode; };
      if (once && std::any_of(have.begin(), have.end(), downloaded)) continue;
      visit(Fetch{missing.atom, to, node, tier, false, 0});
    }
    if (!forward_) return;
    for (const Fetch& copy : have) {
      if (copy.to != to) visit(Fetch{missing.atom, to, copy.to, Tier::kMemory, true, 0});
    }
  }

  void assign_longest_first() {
    std::vector<std::size_t> order(missing_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const auto key = [&](std::size_t i) {  // long ones first, then those with the least choice
        return std::tuple(-problem_.atom_bytes[at(missing_[i].atom)], missing_[i].origins.size(), i);
      };
      return key(a) < key(b);
    });
    for (const std::size_t i : order) {
      const Missing& missing = missing_[i];
      std::vector<int> wanted = missing.wanted;
      while (!wanted.empty()) {
        // Whoever has the least to give away so far receives first: it may pass it on. A download is also
        // counted against the node's own rate from the cloud.
        Fetch best;
        double best_s = std::numeric_limits<double>::infinity();
        double best_give_s = 0;
        for (const int to : wanted) {
          const double give_s = usage_.seconds(to, Usage::kOut);
          for_each_source(missing, copies_[i], to, [&](const Fetch& fetch) {
            const double s = source_seconds(fetch);
            if (std::pair(s, give_s) < std::pair(best_s, best_give_s)) {
              best = fetch;
              best_s = s;
              best_give_s = give_s;
            }
          });
        }
        usage_.add(best);
        copies_[i].push_back(best);
        std::erase(wanted, best.to);
      }
    }
  }

  /// What a receiver takes in is the same whatever the source, so only the source's side is compared.
  [[nodiscard]] double source_seconds(const Fetch& fetch) const {
    const std::int64_t bytes = problem_.atom_bytes[at(fetch.atom)];
    if (fetch.from == kCloudNode) return usage_.seconds(fetch.to, Usage::kCloud, bytes);
    const double read_s =
        usage_.seconds(fetch.from, fetch.tier == Tier::kDisk ? Usage::kDisk : Usage::kMemory, bytes);
    return std::max(read_s, usage_.seconds(fetch.from, Usage::kOut, bytes));
  }

  /// Moves copies off the busiest resource to other sources while that shortens what those concerned need.
  void improve() {
    constexpr int kMoves = 2000;  // longest first is near the bound; what is left is a matter of few copies
    for (int move = 0; move < kMoves && evaluations_ < kEvaluations; ++move) {
      busiest_ = usage_.busiest();
      if (busiest_.seconds <= bound_s_ * (1 + 1e-9)) return;
      if (!move_one() && !change_places() && !move_two()) return;
    }
  }

  [[nodiscard]] bool uses_busiest(const Fetch& fetch) const {
    bool used = false;
    Usage::for_each(fetch, [&](int node, Usage::Resource resource) {
      used = used || (node == busiest_.node && resource == busiest_.resource);
    });
    return used;
  }

  [[nodiscard]] bool is_shorter(double seconds) const { return seconds < busiest_.seconds * (1 - 1e-12); }

  template <class Visit>
  void for_each_copy_on_busiest(Visit visit) {
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      for (Fetch& copy : copies_[i]) {
        if (uses_busiest(copy)) visit(i, copy);
      }
    }
  }

  /// Visits the other fetches that could take the place of `copy`, which usage_ must not contain.
  template <class Visit>
  void for_each_other(std::size_t i, const Fetch& copy, Visit visit) {
    for_each_source(missing_[i], copies_[i], copy.to, [&](const Fetch& fetch) {
      if (fetch == copy || (fetch.passed_on && comes_from(copies_[i], fetch.from, copy))) return;
      ++evaluations_;
      visit(fetch, usage_.seconds_with(fetch));
    });
  }

  void replace(Fetch& copy, const Fetch& by) {
    usage_.add(copy, -1);
    copy = by;
    usage_.add(copy);
  }

  bool move_one() {
    Fetch best;
    double best_s = std::numeric_limits<double>::infinity();
    Fetch* moved = nullptr;
    for_each_copy_on_busiest([&](std::size_t i, Fetch& copy) {
      usage_.add(copy, -1);
      for_each_other(i, copy, [&](const Fetch& fetch, double s) {
        if (!is_shorter(s) || s >= best_s) return;
        best = fetch;
        best_s = s;
        moved = &copy;
      });
      usage_.add(copy);
    });
    if (moved != nullptr) replace(*moved, best);
    return moved != nullptr;
  }

  /// Receiver and giver of a copy change places: x -> d -> e becomes x -> e -> d.
  bool change_places() {
    bool changed = false;
    for_each_copy_on_busiest([&](std::size_t i, Fetch on_busiest) {
      if (changed) return;
      for (Fetch& first : copies_[i]) {
        for (Fetch& second : copies_[i]) {
          if (!second.passed_on || second.from != first.to) continue;
          if (!(first == on_busiest) && !(second == on_busiest)) continue;
          if (changed) return;
          ++evaluations_;
          const Fetch old_first = first;
          const Fetch old_second = second;
          Fetch new_first = first;
          new_first.to = second.to;
          Fetch new_second = second;
          new_second.to = first.to;
          new_second.from = second.to;
          replace(first, new_first);
          replace(second, new_second);
          if (is_shorter(std::max(usage_.seconds_with(new_first, 0), usage_.seconds_with(new_second, 0)))) {
            changed = true;
            return;
          }
          replace(first, old_first);
          replace(second, old_second);
        }
      }
    });
    return changed;
  }

  /// A copy goes to another source, from which a second one makes room.
  bool move_two() {
    bool changed = false;
    for_each_copy_on_busiest([&](std::size_t i, Fetch& copy) {
      if (changed || evaluations_ >= kEvaluations) return;
      const Fetch before = copy;
      std::vector<Fetch> others;
      usage_.add(copy, -1);
      for_each_other(i, copy, [&](const Fetch& fetch, double) { others.push_back(fetch); });
      usage_.add(copy);
      for (const Fetch& other : others) {
        replace(copy, other);
        changed = make_room(i, other);
        if (changed) return;
        replace(copy, before);
      }
    });
    return changed;
  }

  bool make_room(std::size_t of, const Fetch& moved) {
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (i == of) continue;
      for (Fetch& copy : copies_[i]) {
        if (copy.from != moved.from) continue;
        usage_.add(copy, -1);
        Fetch best = copy;
        double best_s = std::numeric_limits<double>::infinity();
        const double moved_s = usage_.seconds_with(moved, 0);
        for_each_other(i, copy, [&](const Fetch& fetch, double s) {
          if (s < best_s) {
            best = fetch;
            best_s = s;
          }
        });
        usage_.add(copy);
        if (!is_shorter(std::max(moved_s, best_s))) continue;
        replace(copy, best);
        if (is_shorter(usage_.seconds_with(moved, 0))) return true;
        Fetch back = best;
        std::swap(back, copy);
        usage_.add(back, -1);
        usage_.add(copy);
      }
    }
    return false;
  }

  static constexpr std::int64_t kEvaluations = 1 << 20;

  const RestoreProblem& problem_;
  const std::vector<Missing>& missing_;
  bool forward_;
  double bound_s_;
  Usage usage_;
  Usage::Busiest busiest_;
  std::int64_t evaluations_ = 0;
  std::vector<Copies> copies_;  // as missing_
};

/// The waves of an assignment, `groups` at a time in the pipeline: the copies of group g start in wave g.
class Waves {
 public:
  Waves(const RestoreProblem& problem, const std::vector<Copies>& copies, int groups) {
    std::vector<std::size_t> trees;  // atoms with a copy that is passed on
    std::vector<Fetch> free;         // copies that nothing waits for
    std::vector<std::vector<std::pair<int, int>>> shapes(copies.size());
    int last = groups - 1;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      for (const Fetch& copy : copies[i]) shapes[i].emplace_back(copy.from, copy.to);
      const auto passed_on = [](const Fetch& copy) { return copy.passed_on; };
      if (std::any_of(copies[i].begin(), copies[i].end(), passed_on)) trees.push_back(i);
    }
    // Equal shapes dealt out in turn: each group then loads the nodes alike.
    std::sort(trees.begin(), trees.end(), [&](std::size_t a, std::size_t b) {
      const auto key = [&](std::size_t i) {
        return std::tie(shapes[i], problem.atom_bytes[at(copies[i].front().atom)], copies[i].front().atom);
      };
      return key(a) < key(b);
    });
    std::vector<int> start(copies.size(), -1);
    for (std::size_t k = 0; k < trees.size(); ++k) start[trees[k]] = static_cast<int>(k) % groups;
    for (const std::size_t i : trees) {
      for (const Fetch& copy : copies[i]) last = std::max(last, start[i] + depth(copies[i], copy));
    }
    usage_.assign(at(last + 1), Usage(problem));
    seconds_.assign(at(last + 1), 0.0);
    for (std::size_t i = 0; i < copies.size(); ++i) {
      for (Fetch copy : copies[i]) {
        copy.wave = std::max(start[i], 0) + depth(copies[i], copy);
        const auto waits = [&](const Fetch& other) { return other.passed_on && other.from == copy.to; };
        if (std::any_of(copies[i].begin(), copies[i].end(), waits)) {
          put(copy);
        } else {
          free.push_back(copy);
        }
      }
    }
    // Those may come in any later wave: in the one that they lengthen least.
    std::stable_sort(free.begin(), free.end(), [&](const Fetch& a, const Fetch& b) {
      return problem.atom_bytes[at(a.atom)] > problem.atom_bytes[at(b.atom)];
    });
    for (Fetch copy : free) {
      int best = copy.wave;
      double best_more = std::numeric_limits<double>::infinity();
      for (int wave = copy.wave; wave <= last; ++wave) {
        const double more = std::max(0.0, usage_[at(wave)].seconds_with(copy) - seconds_[at(wave)]);
        if (more < best_more) {
          best = wave;
          best_more = more;
        }
      }
      copy.wave = best;
      put(copy);
    }
    std::sort(fetches_.begin(), fetches_.end(), [](const Fetch& a, const Fetch& b) {
      return std::tie(a.wave, a.atom, a.to) < std::tie(b.wave, b.atom, b.to);
    });
  }

  [[nodiscard]] double seconds() const { return std::accumulate(seconds_.begin(), seconds_.end(), 0.0); }
  [[nodiscard]] std::vector<Fetch>&& take() && { return std::move(fetches_); }

 private:
  static int depth(const Copies& copies, const Fetch& copy) {
    if (!copy.passed_on) return 0;
    const auto giver =
        std::find_if(copies.begin(), copies.end(), [&](const Fetch& c) { return c.to == copy.from; });
    return 1 + depth(copies, *giver);
  }

  void put(const Fetch& copy) {
    Usage& usage = usage_[at(copy.wave)];
    usage.add(copy);
    double& s = seconds_[at(copy.wave)];
    s = std::max(s, usage.seconds_with(copy, 0));
    fetches_.push_back(copy);
  }

  std::vector<Usage> usage_;  // by wave
  std::vector<double> seconds_;
  std::vector<Fetch> fetches_;
};

/// What each node's memory and disk take to give all they must: it goes on beside the network.
double reading_seconds(const RestoreProblem& problem, const RestorePlan& plan) {
  Usage usage(problem);
  for (const Load& load : plan.loads) usage.add(load);
  for (const Fetch& fetch : plan.fetches) usage.add(fetch);
  double worst = 0;
  for (int node = 0; node < usage.nodes(); ++node) {
    worst = std::max({worst, usage.seconds(node, Usage::kMemory), usage.seconds(node, Usage::kDisk)});
  }
  return worst;
}

SourceBytes bytes_of(const RestoreProblem& problem, const RestorePlan& plan) {
  SourceBytes bytes;
  for (const Load& load : plan.loads) {
    (load.tier == Tier::kDisk ? bytes.own_disk : bytes.own_memory) += problem.atom_bytes[at(load.atom)];
  }
  for (const Fetch& fetch : plan.fetches) {
    std::int64_t& sum = fetch.tier == Tier::kCloud  ? bytes.cloud
                        : fetch.tier == Tier::kDisk ? bytes.peer_disk
                                                    : bytes.peer_memory;
    sum += problem.atom_bytes[at(fetch.atom)];
  }
  return bytes;
}

double bound_of(const RestoreProblem& problem, const Needs& needs) {
  const int nodes = static_cast<int>(problem.rates.size());
  Usage least(problem);  // what each node cannot avoid
  for (const Load& load : needs.loads) least.add(load);

  /// Nodes that alone hold some lacking atoms, with these atoms' bytes.
  struct Holders {
    std::int64_t bytes = 0;
    std::int64_t on_disk = 0;
  };
  std::map<std::vector<int>, Holders> holders;
  std::vector<std::int64_t> lacks(at(nodes), 0);
  std::vector<std::int64_t> only_it(at(nodes), 0);  // must download, because nobody else wants it
  std::vector<bool> gives(at(nodes), false);
  std::vector<bool> downloads(at(nodes), false);
  std::int64_t between = 0;
  std::int64_t from_cloud = 0;
  for (const Missing& missing : needs.missing) {
    const std::int64_t bytes = problem.atom_bytes[at(missing.atom)];
    const auto copies = static_cast<std::int64_t>(missing.wanted.size());
    for (const int node : missing.wanted) lacks[at(node)] += bytes;
    if (missing.origins.front().first == kCloudNode) {
      from_cloud += problem.forward ? bytes : bytes * copies;
      between += problem.forward ? bytes * (copies - 1) : 0;
      for (const int node : missing.wanted) {
        downloads[at(node)] = true;
        if (copies == 1 || !problem.forward) only_it[at(node)] += bytes;
        if (copies > 1) gives[at(node)] = true;
      }
      continue;
    }
    between += bytes * copies;
    if (copies > 1 && problem.forward) {
      for (const int node : missing.wanted) gives[at(node)] = true;
    }
    std::vector<int> who;
    bool disk = true;
    for (const auto& [node, tier] : missing.origins) {
      who.push_back(node);
      gives[at(node)] = true;
      disk = disk && tier == Tier::kDisk;
    }
    Holders& entry = holders[who];
    const std::int64_t out = problem.forward ? bytes : bytes * copies;
    entry.bytes += out;
    if (disk) entry.on_disk += out;
  }

  double bound = 0;
  for (int node = 0; node < nodes; ++node) {
    const NodeRates& rates = problem.rates[at(node)];
    bound = std::max({bound, least.seconds(node, Usage::kMemory), least.seconds(node, Usage::kDisk),
                      static_cast<double>(lacks[at(node)]) / rates.nic_in,
                      static_cast<double>(only_it[at(node)]) / rates.cloud});
  }
  for (const auto& [set, ignored] : holders) {
    std::int64_t bytes = 0;
    std::int64_t on_disk = 0;
    for (const auto& [inner, entry] : holders) {
      if (!std::includes(set.begin(), set.end(), inner.begin(), inner.end())) continue;
      bytes += entry.bytes;
      on_disk += entry.on_disk;
    }
    double out_rate = 0;
    double disk_rate = 0;
    for (const int node : set) {
      out_rate += problem.rates[at(node)].nic_out;
      disk_rate += problem.rates[at(node)].disk;
      on_disk += least.bytes(node, Usage::kDisk);
    }
    bound =
        std::max({bound, static_cast<double>(bytes) / out_rate, static_cast<double>(on_disk) / disk_rate});
  }
  double out_rate = 0;
  double cloud_rate = 0;
  for (int node = 0; node < nodes; ++node) {
    if (gives[at(node)]) out_rate += problem.rates[at(node)].nic_out;
    if (downloads[at(node)]) cloud_rate += problem.rates[at(node)].cloud;
  }
  if (between > 0) bound = std::max(bound, static_cast<double>(between) / out_rate);
  if (from_cloud > 0) {
    bound = std::max(bound, static_cast<double>(from_cloud) / std::min(cloud_rate, problem.cloud_total));
  }
  return bound;
}

std::string size_text(std::int64_t bytes) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

}  // namespace

const char* tier_name(Tier tier) {
  switch (tier) {
    case Tier::kMemory: return "memory";
    case Tier::kDisk: return "disk";
    case Tier::kCloud: return "cloud";
  }
  TS_REQUIRE(false, static_cast<int>(tier));
  return "";
}

SourceBytes& SourceBytes::operator+=(const SourceBytes& other) {
  own_memory += other.own_memory;
  own_disk += other.own_disk;
  peer_memory += other.peer_memory;
  peer_disk += other.peer_disk;
  cloud += other.cloud;
  return *this;
}

std::string to_string(const SourceBytes& bytes) {
  const auto share = [&](std::int64_t part) {
    const std::int64_t total = bytes.total();
    return fmt::format("{} ({:.0f} %)", size_text(part),
                       total > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(total) : 0.0);
  };
  return fmt::format("own memory {}, own disk {}, peers' memory {}, peers' disk {}, cloud {}",
                     share(bytes.own_memory), share(bytes.own_disk), share(bytes.peer_memory),
                     share(bytes.peer_disk), share(bytes.cloud));
}

Result<RestorePlan> make_restore_plan(const RestoreProblem& problem) {
  const Needs needs = needs_of(problem);
  if (!needs.lost.empty()) {
    return Status(Code::kDataLoss,
                  fmt::format("nobody holds {} of {} atoms, the first of them atom {}", needs.lost.size(),
                              problem.atom_bytes.size(), needs.lost.front()));
  }
  RestorePlan plan;
  plan.loads = needs.loads;
  plan.lower_bound_s = bound_of(problem, needs);
  double network_s = std::numeric_limits<double>::infinity();
  const auto consider = [&](const std::vector<Copies>& copies, int groups) {
    Waves waves(problem, copies, groups);
    if (waves.seconds() >= network_s * (1 - 1e-9)) return;
    network_s = waves.seconds();
    plan.fetches = std::move(waves).take();
  };
  // Everyone straight from who holds it: fewest waves. Passing on: most givers.
  const Assignment direct(problem, needs, plan.lower_bound_s, false);
  const auto downloads_twice = [](const Copies& copies) {
    return copies.size() > 1 && copies.front().from == kCloudNode;
  };
  if (!problem.forward || std::none_of(direct.copies().begin(), direct.copies().end(), downloads_twice)) {
    consider(direct.copies(), 1);
  }
  if (problem.forward && network_s > plan.lower_bound_s * (1 + 1e-9)) {
    constexpr int kMostGroups = 64;
    const Assignment passing(problem, needs, plan.lower_bound_s, true);
    const auto groups_end = std::min(kMostGroups, static_cast<int>(needs.missing.size()));
    for (int groups = 1; groups <= std::max(1, groups_end); groups *= 2) consider(passing.copies(), groups);
  }
  plan.bytes = bytes_of(problem, plan);
  plan.makespan_s = std::max(network_s, reading_seconds(problem, plan));
  return plan;
}

double lower_bound_s(const RestoreProblem& problem) { return bound_of(problem, needs_of(problem)); }

std::string to_text(const RestorePlan& plan, const RestoreProblem& problem) {
  std::string text = fmt::format("{:>4} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10}\n", "node", "own memory",
                                 "own disk", "from peers", "from cloud", "to peers", "network s");
  for (int node = 0; node < static_cast<int>(problem.rates.size()); ++node) {
    std::int64_t memory = 0;
    std::int64_t disk = 0;
    Usage usage(problem);
    for (const Load& load : plan.loads) {
      if (load.node == node) (load.tier == Tier::kDisk ? disk : memory) += problem.atom_bytes[at(load.atom)];
    }
    for (const Fetch& fetch : plan.fetches) usage.add(fetch);
    const std::int64_t cloud = usage.bytes(node, Usage::kCloud);
    const double seconds = std::max({usage.seconds(node, Usage::kIn), usage.seconds(node, Usage::kOut),
                                     usage.seconds(node, Usage::kCloud)});
    text += fmt::format("{:>4} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10.3f}\n", node, size_text(memory),
                        size_text(disk), size_text(usage.bytes(node, Usage::kIn) - cloud), size_text(cloud),
                        size_text(usage.bytes(node, Usage::kOut)), seconds);
  }
  const int waves = plan.fetches.empty() ? 0 : plan.fetches.back().wave + 1;
  text += fmt::format("{}\n{} copies in {} waves, {:.3f} s; bound {:.3f} s, ratio {:.3f}\n",
                      to_string(plan.bytes), plan.fetches.size(), waves, plan.makespan_s, plan.lower_bound_s,
                      plan.ratio());
  return text;
}

}  // namespace tessera::recovery
