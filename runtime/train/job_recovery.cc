#include "runtime/train/job_recovery.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/peer_channel.h"
#include "runtime/train/agree.h"
#include "runtime/train/atom_layout.h"

namespace tessera::runtime {
namespace {

using recovery::AtomSet;
using recovery::Component;

/// The runs of each block, to copy an atom into a rank's memory.
class Landing {
 public:
  /// `table` must outlive this.
  Landing(const TrainInputs& inputs, const planner::RankPlace& place, const recovery::AtomTable& table,
          Trainer::State state)
      : table_(table), own_(rank_state(inputs.model, inputs.plan, place)), state_(state) {}

  [[nodiscard]] AtomSet needed() const {
    AtomSet atoms(table_.count());
    for (const AtomRun& run : own_.weights) atoms.add(run.block * recovery::kComponents);
    for (const AtomRun& run : own_.moments) {
      atoms.add(run.block * recovery::kComponents + 1);
      atoms.add(run.block * recovery::kComponents + 2);
    }
    return atoms;
  }

  void deliver(int atom, recovery::Bytes bytes) const {
    const Component component = table_.at(atom).component;
    const auto& runs = component == Component::kWeight ? own_.weights : own_.moments;
    float* const to = component == Component::kWeight        ? state_.parameters
                      : component == Component::kFirstMoment ? state_.first_moment
                                                             : state_.second_moment;
    const auto [first, last] =
        std::ranges::equal_range(runs, atom / recovery::kComponents, {}, &AtomRun::block);
    for (auto run = first; run != last; ++run) {
      std::memcpy(to + run->offset, bytes.data() + run->in_atom * 4,
                  static_cast<std::size_t>(run->count) * 4);
    }
  }

 private:
  const recovery::AtomTable& table_;
  RankState own_;
  Trainer::State state_;
};

/// What rank 0 says, on every rank.
std::int64_t from_first(Communicator& world, std::int64_t value) {
  broadcast(world, as_writable_bytes(&value, 1), Rank(0), Traffic::kControl);
  return value;
}

}  // namespace

std::string to_json(const RestoreSummary& summary) {
  const recovery::SourceBytes& bytes = summary.bytes;
  return nlohmann::ordered_json{{"step", summary.step},
                                {"attempt", summary.attempt},
                                {"state_hash", fmt::format("{:016x}", summary.state_hash)},
                                {"bytes",
                                 {{"own_memory", bytes.own_memory},
                                  {"own_disk", bytes.own_disk},
                                  {"peer_memory", bytes.peer_memory},
                                  {"peer_disk", bytes.peer_disk},
                                  {"cloud", bytes.cloud}}},
                                {"rounds", summary.rounds},
                                {"seconds", summary.seconds},
                                {"planned_s", summary.makespan_s},
                                {"lower_bound_s", summary.lower_bound_s}}
      .dump();
}

Result<std::unique_ptr<JobRecovery>> JobRecovery::make(Communicator& world, const TrainInputs& inputs,
                                                       Trainer& trainer, const Clock& clock) {
  Result<RecoveryStores> stores = open_recovery_stores(inputs.spec, run_identity(inputs));
  TS_TRY(agree(world, stores.ok() ? Status() : stores.status()));
  return std::unique_ptr<JobRecovery>(new JobRecovery(
      world, inputs, trainer, clock, std::move(stores).value(), gather_nodes(world, inputs.spec)));
}

JobRecovery::JobRecovery(Communicator& world, const TrainInputs& inputs, Trainer& trainer, const Clock& clock,
                         RecoveryStores stores, std::vector<std::string> nodes)
    : world_(world),
      inputs_(inputs),
      trainer_(trainer),
      clock_(clock),
      stores_(std::move(stores)),
      nodes_(std::move(nodes)),
      identity_(run_identity(inputs)) {}

Status JobRecovery::for_own_stores(const std::function<Status(recovery::Store&)>& visit) {
  const int me = world_.rank().value;
  if (std::ranges::find(nodes_, stores_.node) - nodes_.begin() == me) {
    if (stores_.memory) TS_TRY(visit(*stores_.memory));
    if (stores_.disk) TS_TRY(visit(*stores_.disk));
  }
  if (me == 0 && stores_.cloud) TS_TRY(visit(*stores_.cloud));
  return {};
}

Result<bool> JobRecovery::holds_anything() {
  bool found = false;
  const Status status = for_own_stores([&](recovery::Store& store) -> Status {
    const std::vector<std::string> keys = TS_TRY(store.list(stores_.job + "/"));
    found = found || !keys.empty();
    return {};
  });
  TS_TRY(agree(world_, status));
  std::array<double, 1> any = {found ? 1.0 : 0.0};
  all_reduce(world_, any, Reduction::kMax);
  return any[0] > 0;
}

Status JobRecovery::remove_all() {
  return agree(world_, for_own_stores([&](recovery::Store& store) -> Status {
                 const std::vector<std::string> keys = TS_TRY(store.list(stores_.job + "/"));
                 for (const bool manifests : {true, false}) {
                   for (const std::string& key : keys) {
                     if (recovery::is_manifest_key(key) == manifests) TS_TRY(store.remove(key));
                   }
                 }
                 return {};
               }));
}

Status JobRecovery::restore(std::int64_t least_step) {
  recovery::RestoreRequest request;
  request.table = atom_table(inputs_.model);
  const Landing landing(inputs_, trainer_.place(), request.table, trainer_.state_memory());
  request.job = stores_.job;
  request.node = stores_.node;
  request.memory = stores_.memory.get();
  request.disk = stores_.disk.get();
  request.cloud = stores_.cloud.get();
  request.cloud_only = inputs_.spec.recovery_sources == "cloud";
  constexpr double kGiga = 1e9;
  request.rates.nic_in = request.rates.nic_out = inputs_.spec.node_link_gb_per_s * kGiga;
  request.rates.cloud = inputs_.spec.recovery_cloud_gb_per_s * kGiga;
  request.cloud_total = inputs_.spec.recovery_cloud_total_gb_per_s * kGiga;
  request.needed = landing.needed();
  Status other_run;
  request.accept = [&](const recovery::StateMeta& meta) -> Status {
    const Status same =
        check_identity(fmt::format("snapshot of step {}", meta.step), meta.identity, identity_);
    if (!same.ok()) other_run = same;
    TS_TRY(Status(same));
    if (meta.step >= least_step) return {};
    return {Code::kFailedPrecondition, fmt::format("step {} is before {}", meta.step, least_step)};
  };
  request.deliver = [&](int atom, recovery::Bytes bytes) { landing.deliver(atom, bytes); };

  PeerChannel peers(world_);
  const recovery::RestoreOutcome outcome = recovery::restore(peers, request);
  lines_ = outcome.report.lines;
  if (!outcome.status.ok() && !other_run.ok()) return other_run;
  TS_TRY(Status(outcome.status));

  const recovery::RestoreReport& report = outcome.report;
  trainer_.go_on_from(report.meta);
  restored_.restored = true;
  restored_.step = report.meta.step;
  restored_.attempt = report.meta.attempt;
  restored_.state_hash = recovery::state_hash(report.meta, report.checksums);
  restored_.bytes = report.bytes;
  restored_.makespan_s = report.plan.makespan_s;
  restored_.lower_bound_s = report.plan.lower_bound_s;
  restored_.rounds = report.rounds;
  restored_.seconds = report.seconds;

  snapshotter_ =
      std::make_unique<Snapshotter>(world_, inputs_, stores_, trainer_.state_memory(), nodes_, clock_);
  const SnapshotResult held = snapshotter_->examine(report.meta);
  if (held.status.ok() && held.state_hash == restored_.state_hash) return {};
  return {
      Code::kDataLoss,
      fmt::format("the state after the restore has the hash {:016x}, the snapshot of step {} has {:016x}{}{}",
                  held.state_hash, report.meta.step, restored_.state_hash, held.status.ok() ? "" : ": ",
                  held.status.message())};
}

std::string JobRecovery::begin() {
  if (!snapshotter_) {
    snapshotter_ =
        std::make_unique<Snapshotter>(world_, inputs_, stores_, trainer_.state_memory(), nodes_, clock_);
  }
  const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  attempt_ = from_first(world_, std::max(restored_.attempt + 1, now));
  due_ = trainer_.steps_done() + inputs_.spec.recovery_interval;
  started_step_ = restored_.restored ? restored_.step : -1;
  return snapshotter_->describe();
}

void JobRecovery::take() {
  snapshotter_->start(trainer_.meta(attempt_));
  started_step_ = trainer_.steps_done();
  due_ = started_step_ + inputs_.spec.recovery_interval;
}

void JobRecovery::settle(const Report& report) {
  const SnapshotResult result = snapshotter_->settle();
  totals_.stall_s += result.stall_s;
  totals_.longest_stall_s = std::max(totals_.longest_stall_s, result.stall_s);
  ++totals_.taken;
  if (result.status.ok()) {
    totals_.kept_bytes += result.kept_bytes;
    totals_.sent_bytes += result.sent_bytes;
    totals_.last_step = result.step;
    totals_.last_hash = result.state_hash;
    backoff_ = 1;
  } else {
    ++totals_.failed;
    due_ = std::min(due_, trainer_.steps_done() + backoff_);
    backoff_ = std::min(2 * backoff_, inputs_.spec.recovery_interval);
  }
  report(result);
}

void JobRecovery::step_done(const StepResult& step, const Report& report) {
  if (step.agreed) settle(report);
  if (step.step < due_) return;
  if (snapshotter_->can_start()) {
    take();
  } else {
    ++totals_.skipped;
    due_ = step.step + 1;
  }
}

void JobRecovery::finish(const Report& report) {
  if (trainer_.steps_done() > started_step_) {
    while (!snapshotter_->can_start()) settle(report);
    take();
  }
  while (!snapshotter_->idle()) settle(report);
}

}  // namespace tessera::runtime
