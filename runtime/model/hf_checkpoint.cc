#include "runtime/model/hf_checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "algos/base/mapped_file.h"
#include "kernels/cast/cast.h"
#include "runtime/model/safetensors.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const char* const kSingle = "model.safetensors";
const char* const kIndex = "model.safetensors.index.json";
const char* const kTiedHead = "lm_head.weight";

// ---- Reading ----

/// weight_map of the index: tensor -> file. File names must be plain: no path leaves the directory.
Result<std::map<std::string, std::string>> read_index(const std::string& path) {
  const auto file = TS_TRY(tessera::MappedFile::open(path, "the index of a sharded checkpoint",
                                                     "copy the whole Hugging Face directory"));
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  const auto refuse = [&path](const std::string& field, const std::string& found) {
    return bad_input({.file = path,
                      .field = field,
                      .found = found,
                      .expected = "an object that maps tensor names to file names of this directory",
                      .remedy = "copy the file from the model's Hugging Face page"});
  };
  const Json json = Json::parse(text, text + file.bytes().size(), nullptr, false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return refuse("weight_map", json.is_discarded() ? "text that is no JSON" : "no such object");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) return refuse("weight_map." + name, shard.type_name());
    const auto value = shard.get<std::string>();
    if (value.empty() || value == ".." || value.find('/') != std::string::npos ||
        value.find('\0') != std::string::npos) {
      return refuse("weight_map." + name, value);
    }
    files[name] = value;
  }
  return files;
}

void widen(const std::string& type, const std::byte* from, std::int64_t count, float* to) {
  if (type == "F32") {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  std::vector<std::uint16_t> words(static_cast<std::size_t>(std::min<std::int64_t>(count, 1 << 16)));
  for (std::int64_t at = 0; at < count; at += 1 << 16) {  // in pieces: the file may lie at an odd address
    const std::int64_t n = std::min<std::int64_t>(count - at, 1 << 16);
    std::memcpy(words.data(), from + at * 2, static_cast<std::size_t>(n) * 2);
    (type == "BF16" ? kernels::bf16_to_f32 : kernels::f16_to_f32)(to + at, words.data(), n);
  }
}

// ---- Writing ----

Status system_error(const std::string& path, const char* what) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return {full ? Code::kResourceExhausted : Code::kIoError,
          fmt::format("{}: {}: {}", path, what, std::strerror(error))};
}

/// One file, written in order and synced. What it leaves on failure is the caller's to remove.
class FileWriter {
 public:
  explicit FileWriter(std::string path)
      : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {}
  ~FileWriter() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  Status write(const void* bytes, std::size_t count) {
    if (fd_ < 0) return system_error(path_, "cannot create");
    const auto* at = static_cast<const char*>(bytes);
    while (count > 0) {
      const ssize_t n = ::write(fd_, at, std::min(count, std::size_t{1} << 26));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error(path_, "cannot write");
      at += n;
      count -= static_cast<std::size_t>(n);
    }
    return {};
  }
  Status finish() {
    if (fd_ < 0) return system_error(path_, "cannot create");
    if (::fsync(fd_) != 0) return system_error(path_, "cannot sync");
    return {};
  }

 private:
  std::string path_;
  int fd_;
};

Status sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error(path, "cannot open");
  const bool synced = ::fsync(fd) == 0;
  Status status = synced ? Status() : system_error(path, "cannot sync");
  ::close(fd);
  return status;
}

Status write_text(const std::string& path, const std::string& text) {
  FileWriter file(path);
  TS_TRY(file.write(text.data(), text.size()));
  return file.finish();
}

struct Shard {
  std::string file;
  std::vector<const ParameterInfo*> tensors;
};

std::int64_t type_bytes(StorageType type) { return type == StorageType::kF32 ? 4 : 2; }

/// In the layout's order; a new shard starts where the next tensor would exceed the limit.
std::vector<Shard> cut_into_shards(const ParameterLayout& layout, const HfWriteOptions& options) {
  std::vector<Shard> shards(1);
  std::int64_t bytes = 0;
  for (const ParameterInfo& info : layout.parameters()) {
    const std::int64_t size = info.count * type_bytes(options.type);
    if (!shards.back().tensors.empty() && bytes + size > options.max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().tensors.push_back(&info);
    bytes += size;
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    shards[i].file = shards.size() == 1
                         ? std::string(kSingle)
                         : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

Status write_shard(const std::string& path, const Shard& shard, const float* flat, StorageType type) {
  const char* const names[] = {"F32", "BF16", "F16"};
  std::vector<SafetensorsEntry> entries;
  std::uint64_t at = 0;
  for (const ParameterInfo* info : shard.tensors) {
    const std::uint64_t end = at + static_cast<std::uint64_t>(info->count * type_bytes(type));
    entries.push_back({info->name, names[static_cast<int>(type)], info->shape, at, end});
    at = end;
  }
  FileWriter file(path);
  const std::string header = safetensors_header(entries);
  TS_TRY(file.write(header.data(), header.size()));
  std::vector<std::uint16_t> words(std::size_t{1} << 16);
  for (const ParameterInfo* info : shard.tensors) {
    const float* from = flat + info->offset;
    if (type == StorageType::kF32) {
      TS_TRY(file.write(from, static_cast<std::size_t>(info->count) * sizeof(float)));
      continue;
    }
    for (std::int64_t i = 0; i < info->count; i += 1 << 16) {
      const std::int64_t n = std::min<std::int64_t>(info->count - i, 1 << 16);
      (type == StorageType::kBf16 ? kernels::f32_to_bf16 : kernels::f32_to_f16)(words.data(), from + i, n);
      TS_TRY(file.write(words.data(), static_cast<std::size_t>(n) * 2));
    }
  }
  return file.finish();
}

Status write_files(const std::string& directory, const planner::ModelSpec& spec,
                   const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  TS_TRY(write_text(directory + "/config.json", planner::to_config_json(spec)));
  const std::vector<Shard> shards = cut_into_shards(layout, options);
  std::int64_t total = 0;
  Json weight_map = Json::object();
  for (const Shard& shard : shards) {
    TS_TRY(write_shard(directory + "/" + shard.file, shard, flat, options.type));
    for (const ParameterInfo* info : shard.tensors) {
      weight_map[info->name] = shard.file;
      total += info->count * type_bytes(options.type);
    }
  }
  if (shards.size() > 1) {
    const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
    TS_TRY(write_text(directory + "/" + kIndex, index.dump(2) + "\n"));
  }
  return sync_directory(directory);
}

}  // namespace

Status read_hf_parameters(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, float* flat) {
  std::error_code ignored;
  const std::string index_path = directory + "/" + kIndex;
  const bool sharded = !fs::exists(directory + "/" + kSingle, ignored) && fs::exists(index_path, ignored);
  std::map<std::string, std::string> weight_map;
  std::set<std::string> files = {kSingle};
  if (sharded) {
    weight_map = TS_TRY(read_index(index_path));
    files.clear();
    for (const auto& [name, file] : weight_map) files.insert(file);
  }
  std::map<std::string, const ParameterInfo*> missing;
  for (const ParameterInfo& info : layout.parameters()) missing[info.name] = &info;
  std::set<std::string> seen;

  std::fill(flat, flat + layout.total(), 0.0F);
  for (const std::string& file : files) {
    const std::string path = directory + "/" + file;
    const auto mapped = TS_TRY(tessera::MappedFile::open(
        path,
        sharded ? std::string("a file that ") + kIndex + " names"
                : "a Hugging Face directory with model.safetensors or its sharded form",
        "copy the whole directory; a pytorch_model.bin is converted by "
        "save_pretrained(safe_serialization=True)"));
    const auto header = TS_TRY(parse_safetensors(mapped.bytes(), path));
    for (const SafetensorsEntry& entry : header.tensors) {
      const auto refuse = [&](const std::string& found, const std::string& expected,
                              const std::string& remedy) {
        return bad_input({.file = path,
                          .field = "tensor " + entry.name,
                          .found = found,
                          .expected = expected,
                          .remedy = remedy});
      };
      if (!seen.insert(entry.name).second) {
        return refuse("the tensor twice", "each tensor in one file", "export the checkpoint again");
      }
      const auto at = missing.find(entry.name);
      if (at == missing.end()) {
        const bool implied = entry.name.ends_with("rotary_emb.inv_freq") ||
                             (spec.tie_word_embeddings && entry.name == kTiedHead);
        if (implied) continue;
        return refuse("a tensor that config.json does not imply", "the tensors of a LlamaForCausalLM",
                      "check num_hidden_layers and tie_word_embeddings in config.json");
      }
      const ParameterInfo& info = *at->second;
      if (entry.shape != info.shape) {
        return refuse(fmt::format("shape {}", entry.shape), fmt::format("shape {}", info.shape),
                      "use the config.json that belongs to these weights");
      }
      if (entry.type != "F32" && entry.type != "BF16" && entry.type != "F16") {
        return refuse("type " + entry.type, "F32, BF16 or F16", "use the model's unquantised checkpoint");
      }
      widen(entry.type, mapped.bytes().data() + header.data_begin + entry.begin, info.count,
            flat + info.offset);
      missing.erase(at);
    }
  }
  if (!missing.empty()) {
    return bad_input({.file = sharded ? index_path : directory + "/" + kSingle,
                      .field = "tensor " + missing.begin()->first,
                      .found = fmt::format("nothing ({} tensors are missing)", missing.size()),
                      .expected = fmt::format("shape {}", missing.begin()->second->shape),
                      .remedy = "use the config.json that belongs to these weights, or copy all shards"});
  }
  return {};
}

Status write_hf_directory(const std::string& directory, const planner::ModelSpec& spec,
                          const ParameterLayout& layout, const float* flat, const HfWriteOptions& options) {
  std::error_code error;
  fs::path target = fs::path(directory).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();  // a trailing slash
  const bool exists = fs::exists(target, error);
  if (exists && !options.overwrite) {
    return bad_input({.file = directory,
                      .field = "",
                      .found = "something by this name",
                      .expected = "a name that is free",
                      .remedy = "choose another, or allow overwriting"});
  }
  if (exists && !fs::exists(target / "config.json", error) && !fs::is_empty(target, error)) {
    return bad_input({.file = directory,
                      .field = "",
                      .found = "something other than a model",
                      .expected = "a Hugging Face directory to replace",
                      .remedy = "choose another name"});
  }
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  fs::create_directories(parent, error);
  std::string temporary = (parent / ("." + target.filename().string() + ".writing-XXXXXX")).string();
  if (::mkdtemp(temporary.data()) == nullptr) return system_error(temporary, "cannot create");
  const std::string old = temporary + ".old";
  Status status = write_files(temporary, spec, layout, flat, options);
  if (status.ok() && ::chmod(temporary.c_str(), 0755) != 0) status = system_error(temporary, "cannot chmod");
  if (status.ok() && exists && ::rename(target.c_str(), old.c_str()) != 0) {
    status = system_error(directory, "cannot replace");
  }
  if (status.ok() && ::rename(temporary.c_str(), target.c_str()) != 0) {
    status = system_error(directory, "cannot rename into place");
    if (exists && ::rename(old.c_str(), target.c_str()) != 0) {
      status = system_error(old, "cannot rename the earlier directory back");
    }
  }
  if (!status.ok()) {
    fs::remove_all(temporary, error);
    return status;
  }
  fs::remove_all(old, error);
  return sync_directory(parent.string());
}

}  // namespace tessera::runtime
