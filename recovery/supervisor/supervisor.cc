#include "recovery/supervisor/supervisor.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "recovery/supervisor/wall_time.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
constexpr double kRanksGoneLimit_s = 5;  // scripts/launch/watch_mpirun.sh waits as long
constexpr double kGentleEnd_s = 5;
constexpr double kLookForProcesses_s = 1;
constexpr double kLookForNotices_s = 0.5;
constexpr int kMisses = 3;  // probes in a row that a node in use may leave unanswered
constexpr int kExitUserError = 2;
constexpr int kExitNoProgram = 127;
constexpr std::int64_t kKeptStarts = 10;

std::string state_path(const std::string& folder) { return folder + "/supervisor.json"; }

std::string new_run_name() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

std::string tail_of(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(0, std::ios::end);
  const auto size = static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0));
  file.seekg(static_cast<std::streamoff>(size - std::min(size, most)));
  return {std::istreambuf_iterator<char>(file), {}};
}

/// From the first "error: " on, where a program has said it; else the end of the text.
std::string complaint_in(const std::string& log) {
  const std::size_t at = log.find("error: ");
  const std::string text = at == std::string::npos ? log : log.substr(at);
  return text.substr(0, std::min<std::size_t>(text.size(), 1500));
}

Membership fresh_membership(const SupervisorSetup& setup, Time now) {
  std::vector<std::string> names;
  for (const planner::NodeSpec& node : setup.cluster.nodes) names.push_back(node.name);
  Membership membership = new_membership(names, setup.spares, setup.on_demand, now);
  for (const int n : setup.absent) membership.nodes[static_cast<std::size_t>(n)].state = NodeState::kLost;
  return membership;
}

bool same_nodes(const Membership& membership, const planner::ClusterSpec& cluster) {
  return std::ranges::equal(membership.nodes, cluster.nodes, {}, &Node::name, &planner::NodeSpec::name);
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::open(SupervisorSetup setup) {
  std::error_code error;
  fs::create_directories(setup.state, error);
  if (error) return write_failure(setup.state, "the job's directory", error);
  StateLock lock = TS_TRY(StateLock::take(setup.state));
  Result<SupervisorState> read = read_supervisor_state(state_path(setup.state));
  if (!read.ok() && read.status().code() != Code::kNotFound) return read.status();
  const Time now = wall_time();
  SupervisorState state =
      read.ok() ? std::move(read).value() : SupervisorState{new_run_name(), fresh_membership(setup, now)};
  return std::unique_ptr<Supervisor>(new Supervisor(std::move(setup), std::move(lock), std::move(state)));
}

Supervisor::Supervisor(SupervisorSetup setup, StateLock lock, SupervisorState state)
    : setup_(std::move(setup)),
      lock_(std::move(lock)),
      state_(std::move(state)),
      plans_(setup_.planner, setup_.cluster),
      probe_(setup_.probe, setup_.probe_timeout_s) {}

Result<SupervisorEnd> Supervisor::run(const std::atomic<bool>& stop) {
  TS_TRY(adopt());
  bool told = false;
  while (!end_) {
    if (stop.load() && !std::exchange(told, true)) {
      Event event;
      event.kind = EventKind::kStopRequest;
      TS_TRY(give(event));
    } else {
      TS_TRY(look());
    }
    if (!end_) std::this_thread::sleep_for(std::chrono::duration<double>(setup_.poll_s));
  }
  return *end_;
}

/// Goes on where an earlier supervisor was.
Status Supervisor::adopt() {
  if (job().starts > 0) process_ = process_of(job().starts);
  if (!same_nodes(state_.membership, setup_.cluster)) {
    if (process_) end_job();
    Membership membership = fresh_membership(setup_, wall_time());
    membership.job.starts = job().starts;
    membership.job.saved_step = job().saved_step;
    state_.membership = std::move(membership);
  }
  hang_.emplace(setup_.hang);
  // Orders to processes come before anything else; they may be gone, which look() finds out.
  Event begin;
  begin.kind = EventKind::kBegin;
  const bool live = processes_live(job().state);
  const std::string found =
      live ? fmt::format("{} processes of start {} live", process_->processes().size(), job().starts) : "";
  if (!live && process_) end_job();  // remains of a start that was thought to have ended
  return give(begin, found);
}

Status Supervisor::look() {
  TS_TRY(watch_job());
  TS_TRY(watch_planner());
  TS_TRY(watch_nodes());
  TS_TRY(watch_notices());
  const std::optional<Time> timer = next_timer(state_.membership, setup_.policy);
  if (timer && *timer <= wall_time()) TS_TRY(give({}));
  return {};
}

Status Supervisor::give(const Event& event, const std::string& detail) {
  if (end_) return {};
  const JobState before = job().state;
  Transition next = advance(state_.membership, event, wall_time(), setup_.policy);
  const bool worth_keeping = !next.actions.empty() || before != next.state.job.state ||
                             (event.kind != EventKind::kTraining && event.kind != EventKind::kTimer);
  state_.membership = std::move(next.state);
  if (worth_keeping) TS_TRY(write_supervisor_state(state_path(setup_.state), state_));
  for (const Action& action : next.actions) {
    JournalEntry entry;
    entry.time = wall_time();
    entry.event =
        detail.empty() ? event_name(event.kind) : fmt::format("{}: {}", event_name(event.kind), detail);
    const int node = action.node >= 0 ? action.node : event.node;
    if (node >= 0) entry.node = state_.membership.nodes[static_cast<std::size_t>(node)].name;
    entry.action = action_name(action.kind);
    entry.why = action.why;
    entry.job = job_state_name(job().state);
    entry.saved_step = job().saved_step;
    TS_TRY(append_journal(setup_.state + "/journal.jsonl", entry));
    if (setup_.tell) setup_.tell(entry);
  }
  for (const Action& action : next.actions) TS_TRY(carry_out(action));
  return {};
}

Status Supervisor::carry_out(const Action& action) {
  const auto name = [&] { return state_.membership.nodes[static_cast<std::size_t>(action.node)].name; };
  switch (action.kind) {
    case ActionKind::kAskPlan: plans_.order(action.nodes); break;
    case ActionKind::kStart: return start_job();
    case ActionKind::kSave:
      // Open MPI answers SIGTERM by killing the ranks a second later; SIGUSR1 it passes on as it is.
      if (process_) process_->signal_launcher(SIGUSR1);
      break;
    case ActionKind::kEnd:
      if (process_) process_->end(setup_.mode != LaunchMode::kLocal);
      end_asked_ = now();
      break;
    case ActionKind::kProbe: probe_.ask_anew(name(), now()); break;
    case ActionKind::kOrderNode:
      if (!setup_.order.empty()) {
        Launch request;
        request.argv = command_for(setup_.order, name());
        request.output = setup_.state + "/orders.txt";
        request.own_session = true;
        static_cast<void>(TS_TRY(launch(request)));
      }
      break;
    case ActionKind::kNote: break;
    case ActionKind::kFinish:
      end_ = SupervisorEnd{job().state, action.why, process_ ? process_->log() : "", !refusal_.empty()};
      if (end_->refused) end_->why += "\n" + refusal_;
      break;
  }
  return {};
}

Status Supervisor::start_job() {
  process_ = process_of(job().starts);
  hang_.emplace(setup_.hang);
  seen_step_ = -1;
  ranks_gone_ = 0;
  const planner::Plan plan = TS_TRY(planner::read_plan(plans_.plan_path(job().plan->offered)));
  std::vector<std::string> program = setup_.train;
  program.insert(program.end(), {"--plan", process_->folder() + ".plan.json"});
  TS_TRY(planner::write_plan(plan, process_->folder() + ".plan.json"));
  const bool local = setup_.mode == LaunchMode::kLocal;
  const Environment environment = local ? local_mpi_environment(geteuid() == 0) : Environment();
  const Environment for_ranks = {{"TESSERA_HEARTBEAT_DIR", process_->heartbeats()}};
  TS_TRY(process_->start(launch_command(plan, setup_.mode, setup_.mpirun, program, for_ranks), environment,
                         local));
  std::error_code ignored;
  const JobProcess old = process_of(job().starts - kKeptStarts);
  fs::remove_all(old.folder(), ignored);
  fs::remove(old.folder() + ".plan.json", ignored);
  prepare_plans();
  return {};
}

/// A plan for every loss of one node, while the job runs.
void Supervisor::prepare_plans() {
  std::vector<NodeSet> sets;
  for (const int lost : job().plan->offered) {
    NodeSet rest = job().plan->offered;
    std::erase(rest, lost);
    if (!rest.empty()) sets.push_back(std::move(rest));
  }
  plans_.prepare(sets);
}

Status Supervisor::watch_job() {
  if (!processes_live(job().state)) return {};
  TS_TRY(watch_heartbeats());
  if (!processes_live(job().state)) return {};
  if (job().state == JobState::kStopping) {
    if (setup_.mode == LaunchMode::kLocal || now() > end_asked_ + kGentleEnd_s) process_->end(false);
    if (!process_->processes().empty()) return {};
    const std::optional<int> code = process_->exit_code();
    return job_has_ended(code == 0 ? code : std::nullopt);  // other codes are of our making
  }
  if (const std::optional<int> code = process_->exit_code()) return job_has_ended(code);
  if (!due("processes", kLookForProcesses_s)) return {};
  const std::vector<FoundProcess> processes = process_->processes();
  if (processes.empty()) return job_has_ended(process_->exit_code());
  const bool gone = setup_.mode == LaunchMode::kLocal && JobProcess::only_launchers(processes) &&
                    !read_heartbeats(process_->heartbeats()).empty();
  if (!gone) ranks_gone_ = 0;
  if (gone && ranks_gone_ == 0) ranks_gone_ = now();
  if (gone && now() > ranks_gone_ + kRanksGoneLimit_s) return job_has_ended(std::nullopt);
  return {};
}

Status Supervisor::watch_heartbeats() {
  const std::vector<Heartbeat> beats = read_heartbeats(process_->heartbeats());
  hang_->observe(beats, now());
  for (const Heartbeat& beat : beats) {
    if (beat.saved_step <= job().saved_step) continue;
    Event event;
    event.kind = EventKind::kSnapshot;
    event.step = beat.saved_step;
    TS_TRY(give(event));
  }
  for (const Heartbeat& beat : beats) {
    if (beat.state != RankState::kTraining || beat.step <= seen_step_) continue;
    seen_step_ = beat.step;
    Event event;
    event.kind = EventKind::kTraining;
    event.step_s = hang_->median_step_s();
    event.steps_left = beat.steps - beat.step;
    TS_TRY(give(event));
  }
  if (job().state == JobState::kStopping) return {};
  if (setup_.mode == LaunchMode::kLocal) {
    // mpirun takes seconds to end what is left. A rank that ends before it trains may have something to say
    // about its input, which the exit code tells.
    for (const Heartbeat& beat : beats) {
      const bool early = beat.state == RankState::kStarting || beat.state == RankState::kRestoring;
      if (early || beat.state == RankState::kDone || process_lives(beat.pid)) continue;
      Event event;
      event.kind = EventKind::kRankDied;
      event.node = node_number(beat.node);
      return give(event, fmt::format("rank {} (process {}) at step {}", beat.rank, beat.pid, beat.step));
    }
  }
  if (const std::optional<Hang> hang = hang_->hang(now())) {
    Event event;
    event.kind = EventKind::kRankHung;
    event.node = node_number(hang->last.node);
    return give(event, fmt::format("rank {} (process {}) {} at step {} silent for {:.1f} s, limit {:.1f} s",
                                   hang->last.rank, hang->last.pid, rank_state_name(hang->last.state),
                                   hang->last.step, hang->silent_s, hang->limit_s));
  }
  return {};
}

/// The launcher has ended, or nothing of the job is left; makes sure of the latter.
Status Supervisor::job_has_ended(std::optional<int> exit_code) {
  end_job();
  TS_TRY(watch_heartbeats());  // what was saved in the meantime
  TS_TRY(blame(exit_code));
  const std::vector<Heartbeat> beats = read_heartbeats(process_->heartbeats());
  const auto through = [](const Heartbeat& beat) { return beat.steps > 0 && beat.step >= beat.steps; };
  Event event;
  event.kind = EventKind::kJobEnded;
  if (exit_code == 0) {
    event.outcome = std::ranges::any_of(beats, through) ? Outcome::kCompleted : Outcome::kSaved;
  } else if (exit_code == kExitUserError || exit_code == kExitNoProgram) {
    event.outcome = Outcome::kWrongInput;
    refusal_ = complaint_in(tail_of(process_->log(), 20000));
  }
  Status given = give(
      event, exit_code ? fmt::format("exit code {}", *exit_code) : "ended by force, or its launcher is gone");
  refusal_.clear();
  return given;
}

/// Whose rank it was that ended the job, as far as the launcher's last words say.
Status Supervisor::blame(std::optional<int> exit_code) {
  if (!exit_code || *exit_code == 0 || *exit_code == kExitUserError || !job().plan) return {};
  Event event;
  event.kind = EventKind::kRankDied;
  const std::int64_t pid = first_dead_process(tail_of(process_->log(), 20000));
  for (const Heartbeat& beat : read_heartbeats(process_->heartbeats())) {
    if (pid == 0 || beat.pid != pid) continue;
    event.node = node_number(beat.node);
    return give(event, fmt::format("rank {} (process {})", beat.rank, pid));
  }
  if (setup_.mode == LaunchMode::kLocal) return {};
  // A machine may be gone: each is asked before the next start.
  for (const int node : NodeSet(job().plan->used)) {
    event.node = node;
    TS_TRY(give(event, "some rank or machine, unknown which"));
  }
  return {};
}

/// Until no process of the start is left.
void Supervisor::end_job() {
  while (!process_->processes().empty()) {
    process_->end(false);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process_->clean_up();
}

Status Supervisor::watch_planner() {
  const std::optional<PlanAnswer> answer = plans_.poll(now());
  if (!answer) return {};
  Event event;
  event.kind = answer->plan ? EventKind::kPlanReady : EventKind::kNoPlan;
  event.plan = answer->plan.value_or(PlanChoice{answer->offered, {}, 0});
  refusal_ = complaint_in(answer->problem);
  Status given = give(event, answer->plan ? fmt::format("step of {:.3g} s expected", answer->plan->step_s)
                                          : refusal_.substr(0, refusal_.find('\n')));
  refusal_.clear();
  return given;
}

/// Probes what is not in order; where nodes are other machines, all of them.
Status Supervisor::watch_nodes() {
  if (due("nodes", setup_.probe_interval_s)) {
    for (const Node& node : state_.membership.nodes) {
      const bool away = node.state == NodeState::kLost || node.state == NodeState::kSuspected ||
                        (node.state == NodeState::kOnDemand && node.ordered);
      const bool here = node.state == NodeState::kHealthy || node.state == NodeState::kReturning ||
                        node.state == NodeState::kSpare;
      if (probe_.has_command() && (away || here)) probe_.ask(node.name, now());
    }
  }
  for (const auto& [name, lives] : probe_.poll(now())) {
    const int n = node_number(name);
    if (n < 0) continue;
    Event event;
    event.node = n;
    event.kind = lives ? EventKind::kNodeSeen : EventKind::kNodeSilent;
    int& misses = misses_[name];
    misses = lives ? 0 : misses + 1;
    const NodeState state = state_.membership.nodes[static_cast<std::size_t>(n)].state;
    const bool of_news =
        lives ? state == NodeState::kSuspected || state == NodeState::kLost || state == NodeState::kOnDemand
              : misses >= kMisses;
    if (of_news) TS_TRY(give(event, lives ? "" : fmt::format("{} probes without an answer", misses)));
    // Between misses, and while a restart waits for it, a node is asked again at once.
    if (!lives && (misses < kMisses || state == NodeState::kSuspected)) probe_.ask(name, now());
  }
  return {};
}

Status Supervisor::watch_notices() {
  if (metadata_.valid() && metadata_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
    const Result<std::optional<Time>> answer = metadata_.get();
    for (std::size_t n = 0; n < state_.membership.nodes.size() && answer.ok() && answer.value(); ++n) {
      const bool meant = setup_.own_node.empty() || setup_.own_node == state_.membership.nodes[n].name;
      const bool known = state_.membership.nodes[n].state == NodeState::kDraining;
      if (meant && !known) TS_TRY(notice(static_cast<int>(n), answer.value()));
    }
  }
  if (setup_.metadata.cloud != Cloud::kNone && !metadata_.valid() &&
      due("metadata", setup_.notice_interval_s)) {
    metadata_ = std::async(std::launch::async, ask_for_notice, setup_.metadata, wall_time());
  }
  if (!due("notices", kLookForNotices_s)) return {};
  for (const auto& [name, what] : read_notices(setup_.state)) {
    const int n = node_number(name);
    if (n >= 0) TS_TRY(notice(n, what));
    forget_notice(setup_.state, name);
  }
  return {};
}

Status Supervisor::notice(int node, NodeNotice notice) {
  Event event;
  event.node = node;
  event.kind = notice ? EventKind::kNotice : EventKind::kNodeSeen;
  event.until = notice.value_or(Time{});
  return give(event);
}

JobProcess Supervisor::process_of(std::int64_t start) const {
  return {fmt::format("{}/start-{:04}", setup_.state, start), fmt::format("{}-{}", state_.run, start)};
}

int Supervisor::node_number(const std::string& name) const {
  const auto& nodes = state_.membership.nodes;
  const auto at = std::ranges::find(nodes, name, &Node::name);
  return at == nodes.end() ? -1 : static_cast<int>(at - nodes.begin());
}

bool Supervisor::due(const char* what, double interval) {
  double& next = due_[what];
  if (now() < next) return false;
  next = now() + interval;
  return true;
}

}  // namespace tessera::recovery
