// The rounding error must not grow with the number of ranks: partials are merged in single precision once per
// hop, and none of it may add up to something a user would see.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/attention/mesh_attention.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

/// Root mean square of the error over that of the value.
double relative_rms(const std::vector<float>& found, const support::BoundedTensor& expected) {
  double error = 0;
  double value = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    error += std::pow(double(found[i]) - expected.value[i], 2);
    value += std::pow(expected.value[i], 2);
  }
  return std::sqrt(error / value);
}

struct Errors {
  double o = 0;
  double dq = 0;
  double dk = 0;
  double dv = 0;
};

/// The squarest mesh on n ranks; n itself where it is prime.
MeshShape squarest(int n) {
  MeshShape best = MeshShape::ring(n);
  for (const MeshShape& shape : all_meshes(n)) {
    if (std::abs(shape.a() - shape.b()) < std::abs(best.a() - best.b())) best = shape;
  }
  return best;
}

TEST(MeshAttentionError, DoesNotGrowWithTheNumberOfRanks) {
  AttentionConfig config;
  config.dims = {1, 512, 4, 2, 64};
  const support::AttentionInput input = support::random_attention(config.dims, 29);
  const auto expected = support::reference_attention(config, input, 16);
  const auto errors = [&](const MeshShape& shape) {
    config.shape = shape;
    const auto found = support::run_attention(config, input);
    EXPECT_TRUE(support::within_bounds(found, expected)) << to_string(shape);
    return Errors{relative_rms(found.o, expected.o), relative_rms(found.dq, expected.dq),
                  relative_rms(found.dk, expected.dk), relative_rms(found.dv, expected.dv)};
  };
  const Errors one = errors(MeshShape::mesh(1, 1));
  fmt::print("| ranks | shape | o | dq | dk | dv |\n|---|---|---|---|---|---|\n");
  for (int n = 1; n <= 16; ++n) {
    std::vector<MeshShape> shapes = {MeshShape::ring(n)};
    if (squarest(n) != shapes[0]) shapes.push_back(squarest(n));
    if (n > 1) shapes.push_back(MeshShape::mesh(n, 1));
    for (const MeshShape& shape : shapes) {
      const Errors e = errors(shape);
      fmt::print("| {} | {} | {:.2e} | {:.2e} | {:.2e} | {:.2e} |\n", n, to_string(shape), e.o, e.dq, e.dk,
                 e.dv);
      // A row that is merged n times makes n roundings of u/2 each, rms about sqrt(n) u / sqrt(12): 7e-8 for
      // n = 16, added in quadrature to the error of one rank, which comes from dot products of 64 terms and
      // sums of up to 512. Twice the error of one rank leaves room for that and for nothing that grows.
      EXPECT_LE(e.o, 2 * one.o) << to_string(shape);
      EXPECT_LE(e.dq, 2 * one.dq) << to_string(shape);
      EXPECT_LE(e.dk, 2 * one.dk) << to_string(shape);
      EXPECT_LE(e.dv, 2 * one.dv) << to_string(shape);
    }
  }
  (void)std::fflush(stdout);
}

}  // namespace
}  // namespace tessera::runtime
