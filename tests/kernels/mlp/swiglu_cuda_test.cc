// Against the double oracle on the stored inputs. u = 2^-24, s half a unit of the storage type. exp: the
// argument is exact, the approximation errs by 2 + |z| u (its scaling to base 2 is rounded: |z| <= 8 here)
// and, under the interpreter's noise, by its documented 2 ulp; the quotient 2 u; products 3 u: 24 u
// relatively, and the derivative's 1 + z (1 - s), a sum of terms up to 9, errs by 24 u of its largest term.
// Storing costs s.
#include "kernels/mlp/swiglu_cuda.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/mlp/swiglu.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::kRounding;
using testing_support::kVanishing;
using testing_support::OnDevice;
using testing_support::stored;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;

template <class T>
void expect_right(std::int64_t tokens, std::int64_t width, std::int64_t shift, bool in_place) {
  SCOPED_TRACE(::testing::Message() << tokens << " x " << width << ", shift " << shift << ", in place "
                                    << in_place);
  const auto n = static_cast<std::size_t>(tokens * width);
  const auto pad = static_cast<std::size_t>(shift);
  auto padded = stored<T>(uniform_floats(tokens * 2 * width + shift, 1, -8, 8));
  const std::vector<float> all = floats(padded);
  const std::vector<float> gate_up(all.begin() + shift, all.end());
  const auto dy_padded = stored<T>(uniform_floats(tokens * width + shift, 2));
  const std::vector<float> dy_all = floats(dy_padded);
  const std::vector<float> dy(dy_all.begin() + shift, dy_all.end());
  std::vector<double> y_ref(n), d_ref(2 * n);
  swiglu_forward_ref(y_ref.data(), gate_up.data(), tokens, width);
  swiglu_backward_ref(d_ref.data(), dy.data(), gate_up.data(), tokens, width);

  const OnDevice<T> d_gate_up(padded), d_dy(dy_padded), d_y(n + pad), again(n + pad), d_d(2 * n + pad);
  swiglu_forward_cuda<T>(d_y.get() + shift, d_gate_up.get() + shift, tokens, width, nullptr);
  T* gradient = (in_place ? d_gate_up.get() : d_d.get()) + shift;
  swiglu_backward_cuda<T>(gradient, in_place ? nullptr : again.get() + shift, d_dy.get() + shift,
                          d_gate_up.get() + shift, tokens, width, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> y = floats(d_y.download());
  const std::vector<float> got = floats((in_place ? d_gate_up : d_d).download());
  const std::vector<float> y_again = in_place ? y : floats(again.download());
  for (std::size_t i = 0; i < n; ++i) {
    const double bound = (24 * kU + kRounding<T>)*std::abs(y_ref[i]) + kVanishing<T>;
    ASSERT_NEAR(y[i + pad], y_ref[i], bound) << i;
    ASSERT_NEAR(y_again[i + pad], y_ref[i], bound) << i;
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t f = 0; f < width; ++f) {
      const auto gate_at = static_cast<std::size_t>(t * 2 * width + f);
      const auto up_at = gate_at + static_cast<std::size_t>(width);
      const double g = std::abs(static_cast<double>(dy[static_cast<std::size_t>(t * width + f)]));
      const double z = std::abs(static_cast<double>(gate_up[gate_at]));
      const double s = 1 / (1 + std::exp(-static_cast<double>(gate_up[gate_at])));
      const double largest = g * std::abs(static_cast<double>(gate_up[up_at])) * s * (1 + z);
      ASSERT_NEAR(got[gate_at + pad], d_ref[gate_at],
                  24 * kU * largest + kRounding<T> * std::abs(d_ref[gate_at]) + kVanishing<T>);
      ASSERT_NEAR(got[up_at + pad], d_ref[up_at],
                  (24 * kU + kRounding<T>)*std::abs(d_ref[up_at]) + kVanishing<T>);
    }
  }
}

template <class T>
void every_path() {
  for (const std::int64_t width : {1, 3, 8, 24, 264}) {
    for (const std::int64_t tokens : {1, 5}) expect_right<T>(tokens, width, 0, false);
  }
  expect_right<T>(3, 48, 1, false);  // not on a 16-byte boundary
  expect_right<T>(3, 48, 0, true);
  expect_right<T>(3, 7, 0, true);
}

TEST(SwigluCuda, Fp32AgreesWithTheOracleOnEveryPath) { every_path<float>(); }
TEST(SwigluCuda, Bf16AgreesWithTheOracleOnEveryPath) { every_path<Bf16>(); }
TEST(SwigluCuda, Fp16AgreesWithTheOracleOnEveryPath) { every_path<F16>(); }

TEST(SwigluCuda, NoTokensIsANoOp) {
  swiglu_forward_cuda<float>(nullptr, nullptr, 0, 8, nullptr);
  swiglu_backward_cuda<Bf16>(nullptr, nullptr, nullptr, nullptr, 0, 8, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
