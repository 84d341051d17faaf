/// TS_CUDA(call): throws CudaError with the call's text, its place and CUDA's words. For .cu files and tests.
#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

namespace tessera::kernels {

/// What to do about it, where that is known; reads the calling thread's device.
inline std::string cuda_remedy(cudaError_t code) {
  if (code != cudaErrorNoKernelImageForDevice && code != cudaErrorUnsupportedPtxVersion) return "";
  int device = 0;
  int major = 0;
  int minor = 0;
  (void)cudaGetDevice(&device);
  (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  (void)cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return "; this program has no code for compute capability " + std::to_string(major) + "." +
         std::to_string(minor) +
         ": build it with -DTESSERA_CUDA_ARCHITECTURES=" + std::to_string(10 * major + minor) +
         "-real, or update the driver";
}

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const char* call, const char* file, int line)
      : std::runtime_error(std::string(call) + " failed at " + file + ":" + std::to_string(line) + ": " +
                           cudaGetErrorName(code) + ", " + cudaGetErrorString(code) + cuda_remedy(code)),
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
