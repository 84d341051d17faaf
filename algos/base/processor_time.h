/// Processor time of the calling thread: what it ran, without what it waited for a core. POSIX.
#pragma once

#include <ctime>

namespace tessera {

/// Seconds since the thread began, computing or spinning. About 0.3 us a call.
inline double thread_processor_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace tessera
