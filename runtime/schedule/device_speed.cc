#include "runtime/schedule/device_speed.h"

#include <algorithm>
#include <thread>

#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

using Seconds = std::chrono::duration<double>;

// A rank that lost its core for longer is a busy machine's, and does not run ahead afterwards.
constexpr double kMostLate_s = 0.1;

double wall_s() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

DeviceSpeed::DeviceSpeed(double speed, const Communicator& comm) : speed_(speed), comm_(comm) {
  TS_REQUIRE(speed > 0 && speed <= 1, speed);
}

DeviceSpeed::Moment DeviceSpeed::moment() const {
  return {thread_processor_s() - comm_.waiting_processor_s(), wall_s() - comm_.waiting_s()};
}

void DeviceSpeed::pace(const Moment& begin) {
  const Moment end = moment();
  const double own_s = end.processor_s - begin.processor_s;
  own_s_ += own_s;
  if (speed_ == 1) return;
  const double sleep_s = own_s / speed_ - (end.wall_s - begin.wall_s) - late_s_;
  if (sleep_s > 0) std::this_thread::sleep_for(Seconds(sleep_s));
  const double asleep_s = wall_s() - comm_.waiting_s() - end.wall_s;
  late_s_ = std::min(asleep_s - sleep_s, kMostLate_s);
  added_s_ += end.wall_s - begin.wall_s - own_s + asleep_s;
}

}  // namespace tessera::runtime
