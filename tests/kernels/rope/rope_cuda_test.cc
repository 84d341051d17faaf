// Against the double oracle on the stored (rounded) inputs. u = 2^-24; s = half a unit of the storage type.
// The tables: angles, sine and cosine in double, rounded once. A rotation: two products of a rounded sine or
// cosine and their sum, 3 u of |a| + |b|, then the store, s of the result: (3 u + s) (|a| + |b|).
#include "kernels/rope/rope_cuda.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/rope/rope.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::kRounding;
using testing_support::OnDevice;
using testing_support::stored;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;

struct Case {
  std::int64_t tokens;
  int heads;
  int head_dim;
  std::int64_t padding;  // values behind a token's heads
  std::int64_t shift;    // values that x is off a 16-byte boundary
};

struct Tables {
  std::vector<std::int32_t> position;
  std::vector<double> inv_freq;
  OnDevice<float> cosine, sine;

  /// Positions far apart: the angle of the first pair is then thousands of turns.
  Tables(std::int64_t tokens, int half)
      : cosine(static_cast<std::size_t>(tokens * half)), sine(static_cast<std::size_t>(tokens * half)) {
    for (std::int64_t t = 0; t < tokens; ++t)
      position.push_back(static_cast<std::int32_t>(t * 104729 % 1'000'003));
    for (int i = 0; i < half; ++i) inv_freq.push_back(std::pow(500'000.0, -static_cast<double>(i) / half));
    const OnDevice<std::int32_t> d_position(position);
    const OnDevice<double> d_freq(inv_freq);
    rope_table_cuda(cosine.get(), sine.get(), d_position.get(), d_freq.get(), tokens, half, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
  }
};

TEST(RopeCuda, TablesAreThoseOfTheHost) {
  const Tables tables(300, 33);
  std::vector<float> cosine(300 * 33), sine(300 * 33);
  rope_table(cosine.data(), sine.data(), tables.position.data(), tables.inv_freq.data(), 300, 33);
  const auto c = tables.cosine.download(), s = tables.sine.download();
  for (std::size_t i = 0; i < c.size(); ++i) {  // both round a double that is right to 2^-51 or so
    ASSERT_NEAR(c[i], cosine[i], 2 * kU * std::abs(cosine[i])) << i;
    ASSERT_NEAR(s[i], sine[i], 2 * kU * std::abs(sine[i])) << i;
  }
}

template <class T>
void expect_right(const Case& c) {
  SCOPED_TRACE(::testing::Message() << c.tokens << " tokens, " << c.heads << " heads of " << c.head_dim
                                    << ", padding " << c.padding << ", shift " << c.shift);
  const int half = c.head_dim / 2;
  const Tables tables(c.tokens, half);
  const std::int64_t stride = c.heads * c.head_dim + c.padding;
  const auto x = stored<T>(uniform_floats(c.shift + c.tokens * stride, 1, -2, 2));
  const std::vector<float> before = floats(x);
  const OnDevice<T> d_x(x);
  rope_forward_cuda<T>(d_x.get() + c.shift, stride, tables.cosine.get(), tables.sine.get(), c.tokens, c.heads,
                       c.head_dim, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> forward = floats(d_x.download());
  rope_backward_cuda<T>(d_x.get() + c.shift, stride, tables.cosine.get(), tables.sine.get(), c.tokens,
                        c.heads, c.head_dim, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> back = floats(d_x.download());

  const std::int64_t width = c.heads * c.head_dim;
  std::vector<double> want(static_cast<std::size_t>(c.tokens * width));
  rope_ref(want.data(), before.data() + c.shift, stride, tables.position.data(), tables.inv_freq.data(),
           c.tokens, c.heads, c.head_dim);
  std::vector<bool> rotated(before.size(), false);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    for (std::int64_t d = 0; d < width; ++d) {
      const auto at = static_cast<std::size_t>(c.shift + t * stride + d);
      const std::size_t partner =
          d % c.head_dim < half ? at + static_cast<std::size_t>(half) : at - static_cast<std::size_t>(half);
      rotated[at] = true;
      const double size = std::abs(before[at]) + std::abs(before[partner]);
      const double once = (3 * kU + kRounding<T>)*size;
      ASSERT_NEAR(forward[at], want[static_cast<std::size_t>(t * width + d)], once) << t << ", " << d;
      ASSERT_NEAR(back[at], before[at], 4 * once) << t << ", " << d;  // two errors turned, and its own
    }
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!rotated[i]) {
      ASSERT_EQ(back[i], before[i]) << "wrote between the tokens, at " << i;
    }
  }
}

template <class T>
void every_path() {
  expect_right<T>({3, 2, 64, 0, 0});
  expect_right<T>({5, 3, 128, 64, 0});  // heads of a fused q, k, v row
  expect_right<T>({2, 1, 256, 0, 0});
  expect_right<T>({3, 2, 6, 0, 0});   // pairs that do not fill an access
  expect_right<T>({3, 2, 64, 3, 0});  // stride off
  expect_right<T>({3, 2, 64, 0, 1});  // pointer off
  expect_right<T>({33, 5, 2, 1, 0});  // several blocks of single pairs
}

TEST(RopeCuda, Fp32TurnsAndTurnsBack) { every_path<float>(); }
TEST(RopeCuda, Bf16TurnsAndTurnsBack) { every_path<Bf16>(); }
TEST(RopeCuda, Fp16TurnsAndTurnsBack) { every_path<F16>(); }

TEST(RopeCuda, NoTokensIsANoOp) {
  rope_forward_cuda<float>(nullptr, 8, nullptr, nullptr, 0, 1, 8, nullptr);
  rope_table_cuda(nullptr, nullptr, nullptr, nullptr, 0, 4, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
