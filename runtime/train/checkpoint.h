/// Checkpoints: one directory per step, one file per rank, a manifest that makes it complete.
///
///   <root>/step-00000200/manifest.json          written last
///                        shard-0000-of-0004.bin  rank 0: p, m, v of the flat ranges it owns, fp32, in order
///                        ...
///
/// A checkpoint is written as <root>/.saving-step-00000200, synced, and renamed: under its own name it is
/// whole or it is damaged. The manifest (checkpoint_manifest.h) holds the step, the model, what run it
/// belongs to, and each file's ranges of the flat parameter buffer, length and XXH64; so a checkpoint loads
/// on any number of ranks, data-parallel or context-parallel in any way. On the same layout training goes on
/// bit for bit.
///
/// Needs one file system that all ranks see.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "runtime/comm/communicator.h"
#include "runtime/optim/sharded_adamw.h"
#include "runtime/train/checkpoint_manifest.h"

namespace tessera::runtime {

/// A rank's part of the training state. Moments are those of `owned`, one range after the other.
struct StateView {
  std::span<float> parameters;  // flat, all of them
  std::span<const FlatRange> owned;
  std::span<float> first_moment;
  std::span<float> second_moment;
};

/// Collective. Each rank writes its shard; afterwards only the newest `keep` complete checkpoints remain.
/// Errors    the same on every rank; nothing of the failed checkpoint remains, older ones are untouched.
[[nodiscard]] Status save_checkpoint(Communicator& world, const std::string& root, const CheckpointMeta& meta,
                                     const StateView& state, std::int64_t keep);

/// One rank's part of the state from a checkpoint written by any number of ranks. Not collective: every
/// rank reads and verifies every file.
/// Errors    kDataLoss for a damaged checkpoint, kInvalidArgument for one of another run, naming the file or
///           the field, with the remedy.
[[nodiscard]] Result<CheckpointMeta> load_checkpoint(const std::string& directory,
                                                     const RunIdentity& identity, const StateView& state);

/// Files present with their lengths; contents are not read. kDataLoss names the one that is not.
[[nodiscard]] Status check_checkpoint_files(const std::string& directory, const CheckpointManifest& manifest);

/// One rank's part, without a run to hold it against: whatever `manifest`, read from `directory`, describes.
/// `owned` may be empty: then only parameters are read, and every file is verified all the same.
///
/// Requires  state.parameters.size() == manifest.parameters.
[[nodiscard]] Status read_checkpoint_state(const std::string& directory, const CheckpointManifest& manifest,
                                           const StateView& state);

struct CheckpointEntry {
  std::string directory;
  std::int64_t step = 0;
  Status complete;  // manifest readable, files present with their lengths; contents are not read
};
/// Newest first. An absent root is empty.
[[nodiscard]] std::vector<CheckpointEntry> list_checkpoints(const std::string& root);

/// Removes all checkpoints and remains of unfinished ones below root.
[[nodiscard]] Status remove_checkpoints(const std::string& root);

}  // namespace tessera::runtime
