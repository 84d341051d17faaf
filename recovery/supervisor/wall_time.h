/// The wall clock as the membership's Time: milliseconds since 1970. Membership itself sees no clock.
#pragma once

#include <chrono>

#include "recovery/membership/membership.h"

namespace tessera::recovery {

[[nodiscard]] inline Time wall_time() {
  return std::chrono::duration_cast<Time>(std::chrono::system_clock::now().time_since_epoch());
}

}  // namespace tessera::recovery
