/// Hugging Face model directories: config.json and model.safetensors, single or sharded.
///
/// Reading   F32, BF16, F16 tensors into the flat fp32 buffer; each tensor must be there once with the
///           expected shape, in the file that the index names; unknown tensors are refused except
///           rotary_emb.inv_freq and a tied lm_head.
/// Writing   into a temporary sibling directory, synced, then renamed: a directory appears whole or not at
///           all. An existing one is replaced only when `overwrite`.
/// Errors    bad_input text naming file, tensor, expected shape and remedy; what the system refuses (disk
///           full: kResourceExhausted) leaves nothing behind.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/parameters.h"
#include "runtime/model/safetensors.h"

namespace tessera::runtime {

/// A directory whose files are open and whose tensors are those of a model; their values are not read yet.
class HfDirectory {
 public:
  static Result<HfDirectory> open(const std::string& directory, const planner::ModelSpec& spec,
                                  const ParameterLayout& layout);

  struct Tensor {
    const SafetensorsFile* file;
    const TensorEntry* entry;
    [[nodiscard]] Status read(std::span<float> to) const { return file->read(*entry, to); }
  };
  /// In the order of layout.parameters().
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::vector<SafetensorsFile> files_;
  std::vector<Tensor> tensors_;
};

/// `layout`: of the model or of a slice of it.
[[nodiscard]] Status read_hf_parameters(const std::string& directory, const planner::ModelSpec& spec,
                                        const ParameterLayout& layout, float* flat);

struct HfWriteOptions {
  StorageType type = StorageType::kF32;
  std::int64_t max_shard_bytes = std::int64_t{5} << 30;  // a larger tensor has a shard of its own
  bool overwrite = false;
  std::string tokenizer_from;  // directory whose tokenizer files are copied along; empty: none
};
[[nodiscard]] Status write_hf_directory(const std::string& directory, const planner::ModelSpec& spec,
                                        const ParameterLayout& layout, const float* flat,
                                        const HfWriteOptions& options);

}  // namespace tessera::runtime
