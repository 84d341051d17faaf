// Against the double oracle on the stored (rounded) inputs. u = 2^-24; s = half a unit of the storage type,
// 2^-24 or 2^-8. The stream is rounded once to storage and the oracle is given that rounded stream, so it
// costs nothing more. A sum of D squares in fp32, spread over 256 threads with D/256 terms each: (D/256 + 13)
// u relatively, halved by the root; rsqrt 2 u; two products 2 u; the result is stored: s. y: ((D/256 + 13) /
// 2 + 4) u + s, relatively. dx: the mean of D products errs by (D/256 + 13 + 2) u of the mean of their
// absolute values; absolute bounds are formed from the terms. dw: strips of 32 rows, then over strips: (32 +
// T/32 + 3) u of the sum of absolute terms.
#include "kernels/norm/rmsnorm_cuda.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/norm/rmsnorm.h"
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
constexpr float kEps = 1e-5F;

template <class T>
struct Case {
  std::int64_t tokens;
  std::int64_t width;
  std::int64_t shift;  // elements that pointers are off a 16-byte boundary
  bool update;
};

/// `values` behind `shift` elements of padding.
template <class T>
std::vector<T> shifted(std::int64_t shift, const std::vector<T>& values) {
  std::vector<T> out(static_cast<std::size_t>(shift));
  out.insert(out.end(), values.begin(), values.end());
  return out;
}
template <class T>
std::vector<float> tail(std::int64_t shift, const OnDevice<T>& from) {
  const std::vector<float> all = floats(from.download());
  return {all.begin() + shift, all.end()};
}

template <class T>
void expect_right(const Case<T>& c) {
  SCOPED_TRACE(::testing::Message() << c.tokens << " x " << c.width << ", shift " << c.shift << ", update "
                                    << c.update);
  const auto n = static_cast<std::size_t>(c.tokens * c.width);
  const auto residual = stored<T>(uniform_floats(c.tokens * c.width, 1, -2, 2));
  const auto update = stored<T>(uniform_floats(c.tokens * c.width, 2));
  const auto w = stored<T>(uniform_floats(c.width, 3, 0.5, 1.5));
  const auto pad = static_cast<std::size_t>(c.shift);
  const OnDevice<T> d_residual(shifted(c.shift, residual)), d_update(shifted(c.shift, update)),
      d_w(shifted(c.shift, w));
  const OnDevice<T> d_y(n + pad), d_sum(n + pad);
  const OnDevice<float> d_rstd(static_cast<std::size_t>(c.tokens));
  rmsnorm_forward_cuda<T>(d_y.get() + c.shift, d_rstd.get(), d_sum.get() + c.shift,
                          d_residual.get() + c.shift, c.update ? d_update.get() + c.shift : nullptr,
                          d_w.get() + c.shift, c.tokens, c.width, kEps, nullptr);
  TS_CUDA(cudaDeviceSynchronize());

  const std::vector<float> sum = tail(c.shift, d_sum);
  const std::vector<float> left = floats(residual);
  const std::vector<float> right = floats(update);
  for (std::size_t i = 0; i < n; ++i) {
    const float want = c.update ? left[i] + right[i] : left[i];
    ASSERT_NEAR(sum[i], want, (kRounding<T> + kU) * std::abs(want) + kVanishing<T>) << i;
  }
  std::vector<double> y_ref(n), sum_ref(n), rstd_ref(static_cast<std::size_t>(c.tokens));
  const std::vector<float> weight = floats(w);
  rmsnorm_forward_ref(y_ref.data(), rstd_ref.data(), sum_ref.data(), sum.data(), nullptr, weight.data(),
                      c.tokens, c.width, kEps);
  const double terms = static_cast<double>(c.width) / 256 + 13;
  const std::vector<float> y = tail(c.shift, d_y);
  const std::vector<float> rstd = d_rstd.download();
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_NEAR(y[i], y_ref[i], ((terms / 2 + 4) * kU + kRounding<T>)*std::abs(y_ref[i]) + kVanishing<T>)
        << i;
  }
  for (std::size_t t = 0; t < rstd.size(); ++t)
    ASSERT_NEAR(rstd[t], rstd_ref[t], (terms / 2 + 2) * kU * rstd_ref[t]);

  const auto dy = stored<T>(uniform_floats(c.tokens * c.width, 4));
  const OnDevice<T> d_dy(shifted(c.shift, dy));
  const OnDevice<float> d_dx(uniform_floats(c.tokens * c.width, 5));
  const OnDevice<float> d_dw(uniform_floats(c.width, 6));
  const OnDevice<float> scratch(static_cast<std::size_t>(rmsnorm_backward_scratch(c.tokens, c.width)));
  rmsnorm_backward_cuda<T>(d_dx.get(), d_dw.get(), d_dy.get() + c.shift, d_sum.get() + c.shift, d_rstd.get(),
                           d_w.get() + c.shift, c.tokens, c.width, scratch.get(), nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> dy_f = floats(dy);
  std::vector<double> dx_ref(n), dw_ref(static_cast<std::size_t>(c.width));
  const auto dx_before = uniform_floats(c.tokens * c.width, 5);
  const auto dw_before = uniform_floats(c.width, 6);
  for (std::size_t i = 0; i < n; ++i) dx_ref[i] = static_cast<double>(dx_before[i]);
  for (std::size_t d = 0; d < dw_ref.size(); ++d) dw_ref[d] = static_cast<double>(dw_before[d]);
  rmsnorm_backward_ref(dx_ref.data(), dw_ref.data(), dy_f.data(), sum.data(), weight.data(), c.tokens,
                       c.width, kEps);
  const std::vector<float> dx = d_dx.download();
  const std::vector<float> dw = d_dw.download();
  std::vector<double> dw_terms(dw.size(), 0.0);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const double r = rstd_ref[static_cast<std::size_t>(t)];
    double absolute = 0;
    for (std::int64_t d = 0; d < c.width; ++d) {
      const auto at = static_cast<std::size_t>(t * c.width + d);
      const auto col = static_cast<std::size_t>(d);
      absolute += std::abs(static_cast<double>(dy_f[at]) * weight[col] * sum[at]);
      dw_terms[col] += std::abs(static_cast<double>(dy_f[at]) * sum[at] * r);
    }
    absolute /= static_cast<double>(c.width);
    for (std::int64_t d = 0; d < c.width; ++d) {
      const auto at = static_cast<std::size_t>(t * c.width + d);
      const double g = std::abs(static_cast<double>(dy_f[at]) * weight[static_cast<std::size_t>(d)]);
      const double second = std::abs(sum[at]) * r * r * absolute;
      const double bound =
          kU * (std::abs(dx_ref[at]) + 2 * r * g * (terms / 2 + 6) + 2 * r * second * (2.5 * terms + 12));
      ASSERT_NEAR(dx[at], dx_ref[at], bound) << at;
    }
  }
  for (std::size_t d = 0; d < dw.size(); ++d) {
    const double steps = 32 + static_cast<double>(c.tokens) / 32 + terms / 2 + 6;
    ASSERT_NEAR(dw[d], dw_ref[d], kU * (steps * dw_terms[d] + std::abs(dw_ref[d]))) << d;
  }
}

template <class T>
void every_path() {
  // Packs of 16 bytes: one, two, four and eight to a thread, the edges between them, then value by value.
  const std::int64_t pack = 16 / static_cast<std::int64_t>(sizeof(T));
  for (const std::int64_t width :
       {pack, 8 * pack, 256 * pack, 257 * pack, 513 * pack, 1025 * pack, 2048 * pack}) {
    expect_right<T>({2, width, 0, true});
  }
  expect_right<T>({1, 2049 * pack, 0, false});
  for (const std::int64_t width : {1, 7, 300}) expect_right<T>({3, width, 0, true});
  expect_right<T>({3, 8 * pack, 1, true});
  expect_right<T>({70, 40, 0, false});  // three strips
}

TEST(RmsNormCuda, Fp32AgreesWithTheOracleOnEveryPath) { every_path<float>(); }
TEST(RmsNormCuda, Bf16AgreesWithTheOracleOnEveryPath) { every_path<Bf16>(); }
TEST(RmsNormCuda, Fp16AgreesWithTheOracleOnEveryPath) { every_path<F16>(); }

TEST(RmsNormCuda, NoTokensIsANoOp) {
  rmsnorm_forward_cuda<float>(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8, kEps, nullptr);
  rmsnorm_backward_cuda<float>(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8, nullptr, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
