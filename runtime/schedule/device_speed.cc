#include "runtime/schedule/device_speed.h"

#include <algorithm>

#include "algos/base/require.h"
#include "kernels/gemm/gemm.h"

namespace tessera::runtime {
namespace {

// One product is the grain of the calibration: 2 * 64 * 512^2 operations are under a millisecond on any core.
constexpr std::int64_t kRows = 64;
constexpr std::int64_t kMostWidth = 512;

}  // namespace

DeviceSpeed::DeviceSpeed(double speed, const Communicator& comm, std::int64_t width)
    : speed_(speed), comm_(comm), width_(std::min(width, kMostWidth)) {
  TS_REQUIRE(speed > 0 && speed <= 1 && width > 0, speed, width);
  if (speed_ == 1) return;
  a_ = kernels::Buffer<float>(kRows * width_);
  b_ = kernels::Buffer<float>(width_ * width_);
  c_ = kernels::Buffer<float>(kRows * width_);
  std::fill_n(a_.data(), a_.size(), 0.5F);
  std::fill_n(b_.data(), b_.size(), 0.5F);
  product();  // the first may compile code
}

void DeviceSpeed::product() {
  kernels::gemm({kRows, width_, width_}, kernels::Transpose::kNo, kernels::Transpose::kYes, 1, a_.data(),
                width_, b_.data(), width_, 0, c_.data(), width_);
}

void DeviceSpeed::repeat(double own_s) {
  own_s_ += own_s;
  const double owed_s = own_s_ * (1 / speed_ - 1);
  if (added_s_ >= owed_s) return;
  const double begin = thread_processor_s() - added_s_;
  do {
    product();
    added_s_ = thread_processor_s() - begin;
  } while (added_s_ < owed_s);
}

}  // namespace tessera::runtime
