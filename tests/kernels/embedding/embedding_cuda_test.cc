// Forward copies, so it is exact. Backward: a row of n tokens is added in strips of 64 and then over the
// strips, so an element errs by (64 + n / 64 + 1) u of the sum of its absolute terms, u = 2^-24, and once
// more when it meets the table.
#include "kernels/embedding/embedding_cuda.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/embedding/embedding.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::OnDevice;
using testing_support::stored;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;

struct Case {
  std::int64_t tokens;
  std::int64_t width;
  std::int64_t vocabulary;
  std::int64_t first;  // the rank has rows [first, first + rows)
  std::int64_t rows;
  std::int64_t shift;  // values that pointers are off a 16-byte boundary
};

std::vector<std::int32_t> frequent_tokens(std::int64_t n, std::int64_t vocabulary) {
  std::vector<std::int32_t> out;
  for (std::int64_t t = 0; t < n; ++t) {
    const double u = uniform(9, static_cast<std::uint64_t>(t));
    out.push_back(static_cast<std::int32_t>(u * u * u * static_cast<double>(vocabulary)));  // low ones repeat
  }
  return out;
}

template <class T>
void expect_right(const Case& c) {
  SCOPED_TRACE(::testing::Message() << c.tokens << " x " << c.width << " of " << c.vocabulary << ", rows "
                                    << c.first << " + " << c.rows << ", shift " << c.shift);
  const auto token = frequent_tokens(c.tokens, c.vocabulary);
  const OnDevice<std::int32_t> d_token(token);
  const auto table = stored<T>(uniform_floats(c.shift + c.rows * c.width, 1));
  const OnDevice<T> d_table(table), y(static_cast<std::size_t>(c.shift + c.tokens * c.width));
  embedding_forward_cuda<T>(y.get() + c.shift, d_table.get() + c.shift, d_token.get(), c.tokens, c.width,
                            c.first, c.rows, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const auto got = floats(y.download());
  const auto rows = floats(table);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const std::int64_t row = token[static_cast<std::size_t>(t)] - c.first;
    for (std::int64_t d = 0; d < c.width; ++d) {
      const float want =
          0 <= row && row < c.rows ? rows[static_cast<std::size_t>(c.shift + row * c.width + d)] : 0.0F;
      ASSERT_EQ(got[static_cast<std::size_t>(c.shift + t * c.width + d)], want) << t << ", " << d;
    }
  }

  const EmbeddingOrder order = embedding_order(token, c.first, c.rows);
  const auto dy = stored<T>(uniform_floats(c.shift + c.tokens * c.width, 2));
  const auto before = uniform_floats(c.shift + c.rows * c.width, 3);
  const OnDevice<T> d_dy(dy);
  const OnDevice<std::int32_t> d_order(order.token);
  const OnDevice<EmbeddingStrip> strips(order.strips);
  const OnDevice<EmbeddingSum> sums(order.sums);
  const auto run = [&] {
    const OnDevice<float> d_gradient(before), partial(static_cast<std::size_t>(order.slots * c.width));
    embedding_backward_cuda<T>(d_gradient.get() + c.shift, d_dy.get() + c.shift,
                               {d_order.get(), strips.get(), std::ssize(order.strips), sums.get(),
                                std::ssize(order.sums), partial.get()},
                               c.width, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    return d_gradient.download();
  };
  const auto gradient = run();
  EXPECT_EQ(gradient, run()) << "the same bits each time";

  std::vector<double> want(before.size(), 0.0), absolute(before.size(), 0.0);
  for (std::size_t i = 0; i < before.size(); ++i) want[i] = static_cast<double>(before[i]);
  std::vector<std::int64_t> count(static_cast<std::size_t>(c.rows), 0);
  const auto dy_f = floats(dy);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const std::int64_t row = token[static_cast<std::size_t>(t)] - c.first;
    if (row < 0 || row >= c.rows) continue;
    ++count[static_cast<std::size_t>(row)];
    for (std::int64_t d = 0; d < c.width; ++d) {
      const double x = static_cast<double>(dy_f[static_cast<std::size_t>(c.shift + t * c.width + d)]);
      want[static_cast<std::size_t>(c.shift + row * c.width + d)] += x;
      absolute[static_cast<std::size_t>(c.shift + row * c.width + d)] += std::abs(x);
    }
  }
  for (std::size_t i = 0; i < want.size(); ++i) {
    const std::int64_t row = (static_cast<std::int64_t>(i) - c.shift) / c.width;
    const double n = static_cast<double>(count[static_cast<std::size_t>(row)]);
    ASSERT_NEAR(gradient[i], want[i], kU * ((65 + n / 64) * absolute[i] + std::abs(want[i]))) << i;
  }
}

template <class T>
void every_path() {
  expect_right<T>({300, 64, 50, 0, 50, 0});
  expect_right<T>({300, 8, 3, 0, 3, 0});        // rows of several strips
  expect_right<T>({150, 1032, 40, 10, 17, 0});  // several blocks of columns; a rank's part
  expect_right<T>({70, 7, 20, 5, 30, 0});       // width off; rows that no token has
  expect_right<T>({70, 64, 20, 0, 20, 1});      // pointers off
  expect_right<T>({1, 1, 1, 0, 1, 0});
  expect_right<T>({5, 8, 4, 4, 3, 0});  // nothing of this rank
}

TEST(EmbeddingCuda, Fp32AgreesWithTheOracleOnEveryPath) { every_path<float>(); }
TEST(EmbeddingCuda, Bf16AgreesWithTheOracleOnEveryPath) { every_path<Bf16>(); }
TEST(EmbeddingCuda, Fp16AgreesWithTheOracleOnEveryPath) { every_path<F16>(); }

TEST(EmbeddingCuda, NoTokensIsANoOp) {
  embedding_forward_cuda<float>(nullptr, nullptr, nullptr, 0, 8, 0, 8, nullptr);
  embedding_backward_cuda<float>(nullptr, nullptr, {}, 8, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
