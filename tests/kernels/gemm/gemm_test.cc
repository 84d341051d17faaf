// Held to gemm_ref (double). With inputs in [-1, 1] a float sum of k products in any order errs by at most
// about k * 2^-24 * sum|a b| <= k^2 * 2^-24; measured errors grow like sqrt(k), and a wrong element is off by
// about 1. The bound used is 2^-24 * (8 sqrt(k) + 8) * (1 + |alpha|) * scale of the result, which leaves a
// factor of about 4 over what is observed and none for a wrong index.
#include "kernels/gemm/gemm.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "kernels/device/thread_pool.h"

namespace tessera::kernels {
namespace {

std::vector<float> random_floats(std::int64_t n, std::uint64_t key) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(2 * uniform(key, i) - 1);
  return values;
}

struct Problem {
  GemmShape shape;
  Transpose ta, tb;
  float alpha = 1;
  float beta = 0;
  std::int64_t pad = 0;  // floats between the end of a row and the next

  [[nodiscard]] std::int64_t a_rows() const { return ta == Transpose::kYes ? shape.k : shape.m; }
  [[nodiscard]] std::int64_t b_rows() const { return tb == Transpose::kYes ? shape.n : shape.k; }
  [[nodiscard]] std::int64_t lda() const { return (ta == Transpose::kYes ? shape.m : shape.k) + pad; }
  [[nodiscard]] std::int64_t ldb() const { return (tb == Transpose::kYes ? shape.k : shape.n) + pad; }
  [[nodiscard]] std::int64_t ldc() const { return shape.n + pad; }
};

struct Operands {
  std::vector<float> a, b, c;
  explicit Operands(const Problem& p)
      : a(random_floats(p.a_rows() * p.lda() + 1, 1)),
        b(random_floats(p.b_rows() * p.ldb() + 1, 2)),
        c(random_floats(p.shape.m * p.ldc() + 1, 3)) {}
};

std::vector<float> product(const Problem& p, const Operands& o) {
  std::vector<float> c = o.c;
  gemm(p.shape, p.ta, p.tb, p.alpha, o.a.data(), p.lda(), o.b.data(), p.ldb(), p.beta, c.data(), p.ldc());
  return c;
}

void expect_right(const Problem& p) {
  SCOPED_TRACE(testing::Message() << p.shape.m << " x " << p.shape.n << " x " << p.shape.k << " ta "
                                  << int(p.ta) << " tb " << int(p.tb) << " alpha " << p.alpha << " beta "
                                  << p.beta << " pad " << p.pad);
  const Operands o(p);
  const std::vector<float> c = product(p, o);
  std::vector<double> want(o.c.begin(), o.c.end());
  gemm_ref(p.shape, p.ta, p.tb, p.alpha, o.a.data(), p.lda(), o.b.data(), p.ldb(), p.beta, want.data(),
           p.ldc());
  const double k = static_cast<double>(p.shape.k);
  const double bound = 0x1p-24 * (8 * std::sqrt(k) + 8) * (1 + std::abs(p.alpha)) * (1 + std::sqrt(k) / 4);
  double worst = 0;
  for (std::int64_t i = 0; i < p.shape.m; ++i) {
    for (std::int64_t j = 0; j < p.ldc(); ++j) {
      const std::size_t at = static_cast<std::size_t>(i * p.ldc() + j);
      if (j < p.shape.n) {
        worst = std::max(worst, std::abs(c[at] - want[at]));
      } else {
        ASSERT_EQ(c[at], o.c[at]) << "wrote between the rows, at " << i << "," << j;
      }
    }
  }
  EXPECT_EQ(c.back(), o.c.back()) << "wrote behind the end";
  EXPECT_LE(worst, bound);
}

TEST(Gemm, AgreesWithTheReferenceOnRaggedShapesAllTransposesScalesAndStrides) {
  for (const GemmShape shape : {GemmShape{1, 1, 1},
                                {1, 7, 5},
                                {7, 1, 9},
                                {5, 3, 1},
                                {16, 16, 16},
                                {33, 17, 65},
                                {64, 48, 100},
                                {129, 65, 31}}) {
    for (const Transpose ta : {Transpose::kNo, Transpose::kYes}) {
      for (const Transpose tb : {Transpose::kNo, Transpose::kYes}) {
        for (const float beta : {0.0F, 1.0F, -0.5F}) {
          for (const float alpha : {1.0F, 0.25F}) {
            expect_right({shape, ta, tb, alpha, beta, 0});
            expect_right({shape, ta, tb, alpha, beta, 5});
          }
        }
      }
    }
  }
}

TEST(Gemm, AgreesWithTheReferenceWhereThePoolCutsThem) {
  ThreadPool pool(3);
  const ScopedPool scoped(pool);
  for (const Transpose ta : {Transpose::kNo, Transpose::kYes}) {
    for (const Transpose tb : {Transpose::kNo, Transpose::kYes}) {
      expect_right({{300, 190, 130}, ta, tb, 1, 1, 3});
      expect_right({{70, 400, 300}, ta, tb, 1, 0, 0});
      expect_right({{400, 70, 300}, ta, tb, 1, 0, 0});
    }
  }
}

TEST(Gemm, IsTheSameToTheBitForAnyNumberOfThreads) {
  for (const GemmShape shape : {GemmShape{256, 256, 256},
                                {300, 190, 130},
                                {129, 1000, 77},
                                {513, 257, 700},
                                {67, 3001, 64},
                                {1025, 65, 300}}) {
    for (const Transpose ta : {Transpose::kNo, Transpose::kYes}) {
      for (const Transpose tb : {Transpose::kNo, Transpose::kYes}) {
        for (const float beta : {0.0F, 1.0F}) {
          const Problem p{shape, ta, tb, 1, beta, 0};
          const Operands o(p);
          const std::vector<float> alone = product(p, o);
          for (const int threads : {2, 3, 4, 7}) {
            ThreadPool pool(threads);
            const ScopedPool scoped(pool);
            const std::vector<float> together = product(p, o);
            ASSERT_EQ(std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)), 0)
                << shape.m << " x " << shape.n << " x " << shape.k << " ta " << int(ta) << " tb " << int(tb)
                << " beta " << beta << " threads " << threads;
          }
        }
      }
    }
  }
}

TEST(Gemm, BetaZeroNeverReadsC) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const GemmShape shape : {GemmShape{1, 1, 1}, {3, 1, 4}, {1, 5, 4}, {40, 50, 60}}) {
    for (const Transpose ta : {Transpose::kNo, Transpose::kYes}) {
      for (const Transpose tb : {Transpose::kNo, Transpose::kYes}) {
        const Problem p{shape, ta, tb, 1, 0, 0};
        Operands o(p);
        std::fill(o.c.begin(), o.c.end(), nan);
        const std::vector<float> c = product(p, o);
        for (std::size_t i = 0; i + 1 < c.size(); ++i) ASSERT_TRUE(std::isfinite(c[i])) << i;
      }
    }
  }
}

TEST(Gemm, EmptySidesAreAllowed) {
  float c[4] = {1, 2, 3, 4};
  gemm({0, 2, 2}, Transpose::kNo, Transpose::kNo, 1, nullptr, 2, nullptr, 2, 0, c, 2);
  gemm({2, 0, 2}, Transpose::kNo, Transpose::kNo, 1, nullptr, 2, nullptr, 1, 0, c, 2);
  EXPECT_EQ(c[0], 1);
  EXPECT_EQ(c[3], 4);
  gemm({2, 2, 0}, Transpose::kNo, Transpose::kNo, 1, nullptr, 1, nullptr, 2, 0.5F, c, 2);
  EXPECT_EQ(c[0], 0.5F);
  EXPECT_EQ(c[3], 2);
  c[1] = std::numeric_limits<float>::quiet_NaN();
  gemm({2, 2, 0}, Transpose::kNo, Transpose::kNo, 1, nullptr, 1, nullptr, 2, 0, c, 2);
  for (const float value : c) EXPECT_EQ(value, 0);
}

TEST(Gemm, RefusesALeadingDimensionShorterThanARow) {
  float x[4] = {};
  EXPECT_DEATH(gemm({2, 2, 2}, Transpose::kNo, Transpose::kNo, 1, x, 1, x, 2, 0, x, 2), "lda");
}

TEST(Gemm, NamesItsProvider) {
  const std::string_view provider = gemm_provider();
  EXPECT_TRUE(provider == "Eigen" || provider.substr(0, 7) == "oneDNN ") << provider;
}

#ifdef __linux__
std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

TEST(Gemm, StartsNoThreadsOfItsOwn) {
  const Problem p{{512, 512, 256}, Transpose::kNo, Transpose::kYes, 1, 0, 0};
  const Operands o(p);
  ThreadPool pool(2);
  const ScopedPool scoped(pool);
  const std::ptrdiff_t before = threads_of_this_process();
  (void)product(p, o);
  EXPECT_EQ(threads_of_this_process(), before);
}
#endif

}  // namespace
}  // namespace tessera::kernels
