#include "runtime/train/heartbeat.h"

#include <array>
#include <cstdlib>
#include <unistd.h>

#include <climits>

namespace tessera::runtime {

Heart::Heart(int rank, std::int64_t steps) {
  const char* folder = std::getenv("TESSERA_HEARTBEAT_DIR");
  if (folder == nullptr || *folder == '\0') return;
  folder_ = folder;
  std::array<char, HOST_NAME_MAX + 1> host{};
  gethostname(host.data(), host.size() - 1);
  const char* node = std::getenv("TESSERA_NODE");
  now_.rank = rank;
  now_.pid = getpid();
  now_.host = host.data();
  now_.node = node != nullptr && *node != '\0' ? node : host.data();
  now_.steps = steps;
  beat();
}

void Heart::enter(recovery::RankState state) {
  now_.state = state;
  beat();
}

void Heart::resumed(std::int64_t step, std::int64_t saved_step) {
  now_.step = step;
  now_.saved_step = saved_step;
  enter(recovery::RankState::kTraining);
}

void Heart::micro_batch(std::int64_t index) {
  now_.micro_batch = index;
  beat();
}

void Heart::step_done(std::int64_t step, double seconds) {
  now_.step = step;
  now_.step_s = seconds;
  now_.micro_batch = 0;
  now_.state = recovery::RankState::kTraining;
  beat();
}

void Heart::saved(std::int64_t step) {
  now_.saved_step = step;
  beat();
}

void Heart::beat() {
  if (folder_.empty()) return;
  ++now_.beat;
  const Status ignored = recovery::write_heartbeat(folder_, now_);
  static_cast<void>(ignored);
}

}  // namespace tessera::runtime
