#include "runtime/model/hf_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// The file names that an index maps tensors to, each a plain name inside the directory.
Result<std::vector<std::string>> shards_of_index(const std::string& directory) {
  const std::string path = directory + "/" + kIndex;
  const MappedFile file =
      TS_TRY(MappedFile::open(path, "the index of a sharded checkpoint", "copy the whole directory"));
  const auto bytes = file.bytes();
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const json tree = json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
  if (!tree.is_object() || !tree.contains("weight_map") || !tree["weight_map"].is_object()) {
    return bad_input(
        {path, "weight_map", "none", "an object that maps tensor names to files", "copy the file again"});
  }
  std::set<std::string> names;
  for (const auto& [tensor, value] : tree["weight_map"].items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") {
      return bad_input({path, "weight_map." + tensor, value.dump(-1, ' ', true),
                        "the name of a file beside the index", "copy the file again"});
    }
    names.insert(name);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Result<std::vector<SafetensorsFile>> open_shards(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names{kSingle};
  if (!fs::exists(directory + "/" + kSingle, error) && fs::exists(directory + "/" + kIndex, error)) {
    names = TS_TRY(shards_of_index(directory));
  }
  std::vector<SafetensorsFile> files;
  for (const std::string& name : names)
    files.push_back(TS_TRY(SafetensorsFile::open(directory + "/" + name)));
  return files;
}

/// Tensors that carry nothing of their own: constants of older exports, and the copy of a tied embedding.
bool may_be_ignored(const std::string& name, const planner::ModelSpec& spec) {
  return name.ends_with("rotary_emb.inv_freq") || (spec.tie_word_embeddings && name == "lm_head.weight");
}

Status write_contents(const std::string& directory, const planner::ModelSpec& spec,
                      const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  std::int64_t filled = 0;
  std::int64_t total = 0;
  for (const ParameterInfo& info : layout.parameters()) {
    const std::int64_t bytes = info.count * storage_bytes(options.type);
    if (filled > 0 && filled + bytes > options.max_shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back({info.name, info.shape, flat + info.offset, info.count});
    filled += bytes;
    total += bytes;
  }
  TS_TRY(write_durably(directory + "/config.json", planner::to_config_json(spec)));
  if (shards.size() == 1) return write_safetensors(directory + "/" + kSingle, shards[0], options.type);
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = total;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    TS_TRY(write_safetensors(directory + "/" + name, shards[i], options.type));
    for (const TensorToWrite& tensor : shards[i]) index["weight_map"][tensor.name] = name;
  }
  return write_durably(directory + "/" + kIndex, index.dump(2) + "\n");
}

}  // namespace

Status read_hf_parameters(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, float* flat) {
  const std::vector<SafetensorsFile> files = TS_TRY(open_shards(directory));
  std::map<std::string, const ParameterInfo*> wanted;
  for (const ParameterInfo& info : layout.parameters()) wanted[info.name] = &info;
  std::map<std::string, const SafetensorsFile*> seen;
  for (const SafetensorsFile& file : files) {
    for (const TensorEntry& entry : file.tensors()) {
      const auto found = wanted.find(entry.name);
      if (found == wanted.end()) {
        if (may_be_ignored(entry.name, spec)) continue;
        return bad_input({file.path(), entry.name, "a tensor the model has no place for",
                          "the tensors of a LlamaForCausalLM with the sizes in config.json",
                          "check that config.json belongs to these weights"});
      }
      const ParameterInfo& info = *found->second;
      if (const auto [first, inserted] = seen.emplace(entry.name, &file); !inserted) {
        return bad_input({file.path(), entry.name, "a second copy; the first is in " + first->second->path(),
                          "each tensor once", "remove the shard that does not belong"});
      }
      if (entry.shape != info.shape) {
        return bad_input({file.path(), entry.name + ".shape", shape_text(entry.shape), shape_text(info.shape),
                          "check that config.json belongs to these weights"});
      }
      TS_TRY(file.read(entry, {flat + info.offset, static_cast<std::size_t>(info.count)}));
    }
  }
  for (const ParameterInfo& info : layout.parameters()) {
    if (!seen.contains(info.name)) {
      return bad_input({directory, info.name, "no such tensor", shape_text(info.shape),
                        "check that every shard was copied and that config.json belongs to these weights"});
    }
  }
  return {};
}

Status write_hf_directory(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  std::string target = fs::path(directory).lexically_normal().string();
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  std::error_code error;
  if (!options.overwrite && fs::exists(target, error)) {
    return bad_input(
        {directory, "", "it exists", "a name that is free", "choose another, or ask to overwrite"});
  }
  const std::string part = fmt::format("{}.part-{}", target, ::getpid());
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  if (error) return write_failure(part, "cannot create", error);
  Status status = write_contents(part, spec, layout, flat, options);
  if (status.ok()) status = replace_directory(part, target);
  if (!status.ok()) fs::remove_all(part, error);
  return status;
}

}  // namespace tessera::runtime
