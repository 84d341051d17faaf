#include <array>
#include <map>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "planner/plan/check_structure.h"
#include "planner/plan/plan.h"
#include "planner/spec/json_object.h"

namespace tessera::planner {
namespace {

using Ordered = nlohmann::ordered_json;
const char* const kRemedy = "make the plan again with tessera-plan, or compare with docs/planner.md";
constexpr int kFormatVersion = 1;
constexpr double kMost = 1e300;  // of expected seconds and bytes
constexpr std::int64_t kMostSequences = std::int64_t{1} << 30;
constexpr int kMostDegree = 1 << 16;

/// One number of an expectation: its name in the file and where it is.
template <class T>
struct RealField {
  const char* name;
  double T::*member;
};
constexpr std::array<RealField<StageExpectation>, 10> kStageFields{{
    {"forward_s", &StageExpectation::forward_s},
    {"backward_s", &StageExpectation::backward_s},
    {"update_s", &StageExpectation::update_s},
    {"send_activation_s", &StageExpectation::send_activation_s},
    {"send_gradient_s", &StageExpectation::send_gradient_s},
    {"static_bytes", &StageExpectation::static_bytes},
    {"activation_bytes", &StageExpectation::activation_bytes},
    {"workspace_bytes", &StageExpectation::workspace_bytes},
    {"peak_bytes", &StageExpectation::peak_bytes},
    {"capacity_bytes", &StageExpectation::capacity_bytes},
}};
constexpr std::array<RealField<PlanExpectation>, 6> kPlanFields{{
    {"iteration_s", &PlanExpectation::iteration_s},
    {"sync_exposed_s", &PlanExpectation::sync_exposed_s},
    {"update_s", &PlanExpectation::update_s},
    {"gather_s", &PlanExpectation::gather_s},
    {"lower_bound_s", &PlanExpectation::lower_bound_s},
    {"gap", &PlanExpectation::gap},
}};

/// Runs of equal choices: [["none", 3], ["selective", 5]].
Ordered recompute_json(const std::vector<Recompute>& recompute) {
  Ordered runs = Ordered::array();
  for (std::size_t i = 0; i < recompute.size();) {
    std::size_t end = i;
    while (end < recompute.size() && recompute[end] == recompute[i]) ++end;
    runs.push_back({recompute_name(recompute[i]), end - i});
    i = end;
  }
  return runs;
}

Ordered stage_json(const Stage& stage) {
  Ordered devices = Ordered::array();
  for (const DeviceSlot slot : stage.devices) devices.push_back({slot.node, slot.device});
  Ordered json{{"devices", devices},
               {"first_layer", stage.first_layer},
               {"layers", stage.layers},
               {"recompute", recompute_json(stage.recompute)}};
  for (const auto& field : kStageFields) json["expected"][field.name] = stage.expected.*field.member;
  return json;
}

Ordered group_json(const DeviceGroup& group) {
  Ordered stages = Ordered::array();
  for (const Stage& stage : group.stages) stages.push_back(stage_json(stage));
  return {{"micro_batches", group.micro_batches},
          {"expected", {{"period_s", group.period_s}, {"pipeline_s", group.pipeline_s}}},
          {"stages", stages}};
}

/// Pairs [first, second] of a field; `expected` says what they are.
template <class Visit>
Status for_each_pair(const JsonObject& object, const char* name, const std::string& expected,
                     const Visit& visit) {
  if (!object.has(name) || !object.at(name).is_array()) return object.refuse(name, expected);
  for (const Json& pair : object.at(name)) {
    if (!pair.is_array() || pair.size() != 2 || !visit(pair[0], pair[1]))
      return object.refuse(name, expected);
  }
  return {};
}

bool read_index(const Json& json, int most, int& value) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) return false;
  const auto number = json.get<std::int64_t>();
  if (number < 0 || number > most) return false;
  value = static_cast<int>(number);
  return true;
}

Status read_recompute(const JsonObject& row, Stage& stage) {
  return for_each_pair(
      row, "recompute", "runs [\"none\" | \"selective\" | \"full\", layers], as many layers as the stage has",
      [&](const Json& name, const Json& count) {
        int run = 0;
        if (!name.is_string() || !read_index(count, stage.layers, run) || run == 0) return false;
        if (stage.recompute.size() + static_cast<std::size_t>(run) > static_cast<std::size_t>(stage.layers)) {
          return false;
        }
        for (const Recompute kind : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
          if (name == recompute_name(kind)) {
            stage.recompute.insert(stage.recompute.end(), static_cast<std::size_t>(run), kind);
            return true;
          }
        }
        return false;
      });
}

Result<Stage> read_stage(const JsonObject& row, int layers) {
  TS_TRY(row.only({"devices", "first_layer", "layers", "recompute", "expected"}));
  Stage stage;
  TS_TRY(row.integer("first_layer", 0, layers - 1, stage.first_layer, true));
  TS_TRY(row.integer("layers", 1, layers, stage.layers, true));
  TS_TRY(for_each_pair(row, "devices", "pairs [node, device of the node]",
                       [&](const Json& node, const Json& device) {
                         DeviceSlot slot;
                         if (!read_index(node, kMostDegree, slot.node)) return false;
                         if (!read_index(device, kMostDegree, slot.device)) return false;
                         stage.devices.push_back(slot);
                         return true;
                       }));
  TS_TRY(read_recompute(row, stage));
  if (row.has("expected")) {
    const JsonObject expected = TS_TRY(row.object("expected"));
    TS_TRY(expected.only({"forward_s", "backward_s", "update_s", "send_activation_s", "send_gradient_s",
                          "static_bytes", "activation_bytes", "workspace_bytes", "peak_bytes",
                          "capacity_bytes"}));
    for (const auto& field : kStageFields) {
      TS_TRY(expected.real(field.name, 0, kMost, stage.expected.*field.member, true));
    }
  }
  return stage;
}

Result<DeviceGroup> read_group(const JsonObject& row, int layers) {
  TS_TRY(row.only({"micro_batches", "expected", "stages"}));
  DeviceGroup group;
  TS_TRY(row.integer("micro_batches", 1, kMostSequences, group.micro_batches, true));
  if (row.has("expected")) {
    const JsonObject expected = TS_TRY(row.object("expected"));
    TS_TRY(expected.only({"period_s", "pipeline_s"}));
    TS_TRY(expected.real("period_s", 0, kMost, group.period_s, true));
    TS_TRY(expected.real("pipeline_s", 0, kMost, group.pipeline_s, true));
  }
  int held = 0;
  for (const JsonObject& stage : TS_TRY(row.objects("stages", true))) {
    group.stages.push_back(TS_TRY(read_stage(stage, layers)));
    held += group.stages.back().layers;
    if (held > layers) return stage.refuse("layers", fmt::format("{} layers in the whole group", layers));
  }
  return group;
}

Status read_expectation(const JsonObject& object, PlanExpectation& plan) {
  if (!object.has("expected")) return {};
  const JsonObject expected = TS_TRY(object.object("expected"));
  TS_TRY(expected.only(
      {"iteration_s", "sync_exposed_s", "update_s", "gather_s", "lower_bound_s", "gap", "evaluated"}));
  for (const auto& field : kPlanFields) {
    TS_TRY(expected.real(field.name, 0, kMost, plan.*field.member, true));
  }
  return expected.integer("evaluated", 0, kLargestInteger, plan.evaluated, true);
}

Status read_nodes(const JsonObject& object, Plan& plan) {
  for (const JsonObject& row : TS_TRY(object.objects("nodes", true))) {
    TS_TRY(row.only({"name", "device", "devices"}));
    PlanNode node;
    TS_TRY(row.text("name", node.name, true));
    TS_TRY(row.text("device", node.device, true));
    TS_TRY(row.integer("devices", 1, kMostDegree, node.devices, true));
    plan.nodes.push_back(std::move(node));
  }
  return {};
}

Status read_formats(const JsonObject& object, Plan& plan) {
  std::string precision;
  TS_TRY(object.text("precision", precision, true));
  bool known = false;
  for (const Precision kind : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    if (precision != precision_name(kind)) continue;
    plan.precision = kind;
    known = true;
  }
  if (!known) return object.refuse("precision", "\"fp32\", \"bf16\" or \"fp16\"");
  std::string context;
  TS_TRY(object.text("context", context, true));
  const auto mesh = runtime::parse_mesh_shape(context);
  if (!mesh.ok() || mesh->ranks() > kMostDegree) {
    return object.refuse("context", "a mesh such as 1x1, 2x2, (2.4)x2 or u2:2x2");
  }
  plan.context = mesh.value();
  return {};
}

}  // namespace

std::string to_plan_json(const Plan& plan) {
  Ordered nodes = Ordered::array();
  for (const PlanNode& node : plan.nodes) {
    nodes.push_back({{"name", node.name}, {"device", node.device}, {"devices", node.devices}});
  }
  Ordered groups = Ordered::array();
  for (const DeviceGroup& group : plan.groups) groups.push_back(group_json(group));
  Ordered json{{"version", kFormatVersion},
               {"layers", plan.layers},
               {"tied_embeddings", plan.tied_embeddings},
               {"parameters", plan.parameters},
               {"sequence_length", plan.sequence_length},
               {"global_batch", plan.global_batch},
               {"precision", precision_name(plan.precision)},
               {"tensor_parallel", plan.tensor_parallel},
               {"context", to_string(plan.context)},
               {"micro_batch", plan.micro_batch}};
  for (const auto& field : kPlanFields) json["expected"][field.name] = plan.expected.*field.member;
  json["expected"]["evaluated"] = plan.expected.evaluated;
  json["nodes"] = std::move(nodes);
  json["groups"] = std::move(groups);
  return json.dump(1) + "\n";
}

Result<Plan> parse_plan(const std::string& json_text, const std::string& file_name) {
  const Json json = TS_TRY(parse_json_object(json_text, file_name, "one JSON object, a plan", kRemedy));
  const JsonObject object(json, file_name, "", kRemedy);
  TS_TRY(
      object.only({"version", "layers", "tied_embeddings", "parameters", "sequence_length", "global_batch",
                   "precision", "tensor_parallel", "context", "micro_batch", "expected", "nodes", "groups"}));
  int version = 0;
  TS_TRY(object.integer("version", kFormatVersion, kFormatVersion, version, true));
  Plan plan;
  TS_TRY(object.integer("layers", 1, 1 << 16, plan.layers, true));
  if (!object.has("tied_embeddings")) return object.refuse("tied_embeddings", "true or false");
  TS_TRY(object.boolean("tied_embeddings", plan.tied_embeddings));
  TS_TRY(object.integer("parameters", 1, kLargestInteger, plan.parameters, true));
  TS_TRY(object.integer("sequence_length", 1, kMostSequences, plan.sequence_length, true));
  TS_TRY(object.integer("global_batch", 1, kMostSequences, plan.global_batch, true));
  TS_TRY(object.integer("tensor_parallel", 1, kMostDegree, plan.tensor_parallel, true));
  TS_TRY(object.integer("micro_batch", 1, kMostSequences, plan.micro_batch, true));
  TS_TRY(read_formats(object, plan));
  TS_TRY(read_expectation(object, plan.expected));
  TS_TRY(read_nodes(object, plan));
  for (const JsonObject& row : TS_TRY(object.objects("groups", true))) {
    plan.groups.push_back(TS_TRY(read_group(row, plan.layers)));
  }
  TS_TRY(check_structure(plan, file_name));
  return plan;
}

Result<Plan> read_plan(const std::string& path) {
  const std::string text = TS_TRY(read_text_file(path, "a plan.json", "check the path given with --plan"));
  return parse_plan(text, path);
}

Status write_plan(const Plan& plan, const std::string& path) {
  return write_durably(path, to_plan_json(plan));
}

}  // namespace tessera::planner
