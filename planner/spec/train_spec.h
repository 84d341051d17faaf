/// TrainSpec: everything a training run can be told, as one value.
///
/// A table (train_options) holds each setting's name, kind, range, default and help. A field of train.json
/// and a flag are the same row: `sequence_length` in the file, `--sequence-length` on the command line, the
/// flag having the last word. Paths mean what they say relative to the working directory.
///
///   TrainSpec spec;                                                  every default
///   TS_TRY(apply_train_json(text, "train.json", spec));              the file
///   TS_TRY(set_train_option(spec, "steps", "200", "--steps"));       flags
///   TS_TRY(check_train_spec(spec));                                  fields against each other
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::planner {

struct TrainSpec {
  // What is trained, on what.
  std::string model;              // a config.json (seeded start) or a Hugging Face directory (its weights)
  std::vector<std::string> data;  // token files, read one after the other
  std::string out = "runs/train";
  std::int64_t seed = 1;
  std::int64_t sequence_length = 256;  // tokens
  std::int64_t global_batch = 8;       // sequences per step, over all ranks
  std::int64_t micro_batch = 1;        // sequences that one context-parallel group holds at a time
  std::int64_t steps = 1000;           // optimizer steps, counted from the job's first
  std::string document_masking = "on";
  std::int64_t window = 0;  // tokens; 0: unlimited
  double dropout = 0;       // of attention probabilities

  // Optimizer.
  double learning_rate = 1e-3;
  double min_learning_rate = 1e-4;
  std::int64_t warmup = 20;  // steps
  std::string schedule = "cosine";
  double decay_fraction = 0.2;  // of the steps; schedule wsd
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1;  // global gradient norm; 0: no clipping

  // Ranks.
  std::string plan;  // plan.json; it says everything below but layout, threads, precision and deadline
  std::string mesh = "auto";
  std::string layout = "zigzag";
  std::int64_t data_parallel = 1;
  std::int64_t tensor_parallel = 1;
  std::int64_t pipeline_parallel = 1;
  std::int64_t threads = 1;          // per rank
  std::int64_t ranks_per_node = 0;   // consecutive; 0: by the names of the hosts
  double rank_link_gb_per_s = 5;     // GB/s that one rank sends inside a node
  double node_link_gb_per_s = 12.5;  // GB/s that leave one node
  std::string precision = "fp32";
  std::string recompute = "off";
  std::string memory_check = "on";
  double deadline = 600;  // seconds
  std::string busy_wait = "off";
  std::vector<std::string> speed_factors;  // of the plan's ranks, or one for all; empty: 1

  // Held-out text.
  std::int64_t eval_interval = 100;  // steps; 0: never
  double eval_fraction = 0.05;       // of the tokens, the last ones
  std::int64_t eval_sequences = 64;  // at most, per evaluation

  // State on disk. Empty paths: below `out`.
  std::string checkpoint_dir;
  std::int64_t checkpoint_interval = 200;  // steps; 0: only at the end and on a signal
  std::int64_t checkpoint_keep = 2;
  std::string resume = "never";
  std::string resume_fallback = "off";
  std::string overwrite = "off";
  std::string export_dir;
  std::string metrics_file;
  std::string tensorboard_dir;
  std::int64_t trace_step = 0;  // 0: none
  std::string trace_file;

  // Snapshots that outlive ranks and nodes (docs/recovery.md). None of the three places: no snapshots.
  std::string recovery_memory;             // folder in a node's memory
  std::int64_t recovery_memory_mb = 4096;  // MB of it that one node may fill
  std::string recovery_disk;               // folder on a node's own disk
  std::string recovery_cloud;              // s3://bucket/prefix, or a directory that every node sees
  std::int64_t recovery_interval = 10;     // steps
  std::int64_t recovery_keep = 2;          // whole snapshots on disk and in the cloud
  std::int64_t recovery_copies = 2;        // nodes that keep each atom
  std::int64_t recovery_spare_copies = 0;  // further ones, in memory that nodes have left
  std::string recovery_job;                // empty: a name made of what makes the run the same run
  std::string recovery_sources = "nearest";
  double recovery_cloud_gb_per_s = 0.25;      // GB/s that one node gets from the cloud
  double recovery_cloud_total_gb_per_s = 10;  // and all nodes together
  std::string node_name;                      // empty: TESSERA_NODE, or the host's name

  // What is printed.
  std::int64_t log_interval = 10;  // steps
  std::string log_style = "auto";
  double peak_gflops = 0;  // of all ranks together; 0: unknown, so no utilisation is reported
};

enum class OptionKind : std::uint8_t { kInteger, kReal, kText, kChoice, kList };

/// One row of the table, as help texts show it.
struct TrainOption {
  std::string name;  // field of train.json
  OptionKind kind = OptionKind::kText;
  std::string group;
  std::string help;
  std::string range;                       // "an integer from 1 to 1048576"
  std::string default_value;               // as text
  [[nodiscard]] std::string flag() const;  // "--sequence-length"
};
[[nodiscard]] const std::vector<TrainOption>& train_options();

/// Sets one field from text; `origin` is what an error names: the flag, or the file. Lists are replaced by
/// one element per comma-separated piece.
[[nodiscard]] Status set_train_option(TrainSpec& spec, std::string_view name, std::string_view value,
                                      const std::string& origin);

/// Sets the fields that a train.json holds. Unknown fields, wrong types and values out of range are errors.
[[nodiscard]] Status apply_train_json(const std::string& json_text, const std::string& file_name,
                                      TrainSpec& spec);
[[nodiscard]] Status read_train_spec(const std::string& path, TrainSpec& spec);

/// Fields against each other: what no single row can see.
[[nodiscard]] Status check_train_spec(const TrainSpec& spec);

/// The whole spec as a train.json.
[[nodiscard]] std::string to_train_json(const TrainSpec& spec);

/// The closest name in the table, or "" when none is close: for "did you mean".
[[nodiscard]] std::string nearest_train_option(std::string_view name);

}  // namespace tessera::planner
