#include "kernels/gemm/gemm_cublaslt.h"

#include <array>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include <cublasLt.h>
#include <fmt/format.h>

#include "kernels/device/cuda_check.h"
#include "kernels/gemm/gemm_cuda.h"

namespace tessera::kernels::internal {
namespace {

#define TS_CUBLASLT(call)                                                                  \
  do {                                                                                     \
    const cublasStatus_t ts_status = (call);                                               \
    if (ts_status != CUBLAS_STATUS_SUCCESS)                                                \
      throw CublasLtError(fmt::format("{} failed at {}:{}: {}", #call, __FILE__, __LINE__, \
                                      cublasLtGetStatusString(ts_status)));                \
  } while (false)

/// NVIDIA's advice for Hopper and later; enough for earlier devices.
constexpr std::size_t kWorkspaceBytes = 32 << 20;

struct DestroyDescription {
  void operator()(cublasLtMatmulDesc_t p) const { cublasLtMatmulDescDestroy(p); }
};
struct DestroyLayout {
  void operator()(cublasLtMatrixLayout_t p) const { cublasLtMatrixLayoutDestroy(p); }
};
struct DestroyPreference {
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t, DestroyDescription>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, DestroyLayout>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, DestroyPreference>;

/// What the choice of an algorithm depends on.
using Key = std::array<std::int64_t, 18>;

/// Largest power of two that divides an address, up to 256.
std::int64_t alignment(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return address == 0 ? 256 : std::min<std::int64_t>(256, std::int64_t{1} << std::countr_zero(address));
}

class Library {
 public:
  Library() {
    const cublasStatus_t status = cublasLtCreate(&handle_);
    if (status != CUBLAS_STATUS_SUCCESS) {
      handle_ = nullptr;
      problem_ = fmt::format("does not start: {}", cublasLtGetStatusString(status));
    }
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle_ != nullptr) cublasLtDestroy(handle_);
    for (const auto& [stream, memory] : workspace_) cudaFree(memory);
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool multiply(const GemmProblem& p, CudaStream stream) {
    // cuBLASLt is column-major: what lies in memory as our row-major X is X' to it. So it is asked for
    // D' = op(B)' op(A)': B first, N x M, its vector of biases along D's columns.
    const cudaDataType_t in = p.input == GemmInput::kBf16 ? CUDA_R_16BF : CUDA_R_16F;
    const cudaDataType_t out = p.float_output ? CUDA_R_32F : in;
    const Description description = make_description(p, out);
    const bool ta = p.transpose_a == Transpose::kYes;
    const bool tb = p.transpose_b == Transpose::kYes;
    const Layout first = make_layout(in, tb ? p.shape.k : p.shape.n, tb ? p.shape.n : p.shape.k, p.ldb);
    const Layout second = make_layout(in, ta ? p.shape.m : p.shape.k, ta ? p.shape.k : p.shape.m, p.lda);
    const bool residual = p.beta != 0;
    const Layout c = make_layout(out, p.shape.n, p.shape.m, residual ? p.ldc : p.ldd);
    const Layout d = make_layout(out, p.shape.n, p.shape.m, p.ldd);
    const void* const c_data = residual ? p.c : p.d;

    const std::lock_guard lock(mutex_);
    const Key key{p.shape.m,
                  p.shape.n,
                  p.shape.k,
                  ta,
                  tb,
                  p.lda,
                  p.ldb,
                  residual ? p.ldc : -1,
                  p.ldd,
                  in,
                  out,
                  p.bias != nullptr,
                  alignment(p.a),
                  alignment(p.b),
                  alignment(c_data),
                  alignment(p.d),
                  residual && p.c == p.d,
                  alignment(p.bias)};
    auto algorithm = algorithms_.find(key);
    if (algorithm == algorithms_.end()) {
      algorithm =
          algorithms_
              .emplace(key, choose(p, key, description.get(), first.get(), second.get(), c.get(), d.get()))
              .first;
    }
    if (!algorithm->second) return false;
    TS_CUBLASLT(cublasLtMatmul(handle_, description.get(), &p.alpha, p.b, first.get(), p.a, second.get(),
                               &p.beta, c_data, c.get(), p.d, d.get(), &*algorithm->second, workspace(stream),
                               kWorkspaceBytes, stream));
    return true;
  }

 private:
  static Description make_description(const GemmProblem& p, cudaDataType_t out) {
    cublasLtMatmulDesc_t raw = nullptr;
    TS_CUBLASLT(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    Description description(raw);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      TS_CUBLASLT(cublasLtMatmulDescSetAttribute(raw, attribute, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b == Transpose::kYes ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a == Transpose::kYes ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, out);
    }
    return description;
  }

  static Layout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    cublasLtMatrixLayout_t raw = nullptr;
    TS_CUBLASLT(cublasLtMatrixLayoutCreate(&raw, type, static_cast<std::uint64_t>(rows),
                                           static_cast<std::uint64_t>(columns), ld));
    return Layout(raw);
  }

  /// None where the library takes no such product.
  std::optional<cublasLtMatmulAlgo_t> choose(const GemmProblem& p, const Key& key,
                                             cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t first,
                                             cublasLtMatrixLayout_t second, cublasLtMatrixLayout_t c,
                                             cublasLtMatrixLayout_t d) {
    cublasLtMatmulPreference_t raw = nullptr;
    TS_CUBLASLT(cublasLtMatmulPreferenceCreate(&raw));
    const Preference preference(raw);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      TS_CUBLASLT(cublasLtMatmulPreferenceSetAttribute(raw, attribute, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key[13]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key[12]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key[14]));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key[15]));
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, description, first, second, c, d, raw, 1, &result, &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0))
      return std::nullopt;
    if (status != CUBLAS_STATUS_SUCCESS) {
      throw CublasLtError(fmt::format("cublasLtMatmulAlgoGetHeuristic for {} x {} x {}: {}", p.shape.m,
                                      p.shape.n, p.shape.k, cublasLtGetStatusString(status)));
    }
    return result.algo;
  }

  void* workspace(CudaStream stream) {
    void*& memory = workspace_[stream];
    if (memory == nullptr) TS_CUDA(cudaMalloc(&memory, kWorkspaceBytes));
    return memory;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::string problem_;
  std::mutex mutex_;
  std::map<Key, std::optional<cublasLtMatmulAlgo_t>> algorithms_;
  std::map<CudaStream, void*> workspace_;
};

/// Of the calling thread's device. Never destroyed: at exit the driver may be gone before it.
Library& library() {
  static std::mutex mutex;
  static auto& of_device = *new std::map<int, std::unique_ptr<Library>>;
  int device = 0;
  TS_CUDA(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  std::unique_ptr<Library>& library = of_device[device];
  if (library == nullptr) library = std::make_unique<Library>();
  return *library;
}

}  // namespace

std::string cublaslt_problem() { return library().problem(); }

std::string cublaslt_version() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

bool gemm_cublaslt(const GemmProblem& problem, CudaStream stream) {
  return library().multiply(problem, stream);
}

}  // namespace tessera::kernels::internal
