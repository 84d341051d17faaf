#include "runtime/tools/model_source.h"

#include <filesystem>

#include <fmt/format.h>

#include "runtime/model/hf_checkpoint.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/machine_memory.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& directory, const char* name) {
  std::error_code error;
  return fs::exists(directory + "/" + name, error);
}

}  // namespace

Result<SourceKind> source_kind(const std::string& directory) {
  std::error_code error;
  const char* const expected = "a Hugging Face directory, or a checkpoint of tessera-train";
  if (!fs::is_directory(directory, error)) {
    const bool there = fs::exists(directory, error);
    return bad_input({directory, "", there ? "no directory" : "nothing", expected, "check the path"},
                     Code::kNotFound);
  }
  if (has(directory, "manifest.json")) return SourceKind::kCheckpoint;
  if (has(directory, "model.safetensors") || has(directory, "model.safetensors.index.json")) {
    return SourceKind::kHuggingFace;
  }
  std::string remedy = "check the path";
  for (const std::string& root : {directory, directory + "/checkpoints"}) {
    const std::vector<CheckpointEntry> entries = list_checkpoints(root);
    if (!entries.empty()) remedy = fmt::format("name one checkpoint; the newest is {}", entries[0].directory);
  }
  return bad_input({directory, "", "neither manifest.json nor model.safetensors", expected, remedy},
                   Code::kNotFound);
}

Status allocate(Model& model, const std::string& origin, int buffers) {
  const std::int64_t needed = buffers * model.layout.total() * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t there = machine_memory();
  if (there > 0 && needed > there) {
    return bad_input(
        {origin, "parameters", fmt::format("{:.1f} GB as fp32", 1e-9 * static_cast<double>(needed)),
         fmt::format("at most this machine's memory, {:.1f} GB", 1e-9 * static_cast<double>(there)),
         "use a machine with more memory"},
        Code::kResourceExhausted);
  }
  model.flat.assign(static_cast<std::size_t>(model.layout.total()), 0.0F);
  return {};
}

Result<planner::ModelSpec> read_hf_config(const std::string& directory) {
  return planner::read_model_spec(directory + "/config.json");
}

Result<Model> read_model(const std::string& directory, SourceKind kind) {
  if (kind == SourceKind::kHuggingFace) {
    Model model(TS_TRY(read_hf_config(directory)));
    TS_TRY(allocate(model, directory));
    TS_TRY(read_hf_parameters(directory, model.spec, model.layout, model.flat.data()));
    return model;
  }
  const CheckpointManifest manifest = TS_TRY(read_checkpoint_manifest(directory));
  Model model(manifest.meta.model);
  TS_TRY(allocate(model, directory));
  StatePiece all;
  all.range = {0, manifest.parameters};
  all.parameters = model.flat.data();
  TS_TRY(read_checkpoint_state(directory, manifest, {manifest.parameters, {all}}));
  return model;
}

}  // namespace tessera::runtime
