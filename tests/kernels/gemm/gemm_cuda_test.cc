// Held to gemm_ref (double) on the stored (rounded) inputs. A sum of K products in fp32 in any order errs by
// at most K u of the sum of their absolute values, u = 2^-24; tensor cores cut rather than round where they
// align products: 2 K u. Then alpha, beta * C and the bias: 4 u of each, and the store: s, half a unit of the
// output's type. Matrices lie in rows with padding that holds NaN (inputs) or a mark (D), so that one value
// read or written too far shows.
#include "kernels/gemm/gemm_cuda.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/gemm/gemm_mma.h"
#include "kernels/gemm/gemm_tile.h"
#include "tests/support/cuda_test.h"
#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::from_float;
using testing_support::kRounding;
using testing_support::OnDevice;
using testing_support::stored;
using testing_support::uniform_floats;

constexpr double kU = 0x1p-24;
constexpr float kMark = 7.0F;
constexpr int kChosen = -1;  // through gemm_cuda

enum class From : std::uint8_t { kNowhere, kAnother, kItself };

struct Case {
  GemmShape shape;
  bool ta = false;
  bool tb = false;
  int tile = kChosen;
  std::int64_t ld_multiple = 8;  // leading dimensions are the next multiple of it that leaves padding
  std::int64_t shift = 0;        // values that all pointers are off a 16-byte boundary
  float alpha = 1;
  float beta = 0;
  From c = From::kNowhere;
  bool bias = false;
};

/// rows x columns of `values`, ld apart, NaN around.
std::vector<float> padded(std::int64_t rows, std::int64_t columns, std::int64_t ld, std::int64_t shift,
                          std::uint64_t key, float around) {
  std::vector<float> out(static_cast<std::size_t>(shift + rows * ld), around);
  const auto values = uniform_floats(rows * columns, key);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      out[static_cast<std::size_t>(shift + r * ld + c)] = values[static_cast<std::size_t>(r * columns + c)];
    }
  }
  return out;
}

template <class T>
std::vector<T> with_nan(const std::vector<float>& values) {
  std::vector<T> out = stored<T>(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isnan(values[i])) continue;
    if constexpr (std::is_same_v<T, float>) {
      out[i] = values[i];
    } else {
      out[i].bits = 0x7fff;  // a NaN in both formats
    }
  }
  return out;
}

template <class T, class O>
void expect_right(const Case& p) {
  const auto [m, n, k] = p.shape;
  SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k << (p.ta ? " A'" : " A")
                                    << (p.tb ? " B'" : " B") << " tile " << p.tile << " ld " << p.ld_multiple
                                    << " shift " << p.shift << " alpha " << p.alpha << " beta " << p.beta
                                    << " C " << static_cast<int>(p.c) << " bias " << p.bias);
  const auto ld = [&](std::int64_t columns) { return (columns / p.ld_multiple + 1) * p.ld_multiple; };
  const std::int64_t a_rows = p.ta ? k : m, a_columns = p.ta ? m : k;
  const std::int64_t b_rows = p.tb ? n : k, b_columns = p.tb ? k : n;
  const std::int64_t lda = ld(a_columns), ldb = ld(b_columns), ldd = ld(n);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto a = with_nan<T>(padded(a_rows, a_columns, lda, p.shift, 1, nan));
  const auto b = with_nan<T>(padded(b_rows, b_columns, ldb, p.shift, 2, nan));
  const auto c = with_nan<O>(padded(m, n, ldd, p.shift, 3, nan));
  const auto own = stored<O>(padded(m, n, ldd, p.shift, 4, kMark));
  const auto bias = stored<O>(uniform_floats(n, 5));
  const OnDevice<T> d_a(a), d_b(b);
  const OnDevice<O> d_c(c), d_d(own), d_bias(bias);

  const O* from = p.c == From::kAnother  ? d_c.get() + p.shift
                  : p.c == From::kItself ? d_d.get() + p.shift
                                         : nullptr;
  const auto transpose = [](bool yes) { return yes ? Transpose::kYes : Transpose::kNo; };
  if (p.tile == kChosen) {
    gemm_cuda<T, O>(p.shape, transpose(p.ta), transpose(p.tb), p.alpha,
                    {d_a.get() + p.shift, lda, d_b.get() + p.shift, ldb, from, ldd, d_d.get() + p.shift, ldd,
                     p.bias ? d_bias.get() : nullptr},
                    p.beta, nullptr);
  } else {
    const bool bf16 = std::is_same_v<T, Bf16>;
    (bf16 ? internal::gemm_mma_bf16 : internal::gemm_mma_f16)(
        {p.shape, transpose(p.ta), transpose(p.tb), p.alpha, p.beta, d_a.get() + p.shift, d_b.get() + p.shift,
         from, d_d.get() + p.shift, p.bias ? d_bias.get() : nullptr, lda, ldb, ldd, ldd,
         bf16 ? internal::GemmInput::kBf16 : internal::GemmInput::kF16, std::is_same_v<O, float>},
        p.tile, nullptr);
  }
  TS_CUDA(cudaDeviceSynchronize());

  const auto got = floats(d_d.download());
  const auto a_f = floats(a), b_f = floats(b), c_f = floats(p.c == From::kItself ? own : c),
             bias_f = floats(bias);
  std::vector<float> a_abs = a_f, b_abs = b_f;
  for (float& x : a_abs) x = std::abs(x);
  for (float& x : b_abs) x = std::abs(x);
  std::vector<double> want(static_cast<std::size_t>(m * n), 0), absolute(want);
  gemm_ref(p.shape, transpose(p.ta), transpose(p.tb), 1, a_f.data() + p.shift, lda, b_f.data() + p.shift, ldb,
           0, want.data(), n);
  gemm_ref(p.shape, transpose(p.ta), transpose(p.tb), 1, a_abs.data() + p.shift, lda, b_abs.data() + p.shift,
           ldb, 0, absolute.data(), n);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::int64_t at = static_cast<std::int64_t>(i) - p.shift;
    if (at < 0 || at % ldd >= n) {
      ASSERT_EQ(got[i], kMark) << "wrote between the rows, at " << at;
      continue;
    }
    const auto place = static_cast<std::size_t>(at / ldd * n + at % ldd);
    const double residual = p.beta == 0 ? 0.0 : static_cast<double>(p.beta) * static_cast<double>(c_f[i]);
    const double added = p.bias ? static_cast<double>(bias_f[static_cast<std::size_t>(at % ldd)]) : 0.0;
    const double value = static_cast<double>(p.alpha) * want[place] + residual + added;
    const double bound =
        2 * kU * static_cast<double>(k) * std::abs(p.alpha) * absolute[place] +
        4 * kU * (std::abs(p.alpha) * absolute[place] + std::abs(residual) + std::abs(added)) +
        kRounding<O> * std::abs(value) + 0x1p-25;  // half of fp16's smallest
    ASSERT_NEAR(got[i], value, bound) << "row " << at / ldd << " column " << at % ldd;
  }
}

template <class T>
void every_tile_and_layout() {
  for (int tile = 0; tile < static_cast<int>(kGemmTiles.size()); ++tile) {
    const auto& row = kGemmTiles[static_cast<std::size_t>(tile)];
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        // Two by two blocks, ragged on each side; more depth than stages, ragged too.
        const GemmShape ragged{row.m + 3, row.n + 13, 5 * kGemmDepth + 9};
        expect_right<T, float>({.shape = ragged, .ta = ta, .tb = tb, .tile = tile});
        expect_right<T, T>({.shape = {row.m, row.n, 2 * kGemmDepth}, .ta = ta, .tb = tb, .tile = tile});
      }
    }
  }
}
TEST(GemmCuda, Bf16EveryTileAndLayout) { every_tile_and_layout<Bf16>(); }
TEST(GemmCuda, Fp16EveryTileAndLayout) { every_tile_and_layout<F16>(); }

template <class T>
void every_edge() {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const GemmShape shape : {GemmShape{1, 1, 1}, GemmShape{3, 5, 7}, GemmShape{64, 64, 31},
                                    GemmShape{65, 8, 33}, GemmShape{8, 65, 16}, GemmShape{17, 9, 100}}) {
        expect_right<T, T>({.shape = shape, .ta = ta, .tb = tb});
        expect_right<T, float>({.shape = shape, .ta = ta, .tb = tb, .ld_multiple = 1});
        expect_right<T, T>({.shape = shape, .ta = ta, .tb = tb, .shift = 1});
      }
    }
  }
}
TEST(GemmCuda, Bf16EdgesLeadingDimensionsAndPointers) { every_edge<Bf16>(); }
TEST(GemmCuda, Fp16EdgesLeadingDimensionsAndPointers) { every_edge<F16>(); }

template <class T, class O>
void every_ending() {
  for (const std::int64_t ld_multiple : {8, 3}) {
    for (const From c : {From::kNowhere, From::kAnother, From::kItself}) {
      for (const bool bias : {false, true}) {
        expect_right<T, O>({.shape = {70, 75, 40},
                            .tb = true,
                            .ld_multiple = ld_multiple,
                            .alpha = -0.75F,
                            .beta = c == From::kNowhere ? 0.0F : 1.5F,
                            .c = c,
                            .bias = bias});
      }
    }
  }
}
TEST(GemmCuda, AlphaBetaResidualAndBias) {
  every_ending<Bf16, Bf16>();
  every_ending<Bf16, float>();
  every_ending<F16, F16>();
  every_ending<F16, float>();
}

TEST(GemmCuda, NoDepthLeavesBetaCAndBias) {
  expect_right<Bf16, float>(
      {.shape = {70, 20, 0}, .tile = kSmallestGemmTile, .beta = 2, .c = From::kItself, .bias = true});
  expect_right<Bf16, float>({.shape = {70, 20, 0}, .beta = 2, .c = From::kAnother});
  expect_right<Bf16, Bf16>({.shape = {5, 3, 0}});
}

TEST(GemmCuda, ZeroBetaDoesNotReadD) {
  // D starts uninitialised: under the interpreter a read is a finding.
  const auto a = stored<Bf16>(uniform_floats(64 * 64, 1));
  const OnDevice<Bf16> d_a(a), d(64 * 64);
  gemm_cuda<Bf16, Bf16>({64, 64, 64}, Transpose::kNo, Transpose::kNo, 1,
                        {d_a.get(), 64, d_a.get(), 64, d.get(), 64, d.get(), 64, nullptr}, 0, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(d.download().size(), 64U * 64U);
}

/// So that devices of one architecture with unequal shared memory agree, and a shape's tile may change.
TEST(GemmCuda, TheTileDoesNotChangeABit) {
  constexpr std::int64_t kM = 100, kN = 90, kK = 200;
  const OnDevice<Bf16> a(stored<Bf16>(uniform_floats(kM * kK, 1))),
      b(stored<Bf16>(uniform_floats(kN * kK, 2)));
  std::vector<std::vector<float>> results;
  for (int tile = 0; tile < static_cast<int>(kGemmTiles.size()); ++tile) {
    const OnDevice<float> d(kM * kN);
    internal::gemm_mma_bf16({{kM, kN, kK},
                             Transpose::kNo,
                             Transpose::kYes,
                             1,
                             0,
                             a.get(),
                             b.get(),
                             nullptr,
                             d.get(),
                             nullptr,
                             kK,
                             kK,
                             0,
                             kN,
                             internal::GemmInput::kBf16,
                             true},
                            tile, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    results.push_back(d.download());
  }
  for (const auto& result : results) EXPECT_EQ(result, results.front());
}

TEST(GemmCuda, NothingToMakeIsANoOp) {
  gemm_cuda<Bf16, float>({0, 8, 8}, Transpose::kNo, Transpose::kNo, 1,
                         {nullptr, 8, nullptr, 8, nullptr, 8, nullptr, 8}, 0, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(GemmCuda, MoreTileRowsThanAreWorkedOnTogether) {
  expect_right<Bf16, float>(
      {.shape = {64 * 19, 130, 8}, .tile = kSmallestGemmTile});  // 8 + 8 + 3 rows of tiles
}

/// cuBLASLt needs a driver of its own: under the interpreter it does not start, and says so.
TEST(GemmCuda, TheProviderIsNamedAndMayBeForced) {
  const std::string automatic = gemm_cuda_provider();
  EXPECT_NE(automatic.find("cuBLASLt"), std::string::npos) << automatic;
  if (automatic.starts_with("mma.sync")) {
    EXPECT_THROW(set_gemm_cuda_provider(GemmCudaProvider::kCublasLt), std::runtime_error);
  }
  for (const auto provider : {GemmCudaProvider::kOwn, GemmCudaProvider::kAuto}) {
    set_gemm_cuda_provider(provider);
    expect_right<Bf16, Bf16>({.shape = {33, 40, 50}});
  }
  EXPECT_EQ(gemm_cuda_provider(), automatic);
  EXPECT_GE(gemm_variants().size(), kGemmTiles.size() + 1);
}

}  // namespace
}  // namespace tessera::kernels
