/// TS_CUDA(call): throws CudaError with the call's text, its place and CUDA's words. For .cu files and tests.
#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

namespace tessera::kernels {

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const char* call, const char* file, int line)
      : std::runtime_error(std::string(call) + " failed at " + file + ":" + std::to_string(line) + ": " +
                           cudaGetErrorName(code) + ", " + cudaGetErrorString(code)),
        code_(code) {}
  [[nodiscard]] cudaError_t code() const { return code_; }

 private:
  cudaError_t code_;
};

}  // namespace tessera::kernels

#define TS_CUDA(call)                                                               \
  do {                                                                              \
    const cudaError_t ts_cuda_code = (call);                                        \
    if (ts_cuda_code != cudaSuccess)                                                \
      throw ::tessera::kernels::CudaError(ts_cuda_code, #call, __FILE__, __LINE__); \
  } while (false)
