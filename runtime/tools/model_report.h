/// What a directory with a model holds, as data and as text: the whole of `tessera-ckpt inspect`.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "algos/base/status.h"
#include "runtime/tools/model_source.h"

namespace tessera::runtime {

/// {"directory", "kind": "huggingface" | "checkpoint", "parameters", "model": {config.json},
///  a checkpoint's "step", "next_sample", "seed", "run": {…},
///  "files": [{"file", "bytes", a shard's "xxh64"}],
///  "tensors": [{"name", "shape", "dtype", "bytes", "file" or, of a checkpoint, "offset" in the flat buffer,
///               with `stats` "stats", and of a checkpoint "first_moment" and "second_moment":
///               {"xxh64", "min", "max", "mean", "finite", "non_finite"}}]}
///
/// Without `stats` no value is read; with it every byte is, a checkpoint's files against their checksums.
/// Memory    with stats, the largest tensor of a Hugging Face directory; all of a checkpoint.
[[nodiscard]] Result<nlohmann::ordered_json> inspect_model(const std::string& directory, SourceKind kind,
                                                           bool stats);

/// The same for people: a head and a table of tensors.
[[nodiscard]] std::string to_text(const nlohmann::ordered_json& report);

}  // namespace tessera::runtime
