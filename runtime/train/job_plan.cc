#include "runtime/train/job_plan.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "planner/plan/check_structure.h"
#include "runtime/model/model_slice.h"

namespace tessera::runtime {
namespace {

using planner::ModelSpec;
using planner::Plan;
using planner::Recompute;
using planner::TrainSpec;

AttentionDims dims_of(const TrainSpec& spec, const ModelSpec& model) {
  const auto t = static_cast<int>(spec.tensor_parallel);
  return {spec.micro_batch, spec.sequence_length, model.heads / t, model.kv_heads / t, model.head_dim};
}

Status check_context(std::int64_t sequence_length, int context) {
  if (sequence_length >= context) return {};
  return bad_input({"--sequence-length", "sequence_length", fmt::format("{} tokens", sequence_length),
                    fmt::format("at least a token for each of {} context ranks", context),
                    "raise --sequence-length or --data-parallel, or use fewer ranks"});
}

MeshShape best_flat(MeshQuestion question) {
  question.ranks_per_node = 0;
  return rank_meshes(question).front().shape;
}

Status check_head_parallel(const MeshShape& mesh, const MeshQuestion& question) {
  const AttentionDims& dims = question.dims;
  const int u = mesh.heads;
  if (dims.heads % u == 0 && dims.kv_heads % u == 0) return {};
  return bad_input({"--mesh", "mesh", fmt::format("{}, which divides heads by {}", to_string(mesh), u),
                    fmt::format("a divisor of {} heads and {} key/value heads", dims.heads, dims.kv_heads),
                    fmt::format("use a flat mesh such as --mesh {}", to_string(best_flat(question)))});
}

Result<MeshShape> mesh_of_flags(const TrainSpec& spec, const ModelSpec& model, TokenLayout layout,
                                int context, int ranks) {
  const MeshQuestion question = mesh_question(spec, model, layout, context);
  if (spec.mesh == "auto") return rank_meshes(question).front().shape;
  const MeshShape mesh = TS_TRY(parse_mesh_shape(spec.mesh));
  if (mesh.ranks() != context) {
    std::vector<std::string> fitting;
    for (const MeshShape& shape : all_meshes(context)) fitting.push_back(to_string(shape));
    const std::int64_t copies = ranks / context;
    return bad_input(
        {"--mesh", "mesh", fmt::format("{}, which has {} ranks", spec.mesh, mesh.ranks()),
         fmt::format(
             "a mesh of {} ranks: {} in all / (data_parallel {} x pipeline_parallel {} x tensor_parallel {})",
             context, ranks, spec.data_parallel, spec.pipeline_parallel, spec.tensor_parallel),
         fmt::format("use --mesh {}, or start {} ranks", fmt::join(fitting, " or "), mesh.ranks() * copies)});
  }
  TS_TRY(check_head_parallel(mesh, question));
  return mesh;
}

Result<Plan> plan_of_flags(const TrainSpec& spec, const ModelSpec& model, TokenLayout layout, int ranks) {
  const std::int64_t copies = spec.data_parallel * spec.pipeline_parallel * spec.tensor_parallel;
  if (ranks % copies != 0) {
    const bool data_alone = copies == spec.data_parallel;
    return bad_input(
        {data_alone ? "--data-parallel" : "--data-parallel, --pipeline-parallel, --tensor-parallel",
         data_alone ? "data_parallel" : "", fmt::format("{}", copies),
         fmt::format("a divisor of the number of ranks, {}", ranks),
         "change it or the number of ranks (mpirun -np)"});
  }
  if (spec.pipeline_parallel > model.layers) {
    return bad_input({"--pipeline-parallel", "pipeline_parallel", fmt::format("{}", spec.pipeline_parallel),
                      fmt::format("at most one stage for each of {} layers", model.layers), "lower it"});
  }
  TS_TRY(check_tensor_ranks(model, static_cast<int>(spec.tensor_parallel)));
  const auto context = static_cast<int>(ranks / copies);
  TS_TRY(check_context(spec.sequence_length, context));

  Plan plan;
  plan.layers = model.layers;
  plan.tied_embeddings = model.tie_word_embeddings;
  plan.parameters = model.parameters();
  plan.sequence_length = spec.sequence_length;
  plan.global_batch = spec.global_batch;
  plan.tensor_parallel = static_cast<int>(spec.tensor_parallel);
  plan.context = TS_TRY(mesh_of_flags(spec, model, layout, context, ranks));
  plan.micro_batch = spec.micro_batch;
  plan.nodes = {{"localhost", "cpu", ranks}};
  int device = 0;
  for (std::int64_t j = 0; j < spec.data_parallel; ++j) {
    planner::DeviceGroup group;
    group.micro_batches = spec.global_batch / spec.data_parallel / spec.micro_batch;
    for (std::int64_t s = 0; s < spec.pipeline_parallel; ++s) {
      planner::Stage stage;
      const auto first = [&](std::int64_t at) {
        return static_cast<int>(at * model.layers / spec.pipeline_parallel);
      };
      stage.first_layer = first(s);
      stage.layers = first(s + 1) - first(s);
      stage.recompute.assign(static_cast<std::size_t>(stage.layers),
                             spec.recompute == "on" ? Recompute::kSelective : Recompute::kNone);
      for (int i = 0; i < plan.stage_devices(); ++i) stage.devices.push_back({0, device++});
      group.stages.push_back(std::move(stage));
    }
    plan.groups.push_back(std::move(group));
  }
  return plan;
}

/// A plan's numbers against those of the run, and against settings that someone has changed.
Status check_against_run(const Plan& plan, const TrainSpec& spec, const ModelSpec& model, int ranks) {
  std::vector<std::string> differences;
  const auto same = [&](const char* what, const auto& in_plan, const auto& in_run) {
    if (in_plan != in_run) differences.push_back(fmt::format("{}: plan {}, run {}", what, in_plan, in_run));
  };
  const TrainSpec defaults;
  const auto unless_default = [&](const char* what, const auto& in_plan, const auto& in_run,
                                  const auto& fallback) {
    if (in_run != fallback) same(what, in_plan, in_run);
  };
  same("num_hidden_layers", plan.layers, model.layers);
  same("tie_word_embeddings", plan.tied_embeddings, model.tie_word_embeddings);
  same("parameters", plan.parameters, model.parameters());
  same("sequence_length", plan.sequence_length, spec.sequence_length);
  same("global_batch", plan.global_batch, spec.global_batch);
  same("ranks", plan.ranks(), ranks);
  same("precision", std::string(planner::precision_name(plan.precision)), spec.precision);
  unless_default("micro_batch", plan.micro_batch, spec.micro_batch, defaults.micro_batch);
  unless_default("mesh", to_string(plan.context), spec.mesh, defaults.mesh);
  unless_default("tensor_parallel", std::int64_t{plan.tensor_parallel}, spec.tensor_parallel,
                 defaults.tensor_parallel);
  unless_default("data_parallel", static_cast<std::int64_t>(plan.groups.size()), spec.data_parallel,
                 defaults.data_parallel);
  for (const planner::DeviceGroup& group : plan.groups) {
    unless_default("pipeline_parallel", static_cast<std::int64_t>(group.stages.size()),
                   spec.pipeline_parallel, defaults.pipeline_parallel);
  }
  if (spec.recompute != defaults.recompute)
    differences.emplace_back("recompute: the plan says it layer by layer");
  if (differences.empty()) return {};
  return bad_input({spec.plan, "", fmt::format("{}", fmt::join(differences, "; ")),
                    "a plan for this model, this run and this number of ranks",
                    "make the plan again with tessera-plan, or leave those settings to the plan"});
}

Result<Plan> plan_of_file(const TrainSpec& spec, const ModelSpec& model, TokenLayout layout, int ranks) {
  Plan plan = TS_TRY(planner::read_plan(spec.plan));
  TS_TRY(planner::check_structure(plan, spec.plan));
  TS_TRY(check_against_run(plan, spec, model, ranks));
  TS_TRY(check_tensor_ranks(model, plan.tensor_parallel));
  TS_TRY(check_context(spec.sequence_length, plan.context.ranks()));
  TrainSpec of_plan = spec;
  of_plan.tensor_parallel = plan.tensor_parallel;
  TS_TRY(check_head_parallel(plan.context, mesh_question(of_plan, model, layout, plan.context.ranks())));
  return plan;
}

}  // namespace

Result<Plan> make_job_plan(const TrainSpec& spec, const ModelSpec& model, TokenLayout layout, int ranks) {
  return spec.plan.empty() ? plan_of_flags(spec, model, layout, ranks)
                           : plan_of_file(spec, model, layout, ranks);
}

MeshQuestion mesh_question(const TrainSpec& spec, const ModelSpec& model, TokenLayout layout,
                           int context_ranks) {
  MeshQuestion question;
  question.ranks = context_ranks;
  if (spec.ranks_per_node % spec.tensor_parallel == 0) {
    question.ranks_per_node = static_cast<int>(spec.ranks_per_node / spec.tensor_parallel);
  }
  question.layout = layout;
  question.dims = dims_of(spec, model);
  question.window = static_cast<std::int32_t>(spec.window);
  question.rank_gb_per_s = spec.rank_link_gb_per_s;
  question.node_gb_per_s = spec.node_link_gb_per_s;
  return question;
}

int uniform_ranks_per_node(const std::vector<std::string>& hosts) {
  const auto other =
      std::ranges::find_if(hosts, [&](const std::string& host) { return host != hosts.front(); });
  const auto node = static_cast<std::size_t>(other - hosts.begin());
  if (hosts.empty() || hosts.size() % node != 0) return 0;
  std::vector<std::string> nodes;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    if (hosts[rank] != hosts[rank / node * node]) return 0;
    if (rank % node == 0) nodes.push_back(hosts[rank]);
  }
  std::ranges::sort(nodes);
  return std::ranges::adjacent_find(nodes) == nodes.end() ? static_cast<int>(node) : 0;
}

}  // namespace tessera::runtime
