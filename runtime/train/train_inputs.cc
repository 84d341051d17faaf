#include "runtime/train/train_inputs.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>
#include <xxhash.h>

#include <fmt/format.h>

#include "runtime/train/job_plan.h"
#include "runtime/train/speed_factors.h"
#include "runtime/train/token_files.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

Status read_model(TrainInputs& inputs) {
  const std::string& path = inputs.spec.model;
  const bool directory = fs::is_directory(path);
  inputs.model = TS_TRY(planner::read_model_spec(directory ? path + "/config.json" : path));
  inputs.model.attention_dropout = inputs.spec.dropout;
  if (!directory) return {};
  if (!fs::exists(path + "/model.safetensors") && !fs::exists(path + "/model.safetensors.index.json")) {
    return bad_input({path, "model", "a directory without model.safetensors",
                      "a Hugging Face directory with weights, or a config.json",
                      fmt::format("use --model {}/config.json to start from a seeded initialisation", path)});
  }
  inputs.weights_directory = path;
  return {};
}

Status read_tokens(TrainInputs& inputs) {
  const planner::TrainSpec& spec = inputs.spec;
  inputs.tokens = TS_TRY(open_token_files(spec.data));
  TS_TRY(check_vocabulary(*inputs.tokens, inputs.model.vocab_size));
  const std::int64_t total = inputs.tokens->tokens();
  const std::int64_t window = spec.sequence_length + 1;
  inputs.train_end = total;
  if (spec.eval_interval > 0) {
    // At least one window is held out when there is text for it, however small the share.
    const auto share = static_cast<std::int64_t>(spec.eval_fraction * static_cast<double>(total));
    inputs.train_end -= std::max(share, window);
  }
  if (inputs.train_end < window) {
    const std::int64_t needed = spec.eval_interval > 0 ? 2 * window : window;
    return bad_input(
        {spec.data.front(), "", fmt::format("{} tokens in all", total),
         fmt::format("at least {}: a sequence of {} and its last label{}", needed, spec.sequence_length,
                     spec.eval_interval > 0 ? ", once to train on and once held out" : ""),
         "give more text, or lower --sequence-length"});
  }
  return {};
}

Status check_positions(const TrainInputs& inputs) {
  if (inputs.spec.sequence_length <= inputs.model.max_position_embeddings) return {};
  return bad_input(
      {"--sequence-length", "sequence_length", fmt::format("{} tokens", inputs.spec.sequence_length),
       fmt::format("at most max_position_embeddings of the model, {}", inputs.model.max_position_embeddings),
       "lower --sequence-length, or raise max_position_embeddings in config.json"});
}

std::string rope_scaling_text(const planner::ModelSpec& model) {
  if (!model.rope_scaling) return "none";
  const planner::RopeScaling& scaling = *model.rope_scaling;
  if (scaling.kind == planner::RopeScaling::Kind::kLinear) return fmt::format("linear {}", scaling.factor);
  return fmt::format("llama3 {} {} {} {}", scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor,
                     scaling.original_max_position_embeddings);
}

}  // namespace

AttentionDims TrainInputs::attention_dims() const {
  const int t = plan.tensor_parallel;
  return {plan.micro_batch, spec.sequence_length, model.heads / t, model.kv_heads / t, model.head_dim};
}

Result<TrainInputs> load_train_inputs(const planner::TrainSpec& spec, int ranks, int ranks_per_node) {
  TS_TRY(planner::check_train_spec(spec));
  TrainInputs inputs;
  inputs.spec = spec;
  TS_TRY(read_model(inputs));
  TS_TRY(check_positions(inputs));
  inputs.layout = TS_TRY(parse_token_layout(spec.layout));
  planner::TrainSpec on_nodes = spec;
  if (spec.ranks_per_node == 0) on_nodes.ranks_per_node = ranks_per_node;
  inputs.plan = TS_TRY(make_job_plan(on_nodes, inputs.model, inputs.layout, ranks));
  if (spec.plan.empty() && spec.mesh == "auto" && inputs.context_ranks() > 1) {
    constexpr std::size_t kRows = 5;
    const MeshQuestion question =
        mesh_question(on_nodes, inputs.model, inputs.layout, inputs.context_ranks());
    inputs.mesh_choice = mesh_table(question, rank_meshes(question), kRows);
  }
  inputs.speeds = TS_TRY(speed_factors(spec, ranks));
  TS_TRY(read_tokens(inputs));
  inputs.schedule = {TS_TRY(parse_lr_shape(spec.schedule)),
                     spec.learning_rate,
                     spec.min_learning_rate,
                     spec.warmup,
                     spec.steps,
                     spec.decay_fraction};
  return inputs;
}

RunIdentity run_identity(const TrainInputs& inputs) {
  const planner::ModelSpec& m = inputs.model;
  const planner::TrainSpec& s = inputs.spec;
  std::vector<std::int32_t> head(
      static_cast<std::size_t>(std::min<std::int64_t>(inputs.tokens->tokens(), 1 << 16)));
  inputs.tokens->read(0, head);
  const std::uint64_t first_tokens = XXH64(head.data(), head.size() * sizeof(head[0]), 0);
  const auto text = [](const auto& value) { return fmt::format("{}", value); };
  return {{"model.hidden_size", text(m.hidden_size)},
          {"model.intermediate_size", text(m.intermediate_size)},
          {"model.num_hidden_layers", text(m.layers)},
          {"model.num_attention_heads", text(m.heads)},
          {"model.num_key_value_heads", text(m.kv_heads)},
          {"model.head_dim", text(m.head_dim)},
          {"model.vocab_size", text(m.vocab_size)},
          {"model.tie_word_embeddings", text(m.tie_word_embeddings)},
          {"model.rms_norm_eps", text(m.rms_norm_eps)},
          {"model.rope_theta", text(m.rope_theta)},
          {"model.rope_scaling", rope_scaling_text(m)},
          {"seed", text(s.seed)},
          {"sequence_length", text(s.sequence_length)},
          {"global_batch", text(s.global_batch)},
          {"window", text(s.window)},
          {"dropout", text(s.dropout)},
          {"document_masking", s.document_masking},
          {"data.tokens", text(inputs.tokens->tokens())},
          {"data.tokens_trained_on", text(inputs.train_end)},
          {"data.xxh64_of_first_tokens", fmt::format("{:016x}", first_tokens)}};
}

}  // namespace tessera::runtime
