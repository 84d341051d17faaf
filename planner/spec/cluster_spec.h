/// ClusterSpec: the machines a plan may use, from cluster.json.
///
///   {"nodes": [
///     {"name": "a", "gpu": "A100-40", "count": 8, "nodes": 4, "network_gb_per_s": 50,
///      "price_per_hour": 21.96, "spot_price_per_hour": 9.83, "preemptions_per_hour": 0.05, "region": "us"},
///     {"instance": "p5.48xlarge"},                                  gpu, count, network, prices from the
///     table
///     {"name": "desk", "gpu": {"name": "CPU core", "kind": "cpu", "gflops": 40, "memory_gb": 4,
///                              "memory_gb_per_s": 10}, "count": 2, "speed": 0.5}
///   ]}
///
/// "nodes": n repeats a row (names get -0 … -(n-1)). A GPU, instance or field that is not known is refused
/// with the nearest known name. Links: "intra" and "inter" take a curve (see read_link_curve); without them
/// they follow from the device's table row and the network rate. Units: GB = 1e9 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/link_curve.h"

namespace tessera::planner {

enum class DeviceKind : std::uint8_t { kGpu, kCpu };

struct DeviceType {
  std::string name;
  DeviceKind kind = DeviceKind::kGpu;
  double peak_flops = 0;          // dense, per second; 16-bit products on a GPU, fp32 on a CPU
  double achievable_share = 0.8;  // of the peak, that large matrix products reach
  double memory_bytes = 0;
  double reserved_bytes = 0;         // of memory_bytes, not for the job: context, libraries, fragments
  double memory_bytes_per_s = 0;     // of device memory
  double peer_bytes_per_s = 0;       // to a device of the same node, one way, without the host; 0: none
  double host_link_bytes_per_s = 0;  // one way
  bool bf16 = true;                  // 16-bit products in bf16; else fp16 only
  bool operator==(const DeviceType&) const = default;
};

struct NodeSpec {
  std::string name;  // distinct; what a launcher calls the host
  int type = 0;      // in ClusterSpec::types
  int devices = 1;   // of that type
  double speed = 1;  // of each device, relative to its type
  LinkCurve intra;   // one message between two devices of the node
  LinkCurve inter;   // one message to another node; the slower side counts
  std::string instance;
  std::string region;
  std::optional<double> price_per_hour;       // of the node, on demand
  std::optional<double> spot_price_per_hour;  // of the node
  double preemptions_per_hour = 0;
  bool operator==(const NodeSpec&) const = default;
};

struct ClusterSpec {
  std::vector<DeviceType> types;
  std::vector<NodeSpec> nodes;  // at least one
  LinkCurve between_regions;    // a message between nodes of different regions; empty: as within one

  [[nodiscard]] int devices() const;
  [[nodiscard]] const DeviceType& type_of(const NodeSpec& node) const {
    return types[static_cast<std::size_t>(node.type)];
  }
  bool operator==(const ClusterSpec&) const = default;
};

/// Limits: 1e-3..1e9 GFLOP/s, up to 1e5 GB of memory, 65536 nodes, 1024 devices per node, 2^20 devices in
/// all.
[[nodiscard]] Result<ClusterSpec> parse_cluster_spec(const std::string& json_text,
                                                     const std::string& file_name);
[[nodiscard]] Result<ClusterSpec> read_cluster_spec(const std::string& path);

/// A cluster.json that reads back as the same value.
[[nodiscard]] std::string to_cluster_json(const ClusterSpec& cluster);

}  // namespace tessera::planner
