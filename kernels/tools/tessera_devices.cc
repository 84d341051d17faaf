// tessera-devices: prints this machine's CUDA devices and the dispatch table against each, or what is
// missing. Exit status: 0 there is a device, 2 there is none, 1 CUDA failed.
#include <array>
#include <cstdio>
#include <exception>
#include <vector>

#include <fmt/format.h>

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_device.h"
#include "kernels/gemm/gemm_cuda.h"

namespace tessera {
namespace {

/// Kernels of one form each: from capability 8.0 on, with little shared memory.
constexpr std::array kPlainKernels{
    kernels::KernelVariant{"rmsnorm", "row in registers", 80, false, 128, "aligned, up to 16384 wide"},
    kernels::KernelVariant{"rmsnorm", "row by value", 80, false, 128},
    kernels::KernelVariant{"swiglu", "16 bytes an access", 80, false, 0, "aligned"},
    kernels::KernelVariant{"swiglu", "by value", 80},
    kernels::KernelVariant{"rope", "16 bytes an access", 80, false, 0, "aligned"},
    kernels::KernelVariant{"rope", "by value", 80},
    kernels::KernelVariant{"embedding", "16 bytes an access", 80, false, 0, "aligned"},
    kernels::KernelVariant{"embedding", "by value", 80},
    kernels::KernelVariant{"cross_entropy", "16 bytes an access", 80, false, 64, "aligned"},
    kernels::KernelVariant{"cross_entropy", "by value", 80, false, 64},
    kernels::KernelVariant{"cast", "4 values an access", 80, false, 0, "aligned"},
    kernels::KernelVariant{"cast", "by value", 80},
    kernels::KernelVariant{"adamw", "by value", 80},
    kernels::KernelVariant{"sum_of_squares", "strided", 80, false, 2048},
};

int run() {
  const kernels::CudaStatus status = kernels::cuda_status();
  if (status.devices == 0) {
    fmt::print(stderr, "tessera-devices: {}\n  {}\n", status.problem, status.remedy);
    return 2;
  }
  std::vector<kernels::KernelVariant> table = kernels::gemm_variants();
  const std::vector<kernels::KernelVariant> attention = kernels::attention_variants();
  table.insert(table.end(), attention.begin(), attention.end());
  table.insert(table.end(), kPlainKernels.begin(), kPlainKernels.end());
  for (int device = 0; device < status.devices; ++device) {
    TS_CUDA(cudaSetDevice(device));
    const kernels::DeviceProperties& properties = kernels::device_properties(device);
    fmt::print("{}  matrix products: {}\n\n{}\n", kernels::to_text(properties), kernels::gemm_cuda_provider(),
               kernels::to_text(table, properties));
  }
  return 0;
}

}  // namespace
}  // namespace tessera

int main() {
  try {
    return tessera::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "tessera-devices: {}\n", error.what());
    return 1;
  }
}
