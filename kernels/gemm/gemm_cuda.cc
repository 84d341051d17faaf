#include "kernels/gemm/gemm_cuda.h"

#include <atomic>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "kernels/gemm/gemm_cublaslt.h"
#include "kernels/gemm/gemm_mma.h"
#include "kernels/gemm/gemm_tile.h"

namespace tessera::kernels {
namespace {

std::atomic<GemmCudaProvider> provider = GemmCudaProvider::kAuto;  // NOLINT: the process's choice

bool takes_cublaslt() {
  switch (provider.load()) {
    case GemmCudaProvider::kOwn: return false;
    case GemmCudaProvider::kCublasLt: return true;
    case GemmCudaProvider::kAuto: break;
  }
  return internal::cublaslt_problem().empty();
}

void multiply(const internal::GemmProblem& p, CudaStream stream) {
  constexpr std::int64_t kMost =
      std::numeric_limits<std::int32_t>::max() - 256;  // room for the last tile's edge
  const GemmShape s = p.shape;
  TS_REQUIRE(s.m >= 0 && s.n >= 0 && s.k >= 0 && s.m <= kMost && s.n <= kMost && s.k <= kMost, s.m, s.n, s.k);
  TS_REQUIRE(p.lda >= (p.transpose_a == Transpose::kYes ? s.m : s.k), p.lda, s.m, s.k);
  TS_REQUIRE(p.ldb >= (p.transpose_b == Transpose::kYes ? s.k : s.n), p.ldb, s.k, s.n);
  TS_REQUIRE(p.ldd >= s.n && (p.beta == 0 || (p.c != nullptr && p.ldc >= s.n)), p.ldd, p.ldc, s.n, p.beta);
  if (s.m == 0 || s.n == 0) return;
  if (s.k > 0 && takes_cublaslt() && internal::gemm_cublaslt(p, stream)) return;
  const DeviceProperties& device = current_device_properties();
  const int tile =
      choose_gemm_tile(s, {device.multiprocessors, device.shared_bytes_per_block,
                           device.shared_bytes_per_multiprocessor, device.shared_bytes_reserved});
  (p.input == internal::GemmInput::kBf16 ? internal::gemm_mma_bf16 : internal::gemm_mma_f16)(p, tile, stream);
}

}  // namespace

template <class T, class O>
void gemm_cuda(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha,
               const GemmOperands<T, O>& o, float beta, CudaStream stream) {
  multiply({shape, transpose_a, transpose_b, alpha, beta, o.a, o.b, o.c, o.d, o.bias, o.lda, o.ldb, o.ldc,
            o.ldd, std::is_same_v<T, Bf16> ? internal::GemmInput::kBf16 : internal::GemmInput::kF16,
            std::is_same_v<O, float>},
           stream);
}

void set_gemm_cuda_provider(GemmCudaProvider wanted) {
  if (wanted == GemmCudaProvider::kCublasLt) {
    if (const std::string problem = internal::cublaslt_problem(); !problem.empty()) {
      throw std::runtime_error("cuBLASLt " + problem);
    }
  }
  provider = wanted;
}

std::string gemm_cuda_provider() {
  if (takes_cublaslt()) return "cuBLASLt " + internal::cublaslt_version();
  return provider.load() == GemmCudaProvider::kOwn ? "mma.sync"
                                                   : "mma.sync, as cuBLASLt " + internal::cublaslt_problem();
}

std::vector<KernelVariant> gemm_variants() {
  std::vector<KernelVariant> rows;
  if (internal::cublaslt_problem().empty()) rows.push_back({"gemm", "cuBLASLt", 80});
  for (const GemmTileRow& tile : kGemmTiles) {
    rows.push_back({"gemm", tile.name, 80, false, tile.shared_bytes, "16-byte aligned operands"});
  }
  const GemmTileRow& small = kGemmTiles[kSmallestGemmTile];
  rows.push_back({"gemm", "mma 64x64x32, by value", 80, false, small.shared_bytes});
  return rows;
}

template void gemm_cuda(GemmShape, Transpose, Transpose, float, const GemmOperands<Bf16, Bf16>&, float,
                        CudaStream);
template void gemm_cuda(GemmShape, Transpose, Transpose, float, const GemmOperands<Bf16, float>&, float,
                        CudaStream);
template void gemm_cuda(GemmShape, Transpose, Transpose, float, const GemmOperands<F16, F16>&, float,
                        CudaStream);
template void gemm_cuda(GemmShape, Transpose, Transpose, float, const GemmOperands<F16, float>&, float,
                        CudaStream);

}  // namespace tessera::kernels
