#include "planner/spec/device_table.h"

#include <array>
#include <cctype>

namespace tessera::planner {
namespace {

struct DeviceRow {
  const char* name;
  double tflops;            // dense, 16-bit
  double achievable_share;  // of it
  double memory_gb;
  double memory_tb_per_s;
  double nvlink_gb_per_s;  // vendors' total of both directions; 0: none
  double host_gb_per_s;    // one way
  bool bf16;
};

// Achievable shares: measured maxima of bf16 products, A100 271/312, H100 795/989, B200 1745/2250
// (github.com/stas00/ml-engineering, compute/accelerator); 0.8 where nothing is published. Rates without
// sparsity. NVLink of V100, A100, H100, H200, B200 and memory rates: the same tables, from the vendor.
constexpr std::array<DeviceRow, 16> kDevices{{
    {"T4", 65, 0.8, 16, 0.32, 0, 16, false},          // NVIDIA data sheet; fp16 only
    {"V100-16", 125, 0.8, 16, 0.90, 300, 16, false},  // NVIDIA data sheet; fp16 only
    {"V100-32", 125, 0.8, 32, 0.90, 300, 16, false},  // NVIDIA data sheet; fp16 only
    {"A10G", 70, 0.8, 24, 0.60, 0, 31, true},         // baseten.co, A10 against A10G
    {"L4", 121, 0.8, 24, 0.30, 0, 31, true},          // NVIDIA data sheet
    {"RTX 3090", 71, 0.8, 24, 0.94, 0, 31, true},     // NVIDIA GA102 white paper, fp32 accumulation
    {"RTX 4090", 165, 0.8, 24, 1.01, 0, 31,
     true},                                     // NVIDIA Ada white paper, fp32 accumulation; no peer copies
    {"L40S", 362, 0.8, 48, 0.86, 0, 31, true},  // ml-engineering
    {"A100-40", 312, 0.87, 40, 1.56, 600, 31, true},  // ml-engineering
    {"A100-80", 312, 0.87, 80, 2.04, 600, 31, true},  // ml-engineering
    {"H20", 148, 0.9, 96, 4.0, 900, 63, true},  // willitrunai.com; the power limit leaves H20 near its peak
    {"H800", 989, 0.80, 80, 3.35, 400, 63, true},    // H100's die, NVLink cut
    {"H100", 989, 0.80, 80, 3.35, 900, 63, true},    // ml-engineering
    {"H200", 989, 0.80, 141, 4.8, 900, 63, true},    // ml-engineering
    {"GH200", 989, 0.80, 96, 4.0, 900, 63, true},    // NVIDIA data sheet, 96 GB HBM3
    {"B200", 2250, 0.78, 180, 8.0, 1800, 63, true},  // NVIDIA DGX B200
}};

// A CPU core as a rank: AVX2 at 3 GHz with two fused multiply-adds reaches 96 GFLOP/s; most cloud cores less.
const DeviceType kCpuCore{.name = "CPU",
                          .kind = DeviceKind::kCpu,
                          .peak_flops = 60e9,
                          .achievable_share = 0.8,
                          .memory_bytes = 4e9,
                          .reserved_bytes = 0,
                          .memory_bytes_per_s = 8e9,
                          .peer_bytes_per_s = 4e9,
                          .host_link_bytes_per_s = 8e9,
                          .bf16 = false};

// What the CUDA context, cuBLAS, NCCL buffers and allocator fragments take of a GPU.
constexpr double kGpuReservedBytes = 1.5e9;

struct InstanceRow {
  const char* name;
  const char* device;
  int devices;
  double network_gbit_per_s;
  double price;  // US dollars per hour, 0: not published
  double spot;
};

// Dated list prices; a cluster.json overrides each. Sources: github.com/datareceipts/data-receipts,
// github.com/skypilot-org/skypilot-catalog, huggingface.co/datasets/tanod/cloud-gpu-list-prices,
// gist.github.com/mludvig/31bf845061aa9d56d5de04707518fe6c, Sailor's constants, ml-engineering (network).
constexpr std::array<InstanceRow, 14> kInstances{{
    {"g4dn.12xlarge", "T4", 4, 50, 3.91, 1.17},         // AWS, spot December 2021
    {"p3.16xlarge", "V100-16", 8, 25, 24.48, 7.34},     // AWS, spot December 2021
    {"g5.48xlarge", "A10G", 8, 100, 16.29, 4.89},       // AWS, spot December 2021
    {"g6.48xlarge", "L4", 8, 100, 13.35, 4.0},          // AWS, spot about 0.3 of on-demand, 2026
    {"g6e.48xlarge", "L40S", 8, 400, 30.13, 0},         // AWS
    {"p4d.24xlarge", "A100-40", 8, 400, 21.96, 9.83},   // AWS, November 2026; spot December 2021
    {"p4de.24xlarge", "A100-80", 8, 400, 27.45, 0},     // AWS, November 2026
    {"p5.48xlarge", "H100", 8, 3200, 55.04, 39.33},     // AWS, November 2026; capacity block December 2024
    {"p5e.48xlarge", "H200", 8, 3200, 0, 43.26},        // AWS, capacity block December 2024
    {"a2-highgpu-8g", "A100-40", 8, 100, 29.36, 0},     // GCP, 3.67 per GPU, 2025
    {"a3-highgpu-8g", "H100", 8, 800, 87.84, 52.56},    // GCP, September 2026
    {"a3-ultragpu-8g", "H200", 8, 3200, 83.52, 47.60},  // GCP, October 2026; spot 5.64 to 6.26 per GPU
    {"ND96asr_v4", "A100-40", 8, 1600, 27.20, 0},       // Azure, 3.40 per GPU
    {"ND96isr_H100_v5", "H100", 8, 3200, 98.32, 0},     // Azure, November 2026
}};

std::string folded(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c != ' ' && c != '-' && c != '_') {
      text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return text;
}

}  // namespace

std::optional<DeviceType> find_device_type(std::string_view name) {
  const std::string key = folded(name);
  if (key == folded(kCpuCore.name)) return kCpuCore;
  for (const DeviceRow& row : kDevices) {
    const std::string own = folded(row.name);
    if (key != own && key != "rtx" + own && "rtx" + key != own) continue;  // "4090" is the RTX 4090
    return DeviceType{.name = row.name,
                      .kind = DeviceKind::kGpu,
                      .peak_flops = row.tflops * 1e12,
                      .achievable_share = row.achievable_share,
                      .memory_bytes = row.memory_gb * 1e9,
                      .reserved_bytes = kGpuReservedBytes,
                      .memory_bytes_per_s = row.memory_tb_per_s * 1e12,
                      .peer_bytes_per_s = row.nvlink_gb_per_s / 2 * 1e9,  // one direction
                      .host_link_bytes_per_s = row.host_gb_per_s * 1e9,
                      .bf16 = row.bf16};
  }
  return std::nullopt;
}

std::vector<std::string> device_type_names() {
  std::vector<std::string> names{kCpuCore.name};
  for (const DeviceRow& row : kDevices) names.emplace_back(row.name);
  return names;
}

LinkCurve default_intra_link(const DeviceType& type) {
  // Measured between two devices of a node: github.com/eth-easl/sailor (sailor/providers), MIT licence.
  if (type.name == "A100-40" || type.name == "A100-80") return fitted_link(0.808, 16.40, 32.98, 249);
  if (type.name == "V100-16" || type.name == "V100-32") return fitted_link(-0.2045, 7.212, 22.24, 68);
  if (type.name == "GH200") return fitted_link(-0.523, 14.23, 44.10, 125);
  if (type.name == "RTX 3090") return fitted_link(-0.205, 5.524, 18.34, 50);
  if (type.kind == DeviceKind::kCpu) return affine_link(2e-6, type.peer_bytes_per_s);
  // Elsewhere the vendor's rate, of which large messages reach about 0.8; through the host without NVLink.
  constexpr double kReached = 0.8;
  const bool direct = type.peer_bytes_per_s > 0;
  return affine_link(direct ? 5e-6 : 15e-6,
                     kReached * (direct ? type.peer_bytes_per_s : type.host_link_bytes_per_s));
}

LinkCurve default_inter_link(double bytes_per_s) {
  // Protocol and congestion leave about 0.8 of a line rate; 10 us covers a NIC, a switch and a launch.
  constexpr double kReached = 0.8;
  return affine_link(10e-6, kReached * bytes_per_s);
}

const Instance* find_instance(std::string_view name) {
  static const std::vector<Instance> all = [] {
    std::vector<Instance> list;
    for (const InstanceRow& row : kInstances) {
      Instance instance{row.name, row.device, row.devices, row.network_gbit_per_s / 8 * 1e9, {}, {}};
      if (row.price > 0) instance.price_per_hour = row.price;
      if (row.spot > 0) instance.spot_price_per_hour = row.spot;
      list.push_back(std::move(instance));
    }
    return list;
  }();
  for (const Instance& instance : all) {
    if (folded(instance.name) == folded(name)) return &instance;
  }
  return nullptr;
}

std::vector<std::string> instance_names() {
  std::vector<std::string> names;
  for (const InstanceRow& row : kInstances) names.emplace_back(row.name);
  return names;
}

}  // namespace tessera::planner
