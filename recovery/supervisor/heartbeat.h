/// Heartbeat: what a rank last did, in a small file that its supervisor reads.
///
///   <folder>/rank-0003.json   {"rank": 3, "pid": 4711, "host": "vm", "node": "a", "state": "training",
///                              "beat": 97, "step": 12, "steps": 100, "micro_batch": 2, "saved_step": 10,
///                              "step_s": 0.172}
///
/// A rank replaces its file by a rename, so a reader sees one beat or the next, never a part. Only `beat`
/// changing counts as life: clocks of different machines are never compared. Not synced to disk: a heartbeat
/// from before a crash of the machine says nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::recovery {

enum class RankState : std::uint8_t { kStarting, kRestoring, kTraining, kEvaluating, kSaving, kDone };
[[nodiscard]] const char* rank_state_name(RankState state);  // "starting", "restoring", ...

struct Heartbeat {
  int rank = 0;
  std::int64_t pid = 0;
  std::string host;
  std::string node;
  RankState state = RankState::kStarting;
  std::int64_t beat = 0;         // counts the beats of this process
  std::int64_t step = 0;         // optimizer steps done
  std::int64_t steps = 0;        // that the job shall do
  std::int64_t micro_batch = 0;  // of the step in progress, this rank's
  std::int64_t saved_step = -1;  // the newest step whose state is safe; -1: none that this rank knows of
  double step_s = 0;             // the last step took; 0: none yet
  bool operator==(const Heartbeat&) const = default;
};

[[nodiscard]] std::string to_json(const Heartbeat& heartbeat);
/// Errors    kDataLoss, naming `name`.
[[nodiscard]] Result<Heartbeat> parse_heartbeat(std::string_view text, const std::string& name);

[[nodiscard]] Status write_heartbeat(const std::string& folder, const Heartbeat& heartbeat);
/// Of every rank that has written one, by rank. What cannot be read is left out: its rank has not beaten.
[[nodiscard]] std::vector<Heartbeat> read_heartbeats(const std::string& folder);

}  // namespace tessera::recovery
