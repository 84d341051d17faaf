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
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "runtime/comm/communicator.h"
#include "runtime/optim/sharded_adamw.h"
#include "runtime/train/checkpoint_manifest.h"

namespace tessera::runtime {

/// Where floats of the whole model's flat buffer (runtime/model/parameters.h) are in this rank's memory.
struct StatePiece {
  FlatRange range;  // of the whole model
  float* parameters = nullptr;
  float* first_moment = nullptr;  // null: another rank owns them; then they are neither saved nor loaded
  float* second_moment = nullptr;
  bool saved = true;  // by this rank: of the ranks that hold the moments, one saves
};

/// A rank's part of the training state. Of all ranks together, the pieces that are saved are the whole
/// buffer, each float once.
struct StateView {
  std::int64_t parameters = 0;  // of the whole model's flat buffer
  std::vector<StatePiece> pieces;
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

/// kInvalidArgument naming `origin` and the field in which a run that was found is another than this one.
[[nodiscard]] Status check_identity(const std::string& origin, const RunIdentity& found,
                                    const RunIdentity& expected);

/// Files present with their lengths; contents are not read. kDataLoss names the one that is not.
[[nodiscard]] Status check_checkpoint_files(const std::string& directory, const CheckpointManifest& manifest);

/// One rank's part, without a run to hold it against: whatever `manifest`, read from `directory`, describes.
/// Every file is verified, whatever the pieces. Requires state.parameters == manifest.parameters.
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
