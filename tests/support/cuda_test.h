/// Device memory for tests of CUDA kernels, and conversions of 16-bit values that do not come from CUDA.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_types.h"

namespace tessera::testing_support {

/// n values on the device, uploaded or as cudaMalloc leaves them. Move-only.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t n) : n_(n) {
    if (n > 0) TS_CUDA(cudaMalloc(&data_, n * sizeof(T)));
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    if (n_ > 0) TS_CUDA(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  OnDevice(OnDevice&& other) noexcept : n_(other.n_), data_(std::exchange(other.data_, nullptr)) {}
  OnDevice& operator=(OnDevice&&) = delete;
  ~OnDevice() { cudaFree(data_); }

  [[nodiscard]] T* get() const { return static_cast<T*>(data_); }
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> values(n_);
    if (n_ > 0) TS_CUDA(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  std::size_t n_;
  void* data_ = nullptr;
};

/// Round to nearest, ties to even, of finite values.
inline kernels::Bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}
inline float to_float(kernels::Bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
inline float to_float(float x) { return x; }

/// Round to nearest, ties to even, of values within +-65504.
inline kernels::F16 to_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const auto rounded = magnitude < 0x38800000U  // below 2^-14 in steps of 2^-24
                           ? static_cast<std::uint32_t>(std::nearbyint(std::ldexp(std::abs(x), 24)))
                           : (magnitude - 0x38000000U + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  return {static_cast<std::uint16_t>(sign | rounded)};
}
/// Of finite values.
inline float to_float(kernels::F16 x) {
  const int magnitude = x.bits & 0x7fff;
  const float value =
      magnitude < 0x400 ? std::ldexp(static_cast<float>(magnitude), -24)
                        : std::ldexp(static_cast<float>(0x400 | (magnitude & 0x3ff)), (magnitude >> 10) - 25);
  return x.bits & 0x8000 ? -value : value;
}

template <class T>
T from_float(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else if constexpr (std::is_same_v<T, kernels::Bf16>) {
    return to_bf16(x);
  } else {
    return to_f16(x);
  }
}

template <class T>
std::vector<T> stored(const std::vector<float>& values) {
  std::vector<T> out;
  for (const float x : values) out.push_back(from_float<T>(x));
  return out;
}
template <class T>
std::vector<float> floats(const std::vector<T>& values) {
  std::vector<float> out;
  for (const T x : values) out.push_back(to_float(x));
  return out;
}

/// Half a unit in the last place, relative: what storing a value costs.
template <class T>
inline constexpr double kRounding = std::is_same_v<T, float>          ? 0x1p-24
                                    : std::is_same_v<T, kernels::F16> ? 0x1p-11
                                                                      : 0x1p-8;

/// What storing a value below the format's normal numbers costs, absolutely.
template <class T>
inline constexpr double kVanishing = std::is_same_v<T, kernels::F16> ? 0x1p-25 : 1e-37;

}  // namespace tessera::testing_support
