#include "runtime/train/run_log.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"

namespace tessera::runtime {
namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string duration_text(double s) {
  const auto total = static_cast<std::int64_t>(s + 0.5);
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{} min {:02} s", total / 60, total % 60);
  return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
}

/// Lines whose step is at most `last_step`; torn lines end the file.
std::string lines_up_to(const std::string& path, std::int64_t last_step) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) break;
    if (object["step"].get<std::int64_t>() <= last_step) kept += line + "\n";
  }
  return kept;
}

/// Forward and backward, per token: 6 per parameter of a product, and causal attention, 6 L H d T
/// (half of 12). Narayanan et al. 2021, arXiv:2104.04473, without recomputation.
double model_flops_per_token(const TrainInputs& inputs, std::int64_t parameters) {
  const planner::ModelSpec& m = inputs.model;
  const double embedding = static_cast<double>(m.vocab_size * m.hidden_size);
  const double products = static_cast<double>(parameters) - (m.tie_word_embeddings ? 0 : embedding);
  return 6 * products +
         6.0 * m.layers * m.heads * m.head_dim * static_cast<double>(inputs.spec.sequence_length);
}

}  // namespace

RunLog::RunLog(const TrainInputs& inputs, Console console)
    : spec_(inputs.spec), console_(std::move(console)) {
  redraws_ = spec_.log_style == "line" || (spec_.log_style == "auto" && console_.terminal);
}

Result<RunLog> RunLog::make(const TrainInputs& inputs, std::int64_t parameters, Console console,
                            const std::string& metrics_file, const std::string& tensorboard_dir,
                            std::int64_t resumed_step) {
  RunLog log(inputs, std::move(console));
  log.flops_per_token_ = model_flops_per_token(inputs, parameters);
  if (!metrics_file.empty()) {
    const bool goes_on = resumed_step > 0 && std::filesystem::is_regular_file(metrics_file);
    if (goes_on) {  // a kill in the middle leaves the former lines
      TS_TRY(replace_durably(metrics_file, lines_up_to(metrics_file, resumed_step)));
    }
    log.metrics_path_ = metrics_file;
    log.metrics_.emplace(metrics_file, goes_on ? std::ios::app : std::ios::trunc);
    if (!*log.metrics_) {
      return bad_input({metrics_file, "metrics_file", std::strerror(errno), "a file that can be written",
                        "check --metrics-file, or pass --metrics-file none"});
    }
  }
  if (!tensorboard_dir.empty()) {
    log.tensorboard_ = TS_TRY(TensorboardWriter::make(tensorboard_dir, wall_time_s()));
  }
  return log;
}

void RunLog::say(const std::string& line) {
  if (spec_.log_style == "quiet") return;
  console_.write((line_open_ ? "\r\033[K" : "") + line + "\n");
  line_open_ = false;
}

void RunLog::record(const std::string& json_line) {
  if (metrics_)
    *metrics_ << json_line << std::endl;  // a snapshot may outlive this process, so must its steps
}

void RunLog::flush() {
  if (metrics_) {
    errno = 0;
    metrics_->flush();
    if (!*metrics_) {
      say(fmt::format("warning: {}: cannot be written: {}; training goes on without metrics", metrics_path_,
                      std::strerror(errno)));
      metrics_.reset();
    }
  }
  if (tensorboard_) {
    const Status status = tensorboard_->flush();
    if (!status.ok()) {
      say(fmt::format("warning: {}; training goes on without TensorBoard", status.message()));
      tensorboard_.reset();
    }
  }
}

void RunLog::step(const StepResult& r) {
  const double tokens_per_s = static_cast<double>(r.labels) / r.seconds;
  const double mb_sent = static_cast<double>(r.bytes_sent) / 1e6;
  nlohmann::ordered_json object = {{"step", r.step},
                                   {"loss", r.loss},
                                   {"learning_rate", r.learning_rate},
                                   {"gradient_norm", r.gradient_norm},
                                   {"labels", r.labels},
                                   {"seconds", r.seconds},
                                   {"tokens_per_s", tokens_per_s},
                                   {"mb_sent", mb_sent},
                                   {"exposed_wait_s", r.exposed_wait_s}};
  if (spec_.peak_gflops > 0) {
    object["utilisation"] = tokens_per_s * flops_per_token_ / (spec_.peak_gflops * 1e9);
  }
  record(object.dump());
  if (tensorboard_) {
    const double now = wall_time_s();
    tensorboard_->scalar("train/loss", r.step, r.loss, now);
    tensorboard_->scalar("train/learning_rate", r.step, r.learning_rate, now);
    tensorboard_->scalar("train/gradient_norm", r.step, r.gradient_norm, now);
    tensorboard_->scalar("speed/tokens_per_s", r.step, tokens_per_s, now);
    tensorboard_->scalar("speed/mb_sent", r.step, mb_sent, now);
    tensorboard_->scalar("speed/exposed_wait_s", r.step, r.exposed_wait_s, now);
  }
  flush();

  seconds_ += r.seconds;
  labels_ += r.labels;
  bytes_ += r.bytes_sent;
  ++steps_;
  all_seconds_ += r.seconds;
  ++all_steps_;
  const bool full_line = r.step % spec_.log_interval == 0 || r.step == spec_.steps || r.step == 1;
  if (spec_.log_style != "quiet" && (redraws_ || full_line)) progress(r, full_line);
  if (full_line) {
    seconds_ = 0;
    labels_ = bytes_ = steps_ = 0;
  }
}

void RunLog::progress(const StepResult& r, bool last) {
  const double left_s =
      all_seconds_ / static_cast<double>(all_steps_) * static_cast<double>(spec_.steps - r.step);
  std::string line =
      fmt::format("step {:>5}/{}  loss {:.4f}  lr {:.2e}  norm {:.3f}  {:.0f} tokens/s", r.step, spec_.steps,
                  r.loss, r.learning_rate, r.gradient_norm, static_cast<double>(labels_) / seconds_);
  if (bytes_ > 0) {
    line += fmt::format("  {:.2f} MB/step", static_cast<double>(bytes_) / 1e6 / static_cast<double>(steps_));
  }
  line += fmt::format("  {} left", duration_text(left_s));
  if (!redraws_) {
    console_.write(line + "\n");
    return;
  }
  // On a terminal the line is redrawn; every log_interval one stays.
  console_.write("\r\033[K" + line + (last ? "\n" : ""));
  line_open_ = !last;
}

void RunLog::evaluation(std::int64_t step, const EvalResult& result) {
  record(nlohmann::ordered_json{{"step", step},
                                {"eval_loss", result.loss},
                                {"eval_perplexity", result.perplexity()},
                                {"eval_sequences", result.sequences}}
             .dump());
  if (tensorboard_) {
    tensorboard_->scalar("eval/loss", step, result.loss, wall_time_s());
    tensorboard_->scalar("eval/perplexity", step, result.perplexity(), wall_time_s());
  }
  flush();
  say(fmt::format("held-out text after step {}: loss {:.4f}, perplexity {:.3f} ({} sequences)", step,
                  result.loss, result.perplexity(), result.sequences));
}

void RunLog::snapshot(const SnapshotResult& r) {
  std::vector<std::string> failures;
  for (const Status& status : r.failures) failures.push_back(status.message());
  record(nlohmann::ordered_json{{"step", r.step},
                                {"snapshot",
                                 {{"state_hash", fmt::format("{:016x}", r.state_hash)},
                                  {"whole_in", r.tiers},
                                  {"stall_s", r.stall_s},
                                  {"exchange_s", r.exchange_s},
                                  {"write_s", r.write_s},
                                  {"kept_bytes", r.kept_bytes},
                                  {"sent_bytes", r.sent_bytes},
                                  {"failures", failures}}}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  flush();
  for (const std::string& failure : failures) {
    say(fmt::format("warning: the snapshot of step {} is not whole in {}", r.step, failure));
  }
  if (!r.status.ok()) {
    say(fmt::format("warning: no snapshot of step {}, training goes on and tries again: {}", r.step,
                    r.status.message()));
  }
}

void RunLog::restored(const RestoreSummary& summary) {
  record(nlohmann::ordered_json{{"step", summary.step},
                                {"restored", nlohmann::ordered_json::parse(to_json(summary))}}
             .dump());
  flush();
}

}  // namespace tessera::runtime
