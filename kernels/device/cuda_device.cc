#include "kernels/device/cuda_device.h"

#include <map>
#include <mutex>

#include <fmt/format.h>

#include "kernels/device/cuda_check.h"

namespace tessera::kernels {
namespace {

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

}  // namespace

CudaStatus cuda_status() {
  int devices = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);  // leaves `devices` alone where it fails
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  (void)cudaGetLastError();
  return cuda_status_of(code, devices, driver);
}

CudaStatus cuda_status_of(int code, int devices, int driver_version) {
  if (code == cudaSuccess && devices > 0) return {devices, "", ""};
  const std::string needed = version(CUDART_VERSION);
  if (code == cudaErrorInsufficientDriver && driver_version == 0) {
    return {0, "no NVIDIA driver is installed",
            fmt::format("install a driver for CUDA {} (r580 or later), or run with --device cpu", needed)};
  }
  if (code == cudaErrorInsufficientDriver) {
    return {0,
            fmt::format("the NVIDIA driver knows CUDA {}, this program needs {}", version(driver_version),
                        needed),
            "update the driver (r580 or later), or run with --device cpu"};
  }
  if (code == cudaErrorNoDevice || code == cudaSuccess) {
    return {0, "the driver sees no CUDA device",
            "look at nvidia-smi, CUDA_VISIBLE_DEVICES and the container's devices, or run with --device cpu"};
  }
  return {0, fmt::format("CUDA does not start: {}", cudaGetErrorString(static_cast<cudaError_t>(code))),
          "look at nvidia-smi and the system's log, or run with --device cpu"};
}

const DeviceProperties& device_properties(int device) {
  static std::mutex mutex;
  static std::map<int, DeviceProperties> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(device); found != known.end()) return found->second;
  cudaDeviceProp p{};
  TS_CUDA(cudaGetDeviceProperties(&p, device));
  return known
      .emplace(device,
               DeviceProperties{
                   device, p.name,
                   fmt::format("{:04x}:{:02x}:{:02x}.0", static_cast<unsigned>(p.pciDomainID),
                               static_cast<unsigned>(p.pciBusID), static_cast<unsigned>(p.pciDeviceID)),
                   10 * p.major + p.minor, p.multiProcessorCount,
                   static_cast<std::int64_t>(p.sharedMemPerBlockOptin),
                   static_cast<std::int64_t>(p.sharedMemPerMultiprocessor),
                   static_cast<std::int64_t>(p.reservedSharedMemPerBlock),
                   static_cast<std::int64_t>(p.totalGlobalMem), p.l2CacheSize})
      .first->second;
}

const DeviceProperties& current_device_properties() {
  int device = 0;
  TS_CUDA(cudaGetDevice(&device));
  return device_properties(device);
}

bool runs_on(const KernelVariant& variant, const DeviceProperties& device) {
  const bool capable = variant.exact ? device.capability == variant.least_capability
                                     : device.capability >= variant.least_capability;
  return capable && variant.shared_bytes <= device.shared_bytes_per_block;
}

std::string to_text(const DeviceProperties& d) {
  return fmt::format(
      "device {}  {}  {}\n"
      "  compute capability {}.{}, {} multiprocessors, {:.1f} GiB, L2 {:.0f} MiB, shared memory {} KiB a "
      "block, {} KiB "
      "a multiprocessor\n",
      d.device, d.name, d.pci, d.capability / 10, d.capability % 10, d.multiprocessors,
      static_cast<double>(d.memory_bytes) * 0x1p-30, static_cast<double>(d.l2_bytes) * 0x1p-20,
      d.shared_bytes_per_block / 1024, d.shared_bytes_per_multiprocessor / 1024);
}

std::string to_text(std::span<const KernelVariant> variants, const DeviceProperties& device) {
  std::string text = fmt::format("{:<16} {:<26} {:>10} {:>10}  {:<26} {}\n", "operation", "variant",
                                 "capability", "shared KiB", "takes", "here");
  for (const KernelVariant& v : variants) {
    text += fmt::format("{:<16} {:<26} {:>9}{} {:>10.1f}  {:<26} {}\n", v.operation, v.variant,
                        fmt::format("{}.{}", v.least_capability / 10, v.least_capability % 10),
                        v.exact ? "=" : "+", static_cast<double>(v.shared_bytes) / 1024, v.takes,
                        runs_on(v, device) ? "yes" : "no");
  }
  return text;
}

}  // namespace tessera::kernels
