/// What this process can run on: the devices, their properties, and which kernels fit which.
///
/// A build with CUDA starts on a machine without a driver: cuda_status() then says what is missing, and
/// nothing else here or in a launcher may be called.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace tessera::kernels {

struct CudaStatus {
  int devices = 0;
  std::string problem;  // empty where there is a usable device
  std::string remedy;
};
/// Does not throw and leaves no CUDA error behind.
[[nodiscard]] CudaStatus cuda_status();
/// The same from what cudaGetDeviceCount returned and counted and the driver's version, 0 without one.
[[nodiscard]] CudaStatus cuda_status_of(int code, int devices, int driver_version);

struct DeviceProperties {
  int device = 0;
  std::string name;
  std::string pci;     // domain:bus:device.function
  int capability = 0;  // 10 * major + minor: 80, 90, 100
  int multiprocessors = 0;
  std::int64_t shared_bytes_per_block = 0;  // with opt-in
  std::int64_t shared_bytes_per_multiprocessor = 0;
  std::int64_t shared_bytes_reserved = 0;  // of each block by the system
  std::int64_t memory_bytes = 0;
  std::int64_t l2_bytes = 0;
};
/// Read once per device and kept. Throws CudaError.
[[nodiscard]] const DeviceProperties& device_properties(int device);
/// Of the calling thread.
[[nodiscard]] const DeviceProperties& current_device_properties();

/// A row of the dispatch table: one compiled form of an operation and the devices that can run it. Rows of an
/// operation are in order of preference; launchers take the first that fits the device and the operands.
struct KernelVariant {
  const char* operation;
  const char* variant;
  int least_capability;           // 80: 8.0 and up
  bool exact = false;             // only that capability: sm_90a code
  std::int64_t shared_bytes = 0;  // a block's, to be granted by the device
  const char* takes = "any operands";
};
[[nodiscard]] bool runs_on(const KernelVariant& variant, const DeviceProperties& device);

/// The table for people: a line per row and what this device makes of it.
[[nodiscard]] std::string to_text(const DeviceProperties& device);
[[nodiscard]] std::string to_text(std::span<const KernelVariant> variants, const DeviceProperties& device);

}  // namespace tessera::kernels
