/// Working memory of one worker, kept between calls: grows to the largest need and stays.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algos/base/require.h"
#include "kernels/device/buffer.h"

namespace tessera::kernels {

/// A bump allocator over one buffer. reserve() once per unit of work, then take() pieces of it, each
/// 64-byte aligned; pieces live until the next reserve(). Contents start undefined.
class Scratch {
 public:
  static constexpr std::int64_t kAlign = 16;  // floats

  void reserve(std::int64_t floats) {
    if (floats > buffer_.size()) {
      buffer_ = Buffer<float>();  // give back before asking
      buffer_ = Buffer<float>(floats);
    }
    used_ = 0;
  }

  [[nodiscard]] static std::int64_t padded(std::int64_t count) {
    return (count + kAlign - 1) / kAlign * kAlign;
  }

  [[nodiscard]] float* take(std::int64_t count) {
    TS_REQUIRE(used_ + padded(count) <= buffer_.size(), used_, count, buffer_.size());
    float* piece = buffer_.data() + used_;
    used_ += padded(count);
    return piece;
  }

 private:
  Buffer<float> buffer_;
  std::int64_t used_ = 0;
};

}  // namespace tessera::kernels
