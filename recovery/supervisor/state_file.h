/// What a supervisor must know after its own death: <state>/supervisor.json, replaced whole and synced before
/// anything that it says is done.
#pragma once

#include <cstdint>
#include <string>

#include "algos/base/status.h"
#include "recovery/membership/membership.h"

namespace tessera::recovery {

struct SupervisorState {
  std::string run;  // names this job on its machines; part of every start's token
  Membership membership;
  bool operator==(const SupervisorState&) const = default;
};

[[nodiscard]] std::string to_json(const SupervisorState& state);
/// Errors    kDataLoss, naming `name` and what is wrong.
[[nodiscard]] Result<SupervisorState> parse_supervisor_state(const std::string& text,
                                                             const std::string& name);

[[nodiscard]] Status write_supervisor_state(const std::string& path, const SupervisorState& state);
/// Errors    kNotFound: there is none. kDataLoss.
[[nodiscard]] Result<SupervisorState> read_supervisor_state(const std::string& path);

/// One supervisor per state: holds a lock on <folder>/supervisor.lock while it lives. The kernel drops it
/// with the process.
class StateLock {
 public:
  /// Errors    kFailedPrecondition: another process holds it.
  static Result<StateLock> take(const std::string& folder);
  /// Whether some process holds it.
  [[nodiscard]] static bool held(const std::string& folder);
  StateLock(StateLock&& other) noexcept;
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock();

 private:
  explicit StateLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace tessera::recovery
