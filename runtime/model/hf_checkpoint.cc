#include "runtime/model/hf_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"
#include "algos/base/mapped_file.h"
#include "runtime/model/safetensors_index.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
/// What transformers and llama.cpp read beside config and weights.
constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "tokenizer.model",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "chat_template.jinja",
                                           "generation_config.json"};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string path_in(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

/// Nothing for a model in one file.
Result<std::optional<SafetensorsIndex>> read_index(const std::string& directory) {
  std::error_code error;
  const std::string path = path_in(directory, kIndex);
  if (fs::exists(path_in(directory, kSingle), error) || !fs::exists(path, error)) {
    return std::optional<SafetensorsIndex>();
  }
  const MappedFile file =
      TS_TRY(MappedFile::open(path, "the index of a sharded checkpoint", "copy the whole directory"));
  const auto bytes = file.bytes();
  return std::optional(
      TS_TRY(parse_safetensors_index({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path)));
}

Result<std::vector<SafetensorsFile>> open_files(const std::string& directory,
                                                const std::optional<SafetensorsIndex>& index) {
  std::set<std::string> names;
  if (index) {
    for (const auto& [tensor, file] : index->file_of) names.insert(file);
  } else {
    names.insert(kSingle);
  }
  std::vector<SafetensorsFile> files;
  files.reserve(names.size());
  for (const std::string& name : names) {
    files.push_back(TS_TRY(SafetensorsFile::open(path_in(directory, name))));
  }
  return files;
}

/// Tensors that carry nothing of their own: constants of older exports, and the copy of a tied embedding.
bool may_be_ignored(const std::string& name, const planner::ModelSpec& spec) {
  return name.ends_with("rotary_emb.inv_freq") || (spec.tie_word_embeddings && name == "lm_head.weight");
}

/// The index against the file that a tensor was found in.
Status check_place(const std::string& directory, const SafetensorsIndex& index, const std::string& tensor,
                   const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  const auto at = index.file_of.find(tensor);
  if (at != index.file_of.end() && at->second == name) return {};
  return bad_input({path_in(directory, kIndex), "weight_map." + tensor,
                    at == index.file_of.end() ? "nothing" : at->second, name + ", which holds the tensor",
                    "copy every shard and the index from the same place"});
}

const char* config_dtype(StorageType type) {
  switch (type) {
    case StorageType::kF32: return "float32";
    case StorageType::kBf16: return "bfloat16";
    case StorageType::kF16: return "float16";
  }
  return "";
}

std::string config_text(const planner::ModelSpec& spec, StorageType type) {
  auto config = nlohmann::ordered_json::parse(planner::to_config_json(spec));
  config["torch_dtype"] = config_dtype(type);
  return config.dump(2) + "\n";
}

/// The parameters in order, in as few files as the limit allows.
std::vector<std::vector<TensorToWrite>> cut_shards(const ParameterLayout& layout, const float* flat,
                                                   const HfWriteOptions& options) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  std::int64_t filled = 0;
  for (const ParameterInfo& info : layout.parameters()) {
    const std::int64_t bytes = info.count * storage_bytes(options.type);
    if (filled > 0 && bytes > options.max_shard_bytes - filled) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back({info.name, info.shape, flat + info.offset, info.count});
    filled += bytes;
  }
  return shards;
}

Status write_weights(const std::string& directory, const ParameterLayout& layout, const float* flat,
                     const HfWriteOptions& options) {
  const auto shards = cut_shards(layout, flat, options);
  if (shards.size() == 1) return write_safetensors(path_in(directory, kSingle), shards[0], options.type);
  SafetensorsIndex index;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    TS_TRY(write_safetensors(path_in(directory, name), shards[i], options.type));
    index.total_size += safetensors_data_bytes(shards[i], options.type);
    for (const TensorToWrite& tensor : shards[i]) index.file_of[tensor.name] = name;
  }
  return write_durably(path_in(directory, kIndex), to_json(index));
}

Status copy_tokenizer(const std::string& from, const std::string& to) {
  for (const std::string name : kTokenizerFiles) {
    std::error_code error;
    if (!fs::exists(path_in(from, name), error)) continue;
    const MappedFile file = TS_TRY(MappedFile::open(path_in(from, name), "a file of the model's tokenizer",
                                                    "make it readable, or remove it"));
    const auto bytes = file.bytes();
    TS_TRY(write_durably(path_in(to, name), {&bytes, 1}));
  }
  return {};
}

Status write_contents(const std::string& directory, const planner::ModelSpec& spec,
                      const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  TS_TRY(write_durably(path_in(directory, "config.json"), config_text(spec, options.type)));
  if (!options.tokenizer_from.empty()) TS_TRY(copy_tokenizer(options.tokenizer_from, directory));
  return write_weights(directory, layout, flat, options);
}

}  // namespace

Result<HfDirectory> HfDirectory::open(const std::string& directory, const planner::ModelSpec& spec,
                                      const ParameterLayout& layout) {
  const std::optional<SafetensorsIndex> index = TS_TRY(read_index(directory));
  HfDirectory model;
  model.files_ = TS_TRY(open_files(directory, index));
  std::map<std::string, const ParameterInfo*> wanted;
  for (const ParameterInfo& info : layout.parameters()) wanted[info.name] = &info;
  std::map<std::string, Tensor> seen;
  for (const SafetensorsFile& file : model.files_) {
    for (const TensorEntry& entry : file.tensors()) {
      const auto found = wanted.find(entry.name);
      if (found == wanted.end()) {
        if (may_be_ignored(entry.name, spec)) continue;
        return bad_input({file.path(), entry.name, "a tensor the model has no place for",
                          "the tensors of a LlamaForCausalLM with the sizes in config.json",
                          "check that config.json belongs to these weights"});
      }
      if (const auto [first, inserted] = seen.emplace(entry.name, Tensor{&file, &entry}); !inserted) {
        return bad_input({file.path(), entry.name,
                          "a second copy; the first is in " + first->second.file->path(), "each tensor once",
                          "remove the shard that does not belong"});
      }
      if (entry.shape != found->second->shape) {
        return bad_input({file.path(), entry.name + ".shape", shape_text(entry.shape),
                          shape_text(found->second->shape),
                          "check that config.json belongs to these weights"});
      }
      if (index) TS_TRY(check_place(directory, *index, entry.name, file.path()));
    }
  }
  for (const ParameterInfo& info : layout.parameters()) {
    const auto at = seen.find(info.name);
    if (at == seen.end()) {
      return bad_input({directory, info.name, "no such tensor", shape_text(info.shape),
                        "check that every shard was copied and that config.json belongs to these weights"});
    }
    model.tensors_.push_back(at->second);
  }
  return model;
}

Status read_hf_parameters(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, float* flat) {
  const ParameterLayout full(spec);
  const HfDirectory model = TS_TRY(HfDirectory::open(directory, spec, full));
  std::vector<float> whole;  // of a tensor of which `layout` has a block
  for (std::size_t i = 0; i < full.parameters().size(); ++i) {
    const auto own = std::ranges::find(layout.parameters(), full.parameters()[i].name, &ParameterInfo::name);
    if (own == layout.parameters().end()) continue;
    if (own->cut_dim < 0) {
      TS_TRY(model.tensors()[i].read({flat + own->offset, static_cast<std::size_t>(own->count)}));
      continue;
    }
    whole.resize(static_cast<std::size_t>(full.parameters()[i].count));
    TS_TRY(model.tensors()[i].read(whole));
    for (const ParameterInfo::Run& run : own->runs()) {
      std::copy_n(whole.begin() + run.full_index, run.count, flat + run.offset);
    }
  }
  return {};
}

Status write_hf_directory(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  fs::path target = fs::path(directory).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // "model/"
  std::error_code error;
  if (!options.overwrite && fs::exists(fs::symlink_status(target, error))) {
    return bad_input({directory, "", "it exists", "a name that is free", "choose another, or move it away"});
  }
  const std::string part = fmt::format("{}.part-{}", target.string(), ::getpid());
  std::vector<fs::path> created;  // above `part`, innermost first
  for (fs::path above = target.parent_path(); !fs::exists(above, error) && above != above.parent_path();
       above = above.parent_path()) {
    created.push_back(above);
  }
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  Status status = error ? write_failure(directory, "cannot create", error)
                        : write_contents(part, spec, layout, flat, options);
  if (status.ok()) status = replace_directory(part, target.string());
  if (status.ok()) return {};
  fs::remove_all(part, error);
  for (const fs::path& above : created) fs::remove(above, error);  // each only when empty
  return status;
}

}  // namespace tessera::runtime
