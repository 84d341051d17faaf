/// manifest.json: what a checkpoint directory holds, written last, so that its presence makes it complete.
///
///   {"format": "tessera-checkpoint", "version": 2, "step": 200, "next_sample": 800, "seed": 1,
///    "model": {…},                         the model's config.json
///    "run": {"model.hidden_size": "64", …},
///    "parameters": 5639616,                floats of the flat buffer (runtime/model/parameters.h)
///    "shards": [{"file": "shard-0000-of-0004.bin", "bytes": …, "xxh64": "…", "ranges": [[0, 262144], …]},
///    …], "xxh64": "…"}                         of all of the above as JSON without white space
///
/// Reading trusts nothing: types, ranges, file names, sizes and the checksum are checked, and that the shards
/// hold each parameter once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/model_spec.h"
#include "recovery/state/snapshot_manifest.h"
#include "runtime/optim/sharded_adamw.h"

namespace tessera::runtime {

/// Things that may change between the parts of a run (ranks, mesh, learning rate, number of steps) are not in
/// its identity.
using RunIdentity = recovery::RunIdentity;
/// Of a checkpoint the attempt is always 0: a directory is replaced, never mixed.
using CheckpointMeta = recovery::StateMeta;

/// One rank's file: parameters, first and second moments of its ranges, 12 bytes for each float of them.
struct CheckpointShard {
  std::string file;  // a name inside the directory
  std::int64_t bytes = 0;
  std::string xxh64;  // of the file, 16 hexadecimal digits
  std::vector<FlatRange> ranges;
};
[[nodiscard]] std::int64_t floats(std::span<const FlatRange> ranges);

struct CheckpointManifest {
  CheckpointMeta meta;
  std::int64_t parameters = 0;
  std::vector<CheckpointShard> shards;
};

[[nodiscard]] std::string to_json(const CheckpointManifest& manifest);
/// Errors    kDataLoss, naming the file and the field.
[[nodiscard]] Result<CheckpointManifest> parse_checkpoint_manifest(std::string_view text,
                                                                   const std::string& file_name);
/// Of a checkpoint directory.
[[nodiscard]] Result<CheckpointManifest> read_checkpoint_manifest(const std::string& directory);

/// A shard's entry alone: what each rank sends to the one that writes the manifest.
[[nodiscard]] std::string to_json(const CheckpointShard& shard);
[[nodiscard]] Result<CheckpointShard> parse_checkpoint_shard(std::string_view text);

/// kDataLoss: a checkpoint's file is not what it was when written.
[[nodiscard]] Status damaged_checkpoint(const std::string& file, const std::string& field,
                                        const std::string& found, const std::string& expected);

}  // namespace tessera::runtime
