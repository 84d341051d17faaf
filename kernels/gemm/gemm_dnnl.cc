#include <dlfcn.h>
#include <new>
#include <oneapi/dnnl/dnnl.h>
#include <stdexcept>
#include <string>

#include "algos/base/require.h"
#include "kernels/gemm/gemm_piece.h"

#if DNNL_CPU_RUNTIME != DNNL_RUNTIME_OMP && DNNL_CPU_RUNTIME != DNNL_RUNTIME_SEQ
#error "this oneDNN brings its own threads (TBB or a thread pool); configure with -DTESSERA_GEMM=eigen"
#endif

namespace tessera::kernels::internal {
namespace {

#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_OMP
/// oneDNN asks OpenMP for the threads of the calling thread; it shall find one. Looked up in the OpenMP
/// runtime that oneDNN itself loaded, whichever that is: linking one could bring in a second.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : previous_(runtime().get_max_threads()) { runtime().set_num_threads(1); }
  ~OneOpenMpThread() { runtime().set_num_threads(previous_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  struct Runtime {
    int (*get_max_threads)();
    void (*set_num_threads)(int);
  };
  static const Runtime& runtime() {
    static const Runtime found = [] {
      Runtime r{reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads")),
                reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))};
      TS_REQUIRE(r.get_max_threads != nullptr && r.set_num_threads != nullptr);
      return r;
    }();
    return found;
  }
  int previous_;
};
#else
struct OneOpenMpThread {};
#endif

constexpr char letter(Transpose transpose) { return transpose == Transpose::kYes ? 'T' : 'N'; }

}  // namespace

void gemm_piece(GemmShape shape, Transpose transpose_a, Transpose transpose_b, float alpha, const float* a,
                std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  [[maybe_unused]] const OneOpenMpThread one_thread;
  const dnnl_status_t status = dnnl_sgemm(letter(transpose_a), letter(transpose_b), shape.m, shape.n, shape.k,
                                          alpha, a, lda, b, ldb, beta, c, ldc);
  if (status == dnnl_out_of_memory) throw std::bad_alloc();
  if (status != dnnl_success) {
    throw std::runtime_error("dnnl_sgemm failed with status " + std::to_string(status) +
                             " for m, n, k = " + std::to_string(shape.m) + ", " + std::to_string(shape.n) +
                             ", " + std::to_string(shape.k));
  }
}

std::string_view gemm_piece_provider() {
  static const std::string name = [] {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch);
  }();
  return name;
}

}  // namespace tessera::kernels::internal
