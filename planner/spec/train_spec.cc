#include "planner/spec/train_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/require.h"
#include "planner/spec/nearest_name.h"

namespace tessera::planner {
namespace {

using Member = std::variant<std::int64_t TrainSpec::*, double TrainSpec::*, std::string TrainSpec::*,
                            std::vector<std::string> TrainSpec::*>;

struct Field {
  TrainOption option;
  Member member;
  double least = 0;
  double greatest = 0;
  bool open_above = false;  // the greatest value is excluded
  std::vector<std::string> choices;
};

std::string list_text(const std::vector<std::string>& values, std::string_view separator) {
  return fmt::format("{}", fmt::join(values, separator));
}

class Table {
 public:
  void group(std::string name) { group_ = std::move(name); }
  void integer(const char* name, std::int64_t TrainSpec::*member, std::int64_t least, std::int64_t greatest,
               const char* help) {
    Field& field = add(name, OptionKind::kInteger, member, help);
    field.least = static_cast<double>(least);
    field.greatest = static_cast<double>(greatest);
    field.option.range = fmt::format("an integer from {} to {}", least, greatest);
    field.option.default_value = fmt::format("{}", TrainSpec().*member);
  }
  void real(const char* name, double TrainSpec::*member, double least, double greatest, bool open_above,
            const char* help) {
    Field& field = add(name, OptionKind::kReal, member, help);
    field.least = least;
    field.greatest = greatest;
    field.open_above = open_above;
    field.option.range =
        fmt::format("a number from {} to {} {}", least, open_above ? "below" : "at most", greatest);
    field.option.default_value = fmt::format("{}", TrainSpec().*member);
  }
  void text(const char* name, std::string TrainSpec::*member, const char* range, const char* help) {
    Field& field = add(name, OptionKind::kText, member, help);
    field.option.range = range;
    field.option.default_value = TrainSpec().*member;
  }
  void choice(const char* name, std::string TrainSpec::*member, std::initializer_list<const char*> choices,
              const char* help) {
    Field& field = add(name, OptionKind::kChoice, member, help);
    field.choices.assign(choices.begin(), choices.end());
    field.option.range = list_text(field.choices, " | ");
    field.option.default_value = TrainSpec().*member;
  }
  void list(const char* name, std::vector<std::string> TrainSpec::*member, const char* range,
            const char* help) {
    add(name, OptionKind::kList, member, help).option.range = range;
  }
  [[nodiscard]] std::vector<Field> take() { return std::move(fields_); }

 private:
  Field& add(const char* name, OptionKind kind, Member member, const char* help) {
    Field field;
    field.option.name = name;
    field.option.kind = kind;
    field.option.group = group_;
    field.option.help = help;
    field.member = member;
    fields_.push_back(std::move(field));
    return fields_.back();
  }
  std::string group_;
  std::vector<Field> fields_;
};

std::vector<Field> make_fields() {
  constexpr std::int64_t kMany = std::int64_t{1} << 40;
  using S = TrainSpec;
  Table t;
  t.group("Model and data");
  t.text("model", &S::model, "a path",
         "a config.json, to start from a seeded initialisation, or a Hugging Face directory, to start from "
         "its weights");
  t.list("data", &S::data, "one or more paths",
         "token files: text (bytes as tokens), Megatron .bin/.idx, or llm.c .bin");
  t.text("out", &S::out, "a path", "directory for everything the run writes");
  t.integer("seed", &S::seed, 0, kMany, "seed of initialisation, token order and dropout");
  t.integer("sequence_length", &S::sequence_length, 1, std::int64_t{1} << 30, "tokens per sequence");
  t.integer("global_batch", &S::global_batch, 1, 1 << 24, "sequences per step, over all ranks");
  t.integer("micro_batch", &S::micro_batch, 1, 1 << 20,
            "sequences in memory at a time per context-parallel group; gradients accumulate");
  t.integer("steps", &S::steps, 1, kMany, "optimizer steps, counted from the job's first");
  t.choice("document_masking", &S::document_masking, {"on", "off"},
           "attention and loss stay inside a document, where the data has documents");
  t.integer("window", &S::window, 0, (std::int64_t{1} << 31) - 1,
            "sliding attention window in tokens; 0 = unlimited");
  t.real("dropout", &S::dropout, 0, 1, true, "dropout of attention probabilities");

  t.group("Optimizer");
  t.real("learning_rate", &S::learning_rate, 0, 1e3, false, "highest learning rate");
  t.real("min_learning_rate", &S::min_learning_rate, 0, 1e3, false, "learning rate of the last step");
  t.integer("warmup", &S::warmup, 0, kMany, "steps of linear warm-up");
  t.choice("schedule", &S::schedule, {"cosine", "linear", "wsd", "constant"},
           "learning rate after the warm-up; wsd = stable, then linear decay");
  t.real("decay_fraction", &S::decay_fraction, 0, 1, false, "share of the steps in which wsd decays");
  t.real("beta1", &S::beta1, 0, 1, true, "AdamW: decay of the first moment");
  t.real("beta2", &S::beta2, 0, 1, true, "AdamW: decay of the second moment");
  t.real("eps", &S::eps, 1e-30, 1, false, "AdamW: added to the root of the second moment");
  t.real("weight_decay", &S::weight_decay, 0, 1e3, false, "AdamW: decoupled decay of matrices");
  t.real("clip", &S::clip, 0, 1e9, false, "global gradient norm above which gradients shrink; 0 = never");

  t.group("Ranks");
  t.text("plan", &S::plan, "a path",
         "plan.json of tessera-plan: groups, stages, meshes, micro-batches and recomputation as it says");
  t.text("mesh", &S::mesh, "auto | AxB | (A2.A1)xB | uU:AxB",
         "attention mesh of one context-parallel group; auto = the flat mesh that moves the fewest bytes, on "
         "several nodes the mesh of any kind that keeps their links busy least");
  t.choice("layout", &S::layout, {"zigzag", "striped", "contiguous"}, "which tokens each context rank holds");
  t.integer("data_parallel", &S::data_parallel, 1, 1 << 20,
            "replicas of the model; ranks = data x pipeline x mesh x tensor");
  t.integer("tensor_parallel", &S::tensor_parallel, 1, 1 << 16, "ranks that share each matrix of a layer");
  t.integer("pipeline_parallel", &S::pipeline_parallel, 1, 1 << 16,
            "stages, each with an equal run of layers as far as they divide");
  t.integer("threads", &S::threads, 1, 1024, "threads per rank");
  t.integer("ranks_per_node", &S::ranks_per_node, 0, 1 << 20,
            "consecutive ranks on one node, for --mesh auto; 0 = by the names of the hosts");
  t.real("rank_link_gb_per_s", &S::rank_link_gb_per_s, 1e-6, 1e6, false,
         "GB/s that one rank sends inside a node, for --mesh auto");
  t.real("node_link_gb_per_s", &S::node_link_gb_per_s, 1e-6, 1e6, false,
         "GB/s that leave one node, all its ranks together, for --mesh auto");
  t.choice("precision", &S::precision, {"fp32"}, "arithmetic of the CPU ranks");
  t.choice("recompute", &S::recompute, {"on", "off"},
           "keep only the input and attention result of each layer, compute the rest again in backward");
  t.choice("memory_check", &S::memory_check, {"on", "off"},
           "refuse to start when the ranks of a machine need far more memory than it has");
  t.real("deadline", &S::deadline, 0.001, 86400, false, "longest wait for another rank, seconds");
  t.choice(
      "busy_wait", &S::busy_wait, {"on", "off"},
      "a rank that waits keeps its core: the shortest waits where each rank has one, constant shares where "
      "ranks share one");
  t.list("speed_factors", &S::speed_factors, "numbers above 0 and at most 1: one, or one per rank",
         "ranks pause after their work until they are that much slower: unequal devices on one machine");

  t.group("Held-out text");
  t.integer("eval_interval", &S::eval_interval, 0, kMany, "steps between evaluations; 0 = never");
  t.real("eval_fraction", &S::eval_fraction, 0, 0.9, false, "share of the tokens, the last ones, held out");
  t.integer("eval_sequences", &S::eval_sequences, 1, kMany, "sequences per evaluation, at most");

  t.group("State on disk");
  t.text("checkpoint_dir", &S::checkpoint_dir, "a path", "checkpoints; empty = <out>/checkpoints");
  t.integer("checkpoint_interval", &S::checkpoint_interval, 0, kMany,
            "steps between checkpoints; 0 = only at the end and on a signal");
  t.integer("checkpoint_keep", &S::checkpoint_keep, 1, 1 << 20, "newest checkpoints that are kept");
  t.text("resume", &S::resume, "never | auto | latest | a checkpoint directory",
         "never = start at step 0; auto = go on where there is a checkpoint; latest = there must be one");
  t.choice("resume_fallback", &S::resume_fallback, {"on", "off"},
           "when the newest checkpoint is damaged, take the newest sound one");
  t.choice("overwrite", &S::overwrite, {"on", "off"},
           "a run that starts at step 0 may replace what an earlier run left in the output directories");
  t.text("export_dir", &S::export_dir, "a path | none",
         "Hugging Face directory written at the end; empty = <out>/export");
  t.text("metrics_file", &S::metrics_file, "a path | none",
         "one JSON object per step; empty = <out>/metrics.jsonl");
  t.text("tensorboard_dir", &S::tensorboard_dir, "a path | none",
         "TensorBoard events; empty = <out>/tensorboard");
  t.integer("trace_step", &S::trace_step, 0, kMany,
            "step whose computation and transfers are written as a Chrome trace; 0 = none");
  t.text("trace_file", &S::trace_file, "a path", "that trace; empty = <out>/trace.json");

  t.group("Snapshots and recovery");
  t.text("recovery_memory", &S::recovery_memory, "a path",
         "snapshots in the node's memory: a folder of a memory file system, such as /dev/shm/tessera; each "
         "node has a folder of its name in it");
  t.integer("recovery_memory_mb", &S::recovery_memory_mb, 1, 1 << 30,
            "MB that the snapshots of one node may take there; two whole ones lie side by side for a moment");
  t.text("recovery_disk", &S::recovery_disk, "a path",
         "snapshots on the node's own disk; each node has a folder of its name in it");
  t.text("recovery_cloud", &S::recovery_cloud, "s3://bucket/prefix | a directory that every node sees",
         "one copy of each snapshot in total, shared out among the nodes");
  t.integer("recovery_interval", &S::recovery_interval, 1, kMany, "steps between snapshots");
  t.integer("recovery_keep", &S::recovery_keep, 1, 1 << 20, "whole snapshots kept on disk and in the cloud");
  t.integer("recovery_copies", &S::recovery_copies, 1, 64,
            "nodes that keep each piece of a snapshot, where there are as many");
  t.integer("recovery_spare_copies", &S::recovery_spare_copies, 0, 64,
            "further copies in the memory that nodes have left");
  t.text("recovery_job", &S::recovery_job, "letters, digits, '.', '_' and '-'",
         "name of the job in the stores; empty = made of model, data and seed");
  t.choice(
      "recovery_sources", &S::recovery_sources, {"nearest", "cloud"},
      "where a restore may read: nearest = the node, then peers, then the cloud; cloud = there alone, to "
      "compare");
  t.real("recovery_cloud_gb_per_s", &S::recovery_cloud_gb_per_s, 1e-6, 1e6, false,
         "GB/s that one node gets from the cloud, to plan restores; between nodes node_link_gb_per_s counts");
  t.real("recovery_cloud_total_gb_per_s", &S::recovery_cloud_total_gb_per_s, 1e-6, 1e6, false,
         "GB/s that all nodes together get from the cloud");
  t.text("node_name", &S::node_name, "letters, digits, '.', '_' and '-'",
         "name of the node a rank runs on; empty = TESSERA_NODE, or the host's name");

  t.group("What is printed");
  t.integer("log_interval", &S::log_interval, 1, kMany, "steps between plain lines");
  t.choice("log_style", &S::log_style, {"auto", "line", "plain", "quiet"},
           "line = one line, redrawn; plain = a line per log_interval; auto = line on a terminal");
  t.real("peak_gflops", &S::peak_gflops, 0, 1e12, false,
         "peak GFLOP/s of all ranks together, to report utilisation; 0 = do not report it");
  return t.take();
}

const std::vector<Field>& fields() {
  static const std::vector<Field> all = make_fields();
  return all;
}

const Field* find_field(std::string_view name) {
  for (const Field& field : fields()) {
    if (field.option.name == name) return &field;
  }
  return nullptr;
}

Status out_of_range(const Field& field, std::string found, const std::string& origin) {
  return bad_input({origin, field.option.name, std::move(found), field.option.range,
                    fmt::format("{}: {}; default {}", field.option.flag(), field.option.help,
                                field.option.default_value.empty() ? "empty" : field.option.default_value)});
}

Status unknown_field(const std::string& name, const std::string& file) {
  const std::string nearest = nearest_train_option(name);
  return bad_input({file, name, "a field of this name", "a field listed by tessera-train --help",
                    nearest.empty() ? "remove it" : fmt::format("did you mean {}?", nearest)});
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> pieces;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    if (comma > begin) pieces.emplace_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return pieces;
}

Status set_field(TrainSpec& spec, const Field& field, std::string_view text, const std::string& origin) {
  const std::string found(text.empty() ? "nothing" : text);
  if (const auto* integer = std::get_if<std::int64_t TrainSpec::*>(&field.member)) {
    std::int64_t value = 0;
    if (!parse_number(text, value) || static_cast<double>(value) < field.least ||
        static_cast<double>(value) > field.greatest) {
      return out_of_range(field, found, origin);
    }
    spec.*(*integer) = value;
  } else if (const auto* real = std::get_if<double TrainSpec::*>(&field.member)) {
    double value = 0;
    if (!parse_number(text, value) || !(value >= field.least) || !(value <= field.greatest) ||
        (field.open_above && value == field.greatest)) {
      return out_of_range(field, found, origin);
    }
    spec.*(*real) = value;
  } else if (const auto* list = std::get_if<std::vector<std::string> TrainSpec::*>(&field.member)) {
    spec.*(*list) = split_list(text);
  } else {
    if (!field.choices.empty() &&
        std::find(field.choices.begin(), field.choices.end(), std::string(text)) == field.choices.end()) {
      return out_of_range(field, found, origin);
    }
    spec.*std::get<std::string TrainSpec::*>(field.member) = std::string(text);
  }
  return {};
}

bool type_matches(OptionKind kind, const nlohmann::json& value) {
  switch (kind) {
    case OptionKind::kInteger: return value.is_number_integer();
    case OptionKind::kReal: return value.is_number();
    case OptionKind::kText: return value.is_string();
    case OptionKind::kChoice: return value.is_string() || value.is_boolean();
    case OptionKind::kList:
      return value.is_string() || (value.is_array() && std::all_of(value.begin(), value.end(),
                                                                   [](auto& e) { return e.is_string(); }));
  }
  return false;
}

Status set_from_json(TrainSpec& spec, const Field& field, const nlohmann::json& value,
                     const std::string& file) {
  if (!type_matches(field.option.kind, value)) return out_of_range(field, value.dump(), file);
  if (value.is_array()) {
    spec.*std::get<std::vector<std::string> TrainSpec::*>(field.member) =
        value.get<std::vector<std::string>>();
    return {};
  }
  if (field.option.kind == OptionKind::kList) {
    spec.*std::get<std::vector<std::string> TrainSpec::*>(field.member) = {value.get<std::string>()};
    return {};
  }
  if (value.is_boolean()) return set_field(spec, field, value.get<bool>() ? "on" : "off", file);
  return set_field(spec, field, value.is_string() ? value.get<std::string>() : value.dump(), file);
}

Complaint needed(const char* field, const char* expected, const char* remedy) {
  return {"train spec", field, "nothing", expected, remedy};
}

}  // namespace

std::string TrainOption::flag() const {
  std::string text = "--" + name;
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

const std::vector<TrainOption>& train_options() {
  static const std::vector<TrainOption> all = [] {
    std::vector<TrainOption> options;
    for (const Field& field : fields()) options.push_back(field.option);
    return options;
  }();
  return all;
}

Status set_train_option(TrainSpec& spec, std::string_view name, std::string_view value,
                        const std::string& origin) {
  const Field* field = find_field(name);
  if (field == nullptr) return unknown_field(std::string(name), origin);
  return set_field(spec, *field, value, origin);
}

namespace {
constexpr int kMaxDepth = 64;
struct TooDeep {};
}  // namespace

Status apply_train_json(const std::string& json_text, const std::string& file_name, TrainSpec& spec) {
  nlohmann::json object;
  try {
    // Printing a wrong value recurses: what is deeper than any setting is refused before.
    object = nlohmann::json::parse(json_text, [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
      if (depth > kMaxDepth) throw TooDeep{};
      return true;
    });
  } catch (const TooDeep&) {
    return bad_input({file_name, "", fmt::format("JSON nested more than {} deep", kMaxDepth),
                      "one JSON object of training settings", "tessera-train --help lists the fields"});
  } catch (const nlohmann::json::exception& e) {
    return bad_input({file_name, "", e.what(), "one JSON object of training settings",
                      "check the place named; tessera-train --help lists the fields"});
  }
  if (!object.is_object()) {
    return bad_input({file_name, "", fmt::format("JSON of type {}", object.type_name()),
                      "one JSON object of training settings", "tessera-train --help lists the fields"});
  }
  for (const auto& [name, value] : object.items()) {
    const Field* field = find_field(name);
    if (field == nullptr) return unknown_field(name, file_name);
    TS_TRY(set_from_json(spec, *field, value, file_name));
  }
  return {};
}

Status read_train_spec(const std::string& path, TrainSpec& spec) {
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return bad_input({path, "", "no readable file", "a train.json",
                      "check the path given with --config; scripts/configs has examples"});
  }
  return apply_train_json(text.str(), path, spec);
}

Status check_train_spec(const TrainSpec& spec) {
  if (spec.model.empty()) {
    return bad_input(needed("model", "a config.json or a Hugging Face directory", "add --model PATH"));
  }
  if (spec.data.empty()) {
    return bad_input(needed("data", "at least one token file", "add --data PATH"));
  }
  if (spec.out.empty()) return bad_input(needed("out", "a directory", "add --out DIR"));
  if (spec.min_learning_rate > spec.learning_rate && spec.schedule != "constant") {
    return bad_input({"train spec", "min_learning_rate", fmt::format("{}", spec.min_learning_rate),
                      fmt::format("at most learning_rate, {}", spec.learning_rate),
                      "lower --min-learning-rate"});
  }
  if (spec.warmup > spec.steps) {
    return bad_input({"train spec", "warmup", fmt::format("{} steps", spec.warmup),
                      fmt::format("at most steps, {}", spec.steps), "lower --warmup or raise --steps"});
  }
  const std::int64_t unit = spec.data_parallel * spec.micro_batch;
  if (spec.global_batch % unit != 0) {
    return bad_input({"train spec", "global_batch", fmt::format("{} sequences", spec.global_batch),
                      fmt::format("a multiple of data_parallel x micro_batch = {} x {} = {}",
                                  spec.data_parallel, spec.micro_batch, unit),
                      fmt::format("use --global-batch {}", (spec.global_batch + unit - 1) / unit * unit)});
  }
  if (spec.eval_interval > 0 && spec.eval_fraction == 0) {
    return bad_input({"train spec", "eval_fraction", "0", "more than 0 while eval_interval is not 0",
                      "set --eval-interval 0 to train without evaluation"});
  }
  return {};
}

std::string to_train_json(const TrainSpec& spec) {
  nlohmann::ordered_json object;
  for (const Field& field : fields()) {
    std::visit([&](auto member) { object[field.option.name] = spec.*member; }, field.member);
  }
  return object.dump(2) + "\n";
}

std::string nearest_train_option(std::string_view name) {
  std::vector<std::string> names;
  for (const Field& field : fields()) names.push_back(field.option.name);
  return nearest_name(name, names);
}

}  // namespace tessera::planner
