#include "runtime/train/train_loop.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <climits>
#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "kernels/device/thread_pool.h"
#include "runtime/comm/collectives.h"
#include "runtime/model/hf_checkpoint.h"
#include "runtime/parallel/rank_placement.h"
#include "runtime/train/agree.h"
#include "runtime/train/atom_layout.h"
#include "runtime/train/heartbeat.h"
#include "runtime/train/job_plan.h"
#include "runtime/train/job_recovery.h"
#include "runtime/train/machine_memory.h"
#include "runtime/train/token_files.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using planner::TrainSpec;

/// Where the run writes; empty: not at all.
struct Outputs {
  std::string checkpoints;
  std::string model;
  std::string metrics;
  std::string tensorboard;
  std::string trace;
};

Outputs outputs_of(const TrainSpec& spec) {
  const auto path = [&](const std::string& given, const char* name) {
    return given.empty() ? spec.out + "/" + name : given == "none" ? "" : given;
  };
  return {path(spec.checkpoint_dir, "checkpoints"), path(spec.export_dir, "export"),
          path(spec.metrics_file, "metrics.jsonl"), path(spec.tensorboard_dir, "tensorboard"),
          path(spec.trace_file, "trace.json")};
}

/// The checkpoints to try, best first; empty: start at step 0.
Result<std::vector<std::string>> resume_candidates(const TrainSpec& spec, const std::string& root) {
  if (spec.resume == "never") return std::vector<std::string>();
  const bool by_name = spec.resume != "auto" && spec.resume != "latest";
  if (by_name) return std::vector<std::string>{spec.resume};
  const std::vector<CheckpointEntry> entries = list_checkpoints(root);
  if (entries.empty()) {
    if (spec.resume == "auto" || keeps_snapshots(spec)) return std::vector<std::string>();
    return bad_input({"--resume", "resume", fmt::format("no checkpoint in {}", root),
                      "a checkpoint to go on from",
                      "check --out or --checkpoint-dir, or start with --resume auto"});
  }
  if (spec.resume_fallback == "off") return std::vector<std::string>{entries.front().directory};
  std::vector<std::string> sound;
  for (const CheckpointEntry& entry : entries) {
    if (entry.complete.ok()) sound.push_back(entry.directory);
  }
  if (sound.empty()) return entries.front().complete;
  return sound;
}

/// Nothing an earlier run left may be lost by accident.
Status check_outputs(const TrainSpec& spec, const Outputs& outputs, bool resuming) {
  if (resuming || spec.overwrite == "on") return {};
  const auto occupied = [](const std::string& what, const std::string& path) {
    return bad_input(
        {path, what, "the results of an earlier run", "an output directory without them",
         "go on with --resume latest, choose another --out, or replace them with --overwrite on"});
  };
  if (!list_checkpoints(outputs.checkpoints).empty()) return occupied("checkpoint_dir", outputs.checkpoints);
  std::error_code ignored;
  if (!outputs.model.empty() && fs::exists(outputs.model, ignored))
    return occupied("export_dir", outputs.model);
  if (!outputs.metrics.empty() && fs::is_regular_file(outputs.metrics, ignored)) {
    return occupied("metrics_file", outputs.metrics);
  }
  return {};
}

Status make_directory(const std::string& path) {
  std::error_code error;
  if (!path.empty()) fs::create_directories(path, error);
  if (!error) return {};
  return bad_input({path, "", error.message(), "a directory that can be created", "check --out"});
}

/// Rank 0, before the first step: the places the run writes to.
Status open_outputs(const TrainSpec& spec, const Outputs& outputs, bool resuming) {
  TS_TRY(make_directory(spec.out));
  TS_TRY(make_directory(outputs.checkpoints));
  TS_TRY(make_directory(outputs.tensorboard));
  TS_TRY(make_directory(fs::path(outputs.metrics).parent_path()));
  if (!resuming) {
    TS_TRY(remove_checkpoints(outputs.checkpoints));
    std::error_code ignored;
    if (!outputs.tensorboard.empty()) {
      for (const auto& item : fs::directory_iterator(outputs.tensorboard, ignored)) {
        const std::string name = item.path().filename().string();
        if (name.starts_with("events.out.tfevents.") && name.find(".tessera.") != std::string::npos) {
          std::error_code error;
          fs::remove(item.path(), error);
        }
      }
    }
  }
  return write_durably(spec.out + "/train.json", planner::to_train_json(spec));
}

std::string describe(const TrainInputs& inputs, const Trainer& trainer, int ranks, double entropy) {
  const planner::ModelSpec& m = inputs.model;
  const planner::Plan& plan = inputs.plan;
  std::string mesh = to_string(plan.context);
  if (inputs.spec.plan.empty() && inputs.spec.mesh == "auto") mesh += " (auto)";
  std::string stages;
  for (const planner::DeviceGroup& group : plan.groups) {
    stages += fmt::format("{}{}", stages.empty() ? "" : "+", group.stages.size());
  }
  const bool layered = plan.max_stages() > 1 || plan.tensor_parallel > 1;
  const std::string cells =
      layered ? fmt::format(", stages {}, {} tensor", stages, plan.tensor_parallel) : std::string();
  return fmt::format(
      "model: {:.2f} M parameters, {} layers, width {}, {} heads, {} key/value heads, vocabulary {}\n"
      "tokens: {}, {} to train on, {} held out; unigram entropy {:.4f} nats\n"
      "ranks: {}: {} data, {} context{}; mesh {}, {}; {} sequences of {} tokens per step",
      static_cast<double>(trainer.full_layout().total()) / 1e6, m.layers, m.hidden_size, m.heads, m.kv_heads,
      m.vocab_size, inputs.tokens->description(), inputs.train_end,
      inputs.tokens->tokens() - inputs.train_end, entropy, ranks, plan.groups.size(), inputs.context_ranks(),
      cells, mesh, inputs.spec.layout, inputs.spec.global_batch, inputs.spec.sequence_length);
}

class Run {
 public:
  Run(Communicator& world, const TrainInputs& inputs, Trainer& trainer, Console console, const Clock& clock)
      : world_(world),
        inputs_(inputs),
        spec_(inputs.spec),
        trainer_(trainer),
        console_(std::move(console)),
        clock_(clock),
        outputs_(outputs_of(spec_)),
        heart_(world.rank().value, spec_.steps) {
    trainer_.observe_micro_batches([this](std::int64_t micro) {
      heart_.micro_batch(micro);
      if (recovery_) recovery_->poll();
    });
  }

  Result<RunReport> run() {
    TS_TRY(begin());
    TS_TRY(train());
    TS_TRY(finish());
    return report_;
  }

 private:
  [[nodiscard]] bool first() const { return world_.rank() == Rank(0); }
  void say(const std::string& line) {
    if (first()) log_->say(line);
  }

  /// The checkpoints to try, as rank 0 sees them.
  Result<std::vector<std::string>> agree_on_candidates() {
    const Result<std::vector<std::string>> mine =
        first() ? resume_candidates(spec_, outputs_.checkpoints) : std::vector<std::string>();
    TS_TRY(agree(world_, mine.ok() ? Status() : mine.status()));
    const std::string joined = first() ? fmt::format("{}", fmt::join(mine.value(), "\n")) : "";
    const auto texts = all_gather_bytes(world_, as_bytes(joined.data(), std::ssize(joined)));
    const std::string text(reinterpret_cast<const char*>(texts[0].data()), texts[0].size());
    std::vector<std::string> candidates;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      candidates.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return candidates;
  }

  /// Whether the state of a snapshot, of `least_step` at the least, is in the trainer; what happened goes to
  /// the notes.
  Result<bool> restore_snapshot(std::int64_t least_step) {
    const Status status = recovery_->restore(least_step);
    for (const std::string& line : recovery_->lines()) notes_ += line + "\n";
    if (status.ok()) {
      resumed_from_ = "snapshots";
      return true;
    }
    if (status.code() != Code::kNotFound && status.code() != Code::kDataLoss) return status;
    if (status.code() == Code::kDataLoss) {
      notes_ += fmt::format("warning: no snapshot could be restored: {}\n", status.message());
    }
    return false;
  }

  /// Snapshots first, unless a checkpoint is newer or named; a damaged one falls to the next.
  Status resume() {
    const std::vector<std::string> candidates = TS_TRY(agree_on_candidates());
    const bool snapshots = recovery_ && (spec_.resume == "auto" || spec_.resume == "latest");
    if (!candidates.empty() || snapshots) heart_.enter(recovery::RankState::kRestoring);
    if (snapshots) {
      std::int64_t newest = 0;
      if (first() && !candidates.empty()) {
        const auto manifest = read_checkpoint_manifest(candidates.front());
        if (manifest.ok()) newest = manifest.value().meta.step;
      }
      broadcast(world_, as_writable_bytes(&newest, 1), Rank(0), Traffic::kControl);
      if (TS_TRY(restore_snapshot(newest))) return {};
    }
    for (const std::string& candidate : candidates) {
      const Status status = trainer_.load(candidate);
      if (status.ok()) {
        resumed_from_ = candidate;
        return {};
      }
      const bool last = candidate == candidates.back();
      if (status.code() != Code::kDataLoss || (last && !snapshots)) return status;
      notes_ += fmt::format("warning: passed over a damaged checkpoint:\n{}\n", status.message());
      if (last && !TS_TRY(restore_snapshot(0))) return status;
    }
    if (!snapshots) return {};
    if (spec_.resume == "latest") {
      return bad_input({"--resume", "resume", "neither a checkpoint nor a whole snapshot",
                        "a state to go on from",
                        "check --out and the --recovery flags, or start with --resume auto"});
    }
    return agree(world_, trainer_.start_over());  // a restore that failed may have left pieces
  }

  /// Snapshots of an earlier run with this job's name must not be taken for this one's.
  Status make_room_for_snapshots() {
    if (!recovery_ || spec_.resume != "never" || !TS_TRY(recovery_->holds_anything())) return {};
    if (spec_.overwrite == "on") return recovery_->remove_all();
    return bad_input(
        {"--resume", "resume", "snapshots of an earlier run of this job", "none of this job",
         "go on with --resume auto, give another --recovery-job, or remove them with --overwrite "
         "on"});
  }

  Status begin() {
    if (keeps_snapshots(spec_)) recovery_ = TS_TRY(JobRecovery::make(world_, inputs_, trainer_, clock_));
    TS_TRY(resume());
    const bool resuming = !resumed_from_.empty();
    // A job that may go on from nothing, killed before its first snapshot, finds its own files.
    const bool own_outputs = resuming || (recovery_ && spec_.resume == "auto");
    TS_TRY(agree(world_, first() ? check_outputs(spec_, outputs_, own_outputs) : Status()));
    TS_TRY(make_room_for_snapshots());
    TS_TRY(agree(world_, first() ? open_outputs(spec_, outputs_, resuming) : Status()));
    Status opened;
    if (first()) {
      report_.unigram_entropy = unigram_entropy(*inputs_.tokens, 0, inputs_.train_end);
      Result<RunLog> log = RunLog::make(inputs_, trainer_.full_layout().total(), console_, outputs_.metrics,
                                        outputs_.tensorboard, trainer_.steps_done());
      if (log.ok()) {
        log_.emplace(std::move(log).value());
        log_->say(describe(inputs_, trainer_, world_.size(), report_.unigram_entropy));
        if (!inputs_.mesh_choice.empty()) log_->say(inputs_.mesh_choice);
        log_->say(fmt::format("memory of rank 0, estimated: {}", to_text(trainer_.memory())));
        if (!notes_.empty()) log_->say(notes_);
        if (resuming) {
          log_->say(fmt::format("resumed after step {} from {}", trainer_.steps_done(), resumed_from_));
        }
      } else {
        opened = log.status();
      }
    }
    saved_step_ = resuming ? trainer_.steps_done() : -1;
    TS_TRY(agree(world_, opened));
    if (recovery_) begin_snapshots();
    heart_.resumed(trainer_.steps_done(), saved_step_);
    return {};
  }

  void begin_snapshots() {
    const std::string placement = recovery_->begin();
    trainer_.ask_ranks([this] { return recovery_->settled(); });
    if (!first()) return;
    const RestoreSummary& restored = recovery_->restored();
    if (restored.restored) {
      log_->restored(restored);
      log_->say(fmt::format("state hash {:016x}, as saved and as the ranks hold it", restored.state_hash));
    }
    log_->say(placement);
  }

  void report_snapshot(const SnapshotResult& result) {
    if (first()) log_->snapshot(result);
    if (result.status.ok()) heart_.saved(result.step);
  }

  Status train() {
    barrier(world_);  // rank 0 may have read the text meanwhile
    const Nanoseconds begin = clock_.now();
    const std::int64_t first_step = trainer_.steps_done();
    std::int64_t labels = 0;
    double step_seconds = 0;
    while (trainer_.steps_done() < spec_.steps) {
      const bool traced = trainer_.steps_done() + 1 == spec_.trace_step;
      if (traced) trainer_.trace_next_step();
      const StepResult step = trainer_.step();
      heart_.step_done(step.step, step.seconds);
      labels += step.labels;
      step_seconds += step.seconds;
      report_.loss = step.loss;
      if (first()) log_->step(step);
      if (traced) write_trace();
      if (recovery_ && !step.stop) {
        recovery_->step_done(step, [this](const SnapshotResult& result) { report_snapshot(result); });
      }
      if (step.stop) {
        report_.stopped_by_signal = true;
        say(fmt::format("asked to stop: saving after step {}", step.step));
        break;
      }
      const bool last = step.step == spec_.steps;
      if (spec_.eval_interval > 0 && (last || step.step % spec_.eval_interval == 0)) evaluate();
      if (!last && spec_.checkpoint_interval > 0 && step.step % spec_.checkpoint_interval == 0) {
        const Status status = save();
        if (!status.ok()) {
          say(fmt::format("warning: no checkpoint after step {}, training goes on: {}", step.step,
                          status.message()));
        }
      }
    }
    report_.steps = trainer_.steps_done() - first_step;
    report_.last_step = trainer_.steps_done();
    report_.seconds = seconds(clock_.now() - begin);
    report_.tokens_per_s = step_seconds > 0 ? static_cast<double>(labels) / step_seconds : 0;
    report_.step_s = report_.steps > 0 ? step_seconds / static_cast<double>(report_.steps) : 0;
    if (recovery_) finish_snapshots();
    return {};
  }

  /// Before anything else that takes time: a preempted node has little.
  void finish_snapshots() {
    heart_.enter(recovery::RankState::kSaving);
    recovery_->finish([this](const SnapshotResult& result) { report_snapshot(result); });
    report_.recovery = true;
    report_.restored = recovery_->restored();
    report_.snapshots = recovery_->totals();
    if (report_.stopped_by_signal && report_.snapshots.last_step == trainer_.steps_done()) {
      say(fmt::format("the state after step {} is in the snapshots, hash {:016x}",
                      report_.snapshots.last_step, report_.snapshots.last_hash));
    }
  }

  Status finish() {
    if (trainer_.steps_done() > saved_step_) {
      const Status status = save();
      if (!status.ok())
        return {status.code(), fmt::format("the last checkpoint could not be saved: {}", status.message())};
    }
    if (!report_.stopped_by_signal && !outputs_.model.empty()) {
      kernels::Buffer<float> memory;
      const std::span<const float> parameters = trainer_.gather_parameters(memory);
      Status status;
      if (first()) {
        status = write_hf_directory(outputs_.model, inputs_.model, trainer_.full_layout(), parameters.data(),
                                    {.overwrite = spec_.overwrite == "on" || !resumed_from_.empty(),
                                     .tokenizer_from = inputs_.weights_directory});
      }
      TS_TRY(agree(world_, status));
      say(fmt::format("exported to {}", outputs_.model));
    }
    report_.mesh = to_string(inputs_.plan.context);
    report_.layout = spec_.layout;
    report_.data_parallel = static_cast<int>(inputs_.plan.groups.size());
    report_.stages = inputs_.plan.max_stages();
    report_.tensor_parallel = inputs_.plan.tensor_parallel;
    heart_.enter(recovery::RankState::kDone);
    RankReport mine = make_rank_report(world_, trainer_, report_.steps);
    if (recovery_) mine.estimated_memory_bytes += recovery_->memory_bytes();
    report_.ranks = gather_reports(world_, mine);
    if (first()) {
      const Status status = write_durably(spec_.out + "/report.json", to_json(report_));
      if (!status.ok()) log_->say(fmt::format("warning: {}", status.message()));
      log_->say(fmt::format("\n{}", to_text(report_)));
    }
    return {};
  }

  void evaluate() {
    heart_.enter(recovery::RankState::kEvaluating);
    report_.eval = trainer_.evaluate();
    if (first()) log_->evaluation(trainer_.steps_done(), report_.eval);
  }

  Status save() {
    heart_.enter(recovery::RankState::kSaving);
    TS_TRY(trainer_.save(outputs_.checkpoints, spec_.checkpoint_keep));
    saved_step_ = trainer_.steps_done();
    heart_.saved(saved_step_);
    say(fmt::format("saved the state after step {} in {}", saved_step_, outputs_.checkpoints));
    return {};
  }

  void write_trace() {
    const std::string mine = trainer_.trace().events_json(world_.rank().value);
    std::vector<std::string> pieces;
    for (const auto& bytes : all_gather_bytes(world_, as_bytes(mine.data(), std::ssize(mine)))) {
      pieces.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    if (!first()) return;
    const Status status = write_durably(outputs_.trace, chrome_trace(pieces));
    say(status.ok() ? fmt::format("trace of step {} in {}", trainer_.steps_done(), outputs_.trace)
                    : fmt::format("warning: no trace: {}", status.message()));
  }

  Communicator& world_;
  const TrainInputs& inputs_;
  const TrainSpec& spec_;
  Trainer& trainer_;
  Console console_;
  const Clock& clock_;
  Outputs outputs_;
  Heart heart_;
  std::optional<RunLog> log_;              // rank 0
  std::unique_ptr<JobRecovery> recovery_;  // null: no snapshots
  std::string notes_;                      // of resuming, until there is a log
  std::string resumed_from_;
  std::int64_t saved_step_ = -1;
  RunReport report_;
};

}  // namespace

namespace {

std::string own_host() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// An entry per rank.
std::vector<std::string> gather_hosts(Communicator& launched) {
  const std::string mine = own_host();
  std::vector<std::string> hosts;
  for (const auto& bytes : all_gather_bytes(launched, as_bytes(mine.data(), std::ssize(mine)))) {
    hosts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return hosts;
}

/// The ranks in the plan's order; null where they are in it already. By the names of nodes, or, where those
/// are not the plan's, by the machines.
Result<std::unique_ptr<Communicator>> place_on_nodes(Communicator& launched, const planner::Plan& plan,
                                                     const std::vector<std::string>& nodes,
                                                     const std::string& file) {
  if (file.empty()) return std::unique_ptr<Communicator>();  // flags: ranks in the launcher's order
  const std::vector<std::string> hosts = gather_hosts(launched);
  Result<std::vector<int>> ranks = place_ranks(plan, nodes, file);
  if (!ranks.ok()) ranks = place_ranks(plan, hosts, file);
  TS_TRY(Status(ranks.status()));
  if (std::ranges::is_sorted(ranks.value())) return std::unique_ptr<Communicator>();
  return launched.split(0, ranks.value()[static_cast<std::size_t>(launched.rank().value)]);
}

/// Refuses what the ranks of a machine could not hold, before anything of it is allocated.
Status check_machines(Communicator& world, const TrainInputs& inputs, const std::vector<std::string>& hosts,
                      const std::vector<std::string>& nodes) {
  if (inputs.spec.memory_check == "off") return {};
  const std::array<std::int64_t, 2> mine = {
      Trainer::memory(inputs, world.rank()).total() + Snapshotter::memory(inputs, nodes, world.rank()),
      machine_memory()};
  std::vector<RankMemory> ranks;
  for (const auto& bytes : all_gather_bytes(world, as_bytes(mine.data(), std::ssize(mine)))) {
    std::array<std::int64_t, 2> theirs{};
    std::memcpy(theirs.data(), bytes.data(), sizeof(theirs));
    ranks.push_back({hosts[ranks.size()], theirs[0], theirs[1]});
  }
  return check_memory(ranks);
}

}  // namespace

Result<RunReport> train(Communicator& launched, const planner::TrainSpec& spec, const Console& console,
                        const Clock& clock) {
  launched.set_deadline(std::chrono::milliseconds(static_cast<std::int64_t>(spec.deadline * 1000)));
  launched.set_busy_wait(spec.busy_wait == "on");
  const std::vector<std::string> nodes = gather_nodes(launched, spec);
  const Result<TrainInputs> inputs = load_train_inputs(spec, launched.size(), uniform_ranks_per_node(nodes));
  TS_TRY(agree(launched, inputs.ok() ? Status() : inputs.status()));
  const std::unique_ptr<Communicator> placed =
      TS_TRY(place_on_nodes(launched, inputs.value().plan, nodes, spec.plan));
  Communicator& world = placed ? *placed : launched;
  if (keeps_snapshots(spec)) TS_TRY(check_atom_slices(inputs.value().model, inputs.value().plan));
  TS_TRY(check_machines(world, inputs.value(), gather_hosts(world), gather_nodes(world, spec)));

  kernels::ThreadPool pool(static_cast<int>(spec.threads));
  const kernels::ScopedPool installed(pool);
  const auto trainer = TS_TRY(Trainer::make(world, inputs.value(), clock));
  return Run(world, inputs.value(), *trainer, console, clock).run();
}

}  // namespace tessera::runtime
