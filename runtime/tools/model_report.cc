#include "runtime/tools/model_report.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "runtime/model/hf_checkpoint.h"
#include "runtime/tools/tensor_stats.h"
#include "runtime/train/checkpoint.h"

namespace tessera::runtime {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const TensorStats& stats) {
  const bool any = stats.finite > 0;
  return {{"xxh64", stats.xxh64},
          {"min", any ? Json(stats.min) : Json()},
          {"max", any ? Json(stats.max) : Json()},
          {"mean", any ? Json(stats.mean) : Json()},
          {"finite", stats.finite},
          {"non_finite", stats.non_finite}};
}

Json head_of(const std::string& directory, const char* kind, const planner::ModelSpec& spec) {
  return {{"directory", directory},
          {"kind", kind},
          {"parameters", spec.parameters()},
          {"model", Json::parse(planner::to_config_json(spec))}};
}

Result<Json> inspect_hf(const std::string& directory, bool stats) {
  const planner::ModelSpec spec = TS_TRY(read_hf_config(directory));
  const ParameterLayout layout(spec);
  const HfDirectory model = TS_TRY(HfDirectory::open(directory, spec, layout));
  Json report = head_of(directory, "huggingface", spec);
  for (const SafetensorsFile& file : model.files()) {
    const std::filesystem::path path = file.path();
    report["files"].push_back({{"file", path.filename()}, {"bytes", std::filesystem::file_size(path)}});
  }
  std::vector<float> values;
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    const HfDirectory::Tensor& found = model.tensors()[i];
    Json tensor = {{"name", found.entry->name},
                   {"shape", found.entry->shape},
                   {"dtype", found.entry->dtype},
                   {"bytes", found.entry->end - found.entry->begin},
                   {"file", std::filesystem::path(found.file->path()).filename()}};
    if (stats) {
      values.resize(static_cast<std::size_t>(layout.parameters()[i].count));
      TS_TRY(found.read(values));
      tensor["stats"] = to_json(tensor_stats(values));
    }
    report["tensors"].push_back(std::move(tensor));
  }
  return report;
}

/// Parameters and moments of all ranks.
struct WholeState {
  Model parameters;
  std::vector<float> first_moment;
  std::vector<float> second_moment;
};

Result<WholeState> read_state(const std::string& directory, const CheckpointManifest& manifest) {
  WholeState state{Model(manifest.meta.model), {}, {}};
  TS_TRY(allocate(state.parameters, directory, 3));
  state.first_moment = state.second_moment = state.parameters.flat;
  StatePiece all;
  all.range = {0, manifest.parameters};
  all.parameters = state.parameters.flat.data();
  all.first_moment = state.first_moment.data();
  all.second_moment = state.second_moment.data();
  TS_TRY(read_checkpoint_state(directory, manifest, {manifest.parameters, {all}}));
  return state;
}

Result<Json> inspect_checkpoint(const std::string& directory, bool stats) {
  const CheckpointManifest manifest = TS_TRY(read_checkpoint_manifest(directory));
  TS_TRY(check_checkpoint_files(directory, manifest));
  const CheckpointMeta& meta = manifest.meta;
  Json report = head_of(directory, "checkpoint", meta.model);
  report["step"] = meta.step;
  report["next_sample"] = meta.next_sample;
  report["seed"] = meta.seed;
  report["run"] = Json::object();
  for (const auto& [name, value] : meta.identity) report["run"][name] = value;
  for (const CheckpointShard& shard : manifest.shards) {
    report["files"].push_back({{"file", shard.file}, {"bytes", shard.bytes}, {"xxh64", shard.xxh64}});
  }
  WholeState state{Model(meta.model), {}, {}};
  if (stats) state = TS_TRY(read_state(directory, manifest));
  for (const ParameterInfo& info : state.parameters.layout.parameters()) {
    Json tensor = {{"name", info.name},
                   {"shape", info.shape},
                   {"dtype", "F32"},
                   {"bytes", 4 * info.count},
                   {"offset", info.offset}};
    if (stats) {
      const auto part = [&](const std::vector<float>& flat) {
        return to_json(tensor_stats({flat.data() + info.offset, static_cast<std::size_t>(info.count)}));
      };
      tensor["stats"] = part(state.parameters.flat);
      tensor["first_moment"] = part(state.first_moment);
      tensor["second_moment"] = part(state.second_moment);
    }
    report["tensors"].push_back(std::move(tensor));
  }
  return report;
}

std::string bytes_text(std::int64_t bytes) {
  if (bytes < 1'000'000) return fmt::format("{} bytes", bytes);
  return bytes < 1'000'000'000 ? fmt::format("{:.2f} MB", 1e-6 * static_cast<double>(bytes))
                               : fmt::format("{:.2f} GB", 1e-9 * static_cast<double>(bytes));
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    text += fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t c = 1; c < row.size(); ++c) text += fmt::format("  {:>{}}", row[c], widths[c]);
    text += '\n';
  }
  return text;
}

std::string number_text(const Json& value) {
  return value.is_null() ? "-" : fmt::format("{:.4g}", value.get<double>());
}

std::vector<std::string> stats_cells(const Json& stats) {
  return {number_text(stats["min"]), number_text(stats["max"]), number_text(stats["mean"]),
          fmt::format("{}", stats["non_finite"].get<std::int64_t>()), stats["xxh64"].get<std::string>()};
}

std::string moments_text(const Json& tensors) {
  std::int64_t non_finite = 0;
  for (const Json& tensor : tensors) {
    for (const char* moment : {"first_moment", "second_moment"}) {
      non_finite += tensor[moment]["non_finite"].get<std::int64_t>();
    }
  }
  return fmt::format("moments     {} values are not finite; all files match their checksums\n", non_finite);
}

}  // namespace

Result<Json> inspect_model(const std::string& directory, SourceKind kind, bool stats) {
  return kind == SourceKind::kHuggingFace ? inspect_hf(directory, stats)
                                          : inspect_checkpoint(directory, stats);
}

std::string to_text(const Json& report) {
  const bool checkpoint = report["kind"] == "checkpoint";
  const Json& model = report["model"];
  const Json& tensors = report["tensors"];
  const auto integer = [](const Json& value) { return value.get<std::int64_t>(); };
  std::string text = fmt::format(
      "{}: {}\n", report["directory"].get<std::string>(),
      checkpoint ? fmt::format("checkpoint of tessera-train after step {}", integer(report["step"]))
                 : "Hugging Face directory, LlamaForCausalLM");
  text += fmt::format("parameters  {}: {} layers, width {}, {} heads, {} key/value heads, vocabulary {}{}\n",
                      integer(report["parameters"]), integer(model["num_hidden_layers"]),
                      integer(model["hidden_size"]), integer(model["num_attention_heads"]),
                      integer(model["num_key_value_heads"]), integer(model["vocab_size"]),
                      model["tie_word_embeddings"].get<bool>() ? ", tied" : "");
  if (checkpoint) {
    text += fmt::format("next sample {}\n", integer(report["next_sample"]));
    for (const auto& [name, value] : report["run"].items()) {
      if (!name.starts_with("model."))
        text += fmt::format("run         {} {}\n", name, value.get<std::string>());
    }
  }
  for (const Json& file : report["files"]) {
    text += fmt::format("file        {}  {}\n", file["file"].get<std::string>(),
                        bytes_text(integer(file["bytes"])));
  }
  const bool stats = !tensors.empty() && tensors[0].contains("stats");
  if (checkpoint && stats) text += moments_text(tensors);
  std::vector<std::vector<std::string>> rows = {{"tensor", "shape", "type", "bytes"}};
  if (stats) rows[0].insert(rows[0].end(), {"min", "max", "mean", "not finite", "xxh64 as fp32"});
  for (const Json& tensor : tensors) {
    rows.push_back({tensor["name"].get<std::string>(),
                    fmt::format("{}", fmt::join(tensor["shape"].get<std::vector<std::int64_t>>(), " x ")),
                    tensor["dtype"].get<std::string>(), fmt::format("{}", integer(tensor["bytes"]))});
    if (stats) std::ranges::move(stats_cells(tensor["stats"]), std::back_inserter(rows.back()));
  }
  return text + "\n" + table(rows);
}

}  // namespace tessera::runtime
