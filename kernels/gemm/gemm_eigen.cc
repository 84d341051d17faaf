#include <Eigen/Core>

#include "kernels/gemm/gemm_piece.h"

namespace tessera::kernels::internal {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;
using ConstMap = Eigen::Map<const Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;

}  // namespace

void gemm_piece(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha, const float* a,
                std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const auto [m, n, k] = shape;
  Map c_map(c, m, n, Eigen::OuterStride<>(ldc));
  if (beta == 0) {
    c_map.setZero();
  } else if (beta != 1) {
    c_map *= beta;
  }
  const bool ta = transpose_a == Transpose::kYes;
  const bool tb = transpose_b == Transpose::kYes;
  const ConstMap a_map(a, ta ? k : m, ta ? m : k, Eigen::OuterStride<>(lda));
  const ConstMap b_map(b, tb ? n : k, tb ? k : n, Eigen::OuterStride<>(ldb));
  if (ta && tb) c_map.noalias() += alpha * a_map.transpose() * b_map.transpose();
  if (ta && !tb) c_map.noalias() += alpha * a_map.transpose() * b_map;
  if (!ta && tb) c_map.noalias() += alpha * a_map * b_map.transpose();
  if (!ta && !tb) c_map.noalias() += alpha * a_map * b_map;
}

std::string_view gemm_piece_provider() { return "Eigen"; }

}  // namespace tessera::kernels::internal
