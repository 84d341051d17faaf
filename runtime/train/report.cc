#include "runtime/train/report.h"

#include <cstring>
#include <map>
#include <type_traits>
#include <unistd.h>
#include <xxhash.h>

#include <climits>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/require.h"
#include "runtime/comm/collectives.h"
#include "runtime/train/machine_memory.h"

namespace tessera::runtime {
namespace {

static_assert(std::is_trivially_copyable_v<RankReport>);

constexpr double kMega = 1e6;

constexpr std::array kAttentionKinds = {Traffic::kQuery,     Traffic::kKeyValue,     Traffic::kPartialOut,
                                        Traffic::kQueryGrad, Traffic::kKeyValueGrad, Traffic::kHeadExchange};

std::size_t slot(Traffic kind) { return static_cast<std::size_t>(kind); }
double megabytes(std::int64_t bytes) { return static_cast<double>(bytes) / kMega; }

std::int64_t attention_sum(const RunReport& report, std::int64_t (RunReport::*bytes)(Traffic) const) {
  std::int64_t sum = 0;
  for (const Traffic kind : kAttentionKinds) sum += (report.*bytes)(kind);
  return sum;
}

/// What a formula of the step says something about.
bool has_formula(Traffic kind) { return kind != Traffic::kControl && kind != Traffic::kRecovery; }

/// What snapshots and the restore cost.
std::string recovery_text(const RunReport& report) {
  std::string out;
  const RestoreSummary& restored = report.restored;
  if (restored.restored) {
    out += fmt::format(
        "restored the state of step {} in {:.2f} s, {} rounds: {}; planned {:.3f} s, bound {:.3f} s\n",
        restored.step, restored.seconds, restored.rounds, recovery::to_string(restored.bytes),
        restored.makespan_s, restored.lower_bound_s);
  }
  const SnapshotTotals& snapshots = report.snapshots;
  out += fmt::format("snapshots: {} taken, {} failed, {} put off", snapshots.taken, snapshots.failed,
                     snapshots.skipped);
  if (snapshots.taken > 0 && report.step_s > 0) {
    const double stall_s = snapshots.stall_s / static_cast<double>(snapshots.taken);
    out +=
        fmt::format("; training stood still for {:.1f} ms each, {:.1f} % of a step (the longest {:.1f} ms)",
                    1e3 * stall_s, 100 * stall_s / report.step_s, 1e3 * snapshots.longest_stall_s);
  }
  if (snapshots.last_step >= 0) {
    out += fmt::format("; newest whole one: step {}, state hash {:016x}", snapshots.last_step,
                       snapshots.last_hash);
  }
  return out + "\n";
}

nlohmann::ordered_json recovery_json(const RunReport& report) {
  const SnapshotTotals& snapshots = report.snapshots;
  nlohmann::ordered_json object = {{"snapshots",
                                    {{"taken", snapshots.taken},
                                     {"failed", snapshots.failed},
                                     {"put_off", snapshots.skipped},
                                     {"stall_s", snapshots.stall_s},
                                     {"longest_stall_s", snapshots.longest_stall_s},
                                     {"kept_bytes", snapshots.kept_bytes},
                                     {"sent_bytes", snapshots.sent_bytes},
                                     {"last_step", snapshots.last_step},
                                     {"state_hash", fmt::format("{:016x}", snapshots.last_hash)}}}};
  if (report.restored.restored) object["restored"] = nlohmann::ordered_json::parse(to_json(report.restored));
  return object;
}

/// Differs between processes, also of several machines.
std::int64_t own_process() {
  std::array<char, HOST_NAME_MAX + 1> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string text = fmt::format("{} {}", host.data(), getpid());
  return static_cast<std::int64_t>(XXH64(text.data(), text.size(), 0));
}

std::int64_t ring_sum(const RunReport& report) {
  std::int64_t sum = 0;
  for (const RankReport& rank : report.ranks) sum += rank.ring_attention;
  return sum;
}

}  // namespace

std::int64_t RunReport::sent(Traffic kind) const {
  std::int64_t sum = 0;
  for (const RankReport& rank : ranks) sum += rank.sent[slot(kind)];
  return sum;
}

std::int64_t RunReport::predicted(Traffic kind) const {
  std::int64_t sum = 0;
  for (const RankReport& rank : ranks) sum += rank.predicted[slot(kind)];
  return sum;
}

RunReport::Memory RunReport::memory() const {
  std::map<std::int64_t, Memory> processes;
  for (const RankReport& rank : ranks) {
    Memory& process = processes[rank.process];
    process.estimated += rank.estimated_memory_bytes;
    process.allocated = rank.peak_memory_bytes;
    process.resident = rank.resident_bytes;
  }
  Memory most;
  for (const auto& [id, process] : processes) {
    if (process.allocated > most.allocated) most = process;
  }
  return most;
}

RankReport make_rank_report(Communicator& world, const Trainer& trainer, std::int64_t steps) {
  RankReport report;
  for (int k = 0; k < kTrafficKinds; ++k) {
    report.sent[static_cast<std::size_t>(k)] = world.traffic().by_kind(static_cast<Traffic>(k)).bytes_sent;
  }
  const AttentionTotals& totals = trainer.attention().totals();
  const AttentionVolume& forward = totals.forward_volume;
  const AttentionVolume& backward = totals.backward_volume;
  const auto predict = [&](Traffic kind, std::int64_t bytes) { report.predicted[slot(kind)] += bytes; };
  predict(Traffic::kQuery, forward.query_sent + backward.query_sent);
  predict(Traffic::kKeyValue, forward.key_value_sent + backward.key_value_sent);
  predict(Traffic::kPartialOut, forward.partial_sent);
  predict(Traffic::kQueryGrad, backward.partial_sent);
  predict(Traffic::kKeyValueGrad, backward.key_value_grad_sent);
  predict(Traffic::kHeadExchange, forward.head_exchange_sent + backward.head_exchange_sent);
  const PipelineVolume pipeline = trainer.pipeline().volume();
  predict(Traffic::kPipeline, pipeline.pipeline);
  predict(Traffic::kTensor, pipeline.tensor + steps * trainer.optimizer_bytes().tensor);
  predict(Traffic::kGradient, steps * trainer.optimizer_bytes().gradient);
  predict(Traffic::kParameter, steps * trainer.optimizer_bytes().parameter);
  report.ring_attention = totals.ring_sent;

  report.attention_compute_s = totals.forward.compute_s + totals.backward.compute_s;
  report.attention_exposed_wait_s = totals.forward.exposed_wait_s + totals.backward.exposed_wait_s;
  report.attention_transfer_s = totals.forward.transfer_s + totals.backward.transfer_s;
  report.gradient_wait_s = trainer.synchronisation_wait_s();
  report.estimated_memory_bytes = trainer.memory().total();
  report.peak_memory_bytes = kernels::host_memory_use().peak_bytes;
  report.resident_bytes = peak_resident_bytes();
  report.process = own_process();
  return report;
}

std::vector<RankReport> gather_reports(Communicator& world, const RankReport& mine) {
  std::vector<RankReport> reports;
  for (const auto& bytes : all_gather_bytes(world, as_bytes(&mine, 1))) {
    TS_REQUIRE(bytes.size() == sizeof(RankReport), bytes.size());
    std::memcpy(&reports.emplace_back(), bytes.data(), sizeof(RankReport));
  }
  return reports;
}

std::string to_text(const RunReport& report) {
  const bool layered = report.stages > 1 || report.tensor_parallel > 1;
  const std::string cells =
      layered ? fmt::format(", {} stages, {} tensor", report.stages, report.tensor_parallel) : std::string();
  std::string out =
      fmt::format("{} steps in {:.1f} s, {:.0f} tokens/s, on {} ranks (data {} x mesh {}, {}{})\n",
                  report.steps, report.seconds, report.tokens_per_s, report.ranks.size(),
                  report.data_parallel, report.mesh, report.layout, cells);
  if (report.steps > 0) out += fmt::format("loss of step {}: {:.4f}\n", report.last_step, report.loss);
  if (report.eval.sequences > 0) {
    out += fmt::format("held-out text: loss {:.4f}, perplexity {:.3f}; unigram entropy of the text {:.4f}\n",
                       report.eval.loss, report.eval.perplexity(), report.unigram_entropy);
  }
  const RunReport::Memory memory = report.memory();
  if (memory.allocated > 0) {
    out += fmt::format(
        "memory of the largest process: estimated {:.1f} MB, allocated {:.1f} MB ({:+.1f} %), "
        "resident {:.1f} MB\n",
        megabytes(memory.estimated), megabytes(memory.allocated),
        100 * (static_cast<double>(memory.estimated) / static_cast<double>(memory.allocated) - 1),
        megabytes(memory.resident));
  }
  if (report.recovery) out += recovery_text(report);
  if (report.ranks.size() <= 1) return out;

  out += fmt::format("\n{:<16}{:>16}{:>16}{:>12}\n", "MB sent, all", "measured", "formula", "difference");
  for (int k = 0; k < kTrafficKinds; ++k) {
    const auto kind = static_cast<Traffic>(k);
    const std::int64_t sent = report.sent(kind);
    const std::int64_t predicted = report.predicted(kind);
    if (sent == 0 && predicted == 0) continue;
    if (!has_formula(kind)) {
      out += fmt::format("{:<16}{:>16.3f}{:>16}\n", traffic_name(kind), megabytes(sent), "-");
    } else {
      out += fmt::format("{:<16}{:>16.3f}{:>16.3f}{:>12}\n", traffic_name(kind), megabytes(sent),
                         megabytes(predicted), sent - predicted);
    }
  }
  const std::int64_t attention = attention_sum(report, &RunReport::sent);
  const std::int64_t ring = ring_sum(report);
  if (ring > 0) {
    out +=
        fmt::format("attention        {:.3f} MB; Ring-Attention on the same ranks {:.3f} MB: {:.1f} % {}\n",
                    megabytes(attention), megabytes(ring),
                    100 * std::abs(1 - static_cast<double>(attention) / static_cast<double>(ring)),
                    attention <= ring ? "less" : "more");
  }
  out += fmt::format("\n{:<6}{:>20}{:>20}{:>20}{:>18}{:>14}\n", "rank", "attention compute s",
                     "exposed wait s", "transfers s", "gradient wait s", "peak MB");
  for (std::size_t r = 0; r < report.ranks.size(); ++r) {
    const RankReport& rank = report.ranks[r];
    out += fmt::format("{:<6}{:>20.3f}{:>20.3f}{:>20.3f}{:>18.3f}{:>14.1f}\n", r, rank.attention_compute_s,
                       rank.attention_exposed_wait_s, rank.attention_transfer_s, rank.gradient_wait_s,
                       megabytes(rank.peak_memory_bytes));
  }
  return out;
}

std::string to_json(const RunReport& report) {
  using nlohmann::ordered_json;
  ordered_json traffic = ordered_json::object();
  for (int k = 0; k < kTrafficKinds; ++k) {
    const auto kind = static_cast<Traffic>(k);
    ordered_json entry = {{"bytes_sent", report.sent(kind)}};
    if (has_formula(kind)) entry["bytes_by_formula"] = report.predicted(kind);
    traffic[std::string(traffic_name(kind))] = entry;
  }
  ordered_json ranks = ordered_json::array();
  for (const RankReport& rank : report.ranks) {
    ranks.push_back({{"attention_compute_s", rank.attention_compute_s},
                     {"attention_exposed_wait_s", rank.attention_exposed_wait_s},
                     {"attention_transfer_s", rank.attention_transfer_s},
                     {"gradient_wait_s", rank.gradient_wait_s},
                     {"estimated_memory_bytes", rank.estimated_memory_bytes},
                     {"peak_memory_bytes", rank.peak_memory_bytes},
                     {"resident_bytes", rank.resident_bytes}});
  }
  ordered_json object = {{"mesh", report.mesh},
                         {"layout", report.layout},
                         {"data_parallel", report.data_parallel},
                         {"pipeline_stages", report.stages},
                         {"tensor_parallel", report.tensor_parallel},
                         {"steps", report.steps},
                         {"last_step", report.last_step},
                         {"seconds", report.seconds},
                         {"tokens_per_s", report.tokens_per_s},
                         {"step_s", report.step_s},
                         {"loss", report.loss},
                         {"unigram_entropy", report.unigram_entropy},
                         {"stopped_by_signal", report.stopped_by_signal},
                         {"traffic", traffic},
                         {"attention_bytes", attention_sum(report, &RunReport::sent)},
                         {"ring_attention_bytes", ring_sum(report)},
                         {"memory",
                          {{"estimated_bytes", report.memory().estimated},
                           {"allocated_bytes", report.memory().allocated},
                           {"resident_bytes", report.memory().resident}}},
                         {"ranks", ranks}};
  if (report.eval.sequences > 0) {
    object["eval_loss"] = report.eval.loss;
    object["eval_perplexity"] = report.eval.perplexity();
  }
  if (report.recovery) object["recovery"] = recovery_json(report);
  return object.dump() + "\n";
}

}  // namespace tessera::runtime
