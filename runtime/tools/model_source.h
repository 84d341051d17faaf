/// The two kinds of directory that hold a model, told apart and read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

enum class SourceKind : std::uint8_t {
  kHuggingFace,  // config.json and safetensors
  kCheckpoint,   // of tessera-train: manifest.json and shards
};
/// Errors    kNotFound when it is neither; a folder of checkpoints is told the newest of them.
[[nodiscard]] Result<SourceKind> source_kind(const std::string& directory);

struct Model {
  explicit Model(const planner::ModelSpec& model) : spec(model), layout(model) {}
  planner::ModelSpec spec;
  ParameterLayout layout;
  std::vector<float> flat;  // layout.total() floats
};

/// Zeros for every parameter. kResourceExhausted when `buffers` of that size, as the caller will hold, do not
/// fit into this machine's memory; `origin` is what the error names.
[[nodiscard]] Status allocate(Model& model, const std::string& origin, int buffers = 1);

/// Reads and verifies every byte.
[[nodiscard]] Result<Model> read_model(const std::string& directory, SourceKind kind);

/// The config.json of a Hugging Face directory.
[[nodiscard]] Result<planner::ModelSpec> read_hf_config(const std::string& directory);

}  // namespace tessera::runtime
