#include "planner/tools/job_options.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "planner/spec/device_table.h"
#include "planner/tools/what_if.h"

namespace tessera::planner::tools {
namespace {

Result<std::optional<Precision>> precision_of(const std::string& text) {
  if (text.empty()) return std::optional<Precision>();
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    if (text == precision_name(precision)) return std::optional(precision);
  }
  return bad_input(
      {"--precision", "", text, "fp32, bf16 or fp16", "leave it out for what the devices suggest"});
}

std::string config_of(const std::string& model) {
  return std::filesystem::is_directory(model) ? model + "/config.json" : model;
}

Status missing(const char* flag, const std::string& remedy) {
  return bad_input({flag, "", "nothing", "a file", remedy});
}

Result<TrainSpec> read_train(const JobOptions& options) {
  TrainSpec train;
  if (!options.train.empty()) TS_TRY(read_train_spec(options.train, train));
  if (options.sequence_length > 0) {
    TS_TRY(set_train_option(train, "sequence_length", std::to_string(options.sequence_length),
                            "--sequence-length"));
  }
  if (options.global_batch > 0) {
    TS_TRY(set_train_option(train, "global_batch", std::to_string(options.global_batch), "--global-batch"));
  }
  return train;
}

Result<std::optional<Profile>> read_optional_profile(const std::string& path) {
  if (path.empty()) return std::optional<Profile>();
  return std::optional(TS_TRY(read_profile(path)));
}

/// A type of which only the name is known: what a profile measures does not need the rest.
DeviceType unknown_type(const std::string& name) {
  DeviceType type;
  type.name = name;
  type.peak_flops = 1e14;
  type.memory_bytes = 1e12;
  type.memory_bytes_per_s = 1e12;
  type.host_link_bytes_per_s = 3e10;
  return type;
}

Result<ClusterSpec> cluster_of(const Plan& plan, const std::optional<Profile>& profile) {
  ClusterSpec cluster;
  std::map<std::string, int> numbers;
  for (const PlanNode& node : plan.nodes) {
    const auto [at, added] = numbers.try_emplace(node.device, static_cast<int>(cluster.types.size()));
    if (added) {
      const auto type = find_device_type(node.device);
      if (!type && !(profile && profile->devices.contains(node.device))) {
        return bad_input({"--plan", "nodes", fmt::format("device \"{}\"", node.device),
                          "a device of the built-in table, or one that --profile measures",
                          "name it with --cluster"});
      }
      cluster.types.push_back(type ? *type : unknown_type(node.device));
    }
    NodeSpec spec;
    spec.name = node.name;
    spec.type = at->second;
    spec.devices = node.devices;
    spec.intra = default_intra_link(cluster.types[static_cast<std::size_t>(spec.type)]);
    spec.inter = default_inter_link(kDefaultNetworkBytesPerS);
    cluster.nodes.push_back(std::move(spec));
  }
  return cluster;
}

/// A Llama of the plan's depth and about its size: 12 width^2 parameters per layer, 32000 words.
ModelSpec model_of(const Plan& plan) {
  constexpr double kVocabulary = 32000;
  constexpr int kHeadWidth = 64;
  const double tables = plan.tied_embeddings ? 1 : 2;
  const double a = 12.0 * plan.layers;
  const double b = tables * kVocabulary;
  const double width = (-b + std::sqrt(b * b + 4 * a * static_cast<double>(plan.parameters))) / (2 * a);
  const int degree = plan.tensor_parallel * plan.context.heads;
  ModelSpec model;
  model.layers = plan.layers;
  model.heads = degree * std::max(1, static_cast<int>(std::lround(width / kHeadWidth / degree)));
  model.kv_heads = model.heads;
  model.head_dim = kHeadWidth;
  model.hidden_size = std::int64_t{model.heads} * kHeadWidth;
  model.intermediate_size = (model.hidden_size * 8 / 3 + degree - 1) / degree * degree;
  model.vocab_size = static_cast<std::int64_t>(kVocabulary);
  model.max_position_embeddings = plan.sequence_length;
  model.tie_word_embeddings = plan.tied_embeddings;
  return model;
}

}  // namespace

void declare_job(CLI::App& app, JobOptions& options) {
  app.add_option("--model", options.model, "config.json of a LlamaForCausalLM, or a directory with one")
      ->type_name("PATH");
  app.add_option("--cluster", options.cluster, "cluster.json: nodes, devices, links, prices")
      ->type_name("FILE");
  app.add_option("--train", options.train, "train.json: sequence length, global batch")->type_name("FILE");
  app.add_option("--profile", options.profile, "profile.json: measurements instead of the analytic model")
      ->type_name("FILE");
  app.add_option("--sequence-length", options.sequence_length, "tokens per sequence; overrides train.json")
      ->check(CLI::PositiveNumber);
  app.add_option("--global-batch", options.global_batch, "sequences per step; overrides train.json")
      ->check(CLI::PositiveNumber);
  app.add_option(
      "--precision", options.precision,
      "fp32, bf16 or fp16; default: fp32 with any CPU rank, fp16 with a GPU without bf16, else bf16");
  app.add_option("--what-if", options.what_if,
                 "change the cluster first: remove:NAME, add:NAME, add:NAME*N, add:GPU:COUNT; repeatable")
      ->type_name("CHANGE");
}

Result<CostModel> read_job(const JobOptions& options) {
  if (options.model.empty()) return missing("--model", "name the model's config.json");
  if (options.cluster.empty()) return missing("--cluster", "name a cluster.json; planner/examples has some");
  const ModelSpec model = TS_TRY(read_model_spec(config_of(options.model)));
  ClusterSpec cluster = TS_TRY(read_cluster_spec(options.cluster));
  cluster = TS_TRY(apply_what_if(std::move(cluster), options.what_if));
  const TrainSpec train = TS_TRY(read_train(options));
  const auto profile = TS_TRY(read_optional_profile(options.profile));
  const auto precision = TS_TRY(precision_of(options.precision));
  return CostModel::create(model, cluster, train, profile, precision);
}

Result<CostModel> job_of_plan(const Plan& plan, const JobOptions& options) {
  const auto profile = TS_TRY(read_optional_profile(options.profile));
  const ModelSpec model =
      options.model.empty() ? model_of(plan) : TS_TRY(read_model_spec(config_of(options.model)));
  const ClusterSpec cluster = options.cluster.empty() ? TS_TRY(cluster_of(plan, profile))
                                                      : TS_TRY(read_cluster_spec(options.cluster));
  TrainSpec train = TS_TRY(read_train(options));
  train.sequence_length = plan.sequence_length;
  train.global_batch = plan.global_batch;
  train.micro_batch = plan.micro_batch;
  return CostModel::create(model, cluster, train, profile, plan.precision);
}

std::vector<int> tensor_degrees(const CostModel& cost) {
  int largest = 1;
  for (const NodeSpec& node : cost.cluster().nodes) largest = std::max(largest, node.devices);
  std::vector<int> degrees;
  for (int degree = 1; degree <= largest; degree *= 2) {
    if (cost.check_shape({degree, {}, 1}).ok()) degrees.push_back(degree);
  }
  return degrees;
}

}  // namespace tessera::planner::tools
