/// Vendors' numbers for dry runs without a profile: devices and rented instances (AutoHet notes, 4.1, 4.2,
/// 5).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/spec/cluster_spec.h"

namespace tessera::planner {

/// Names compare without letter case, spaces, '-' and '_': "a100 40" finds "A100-40".
[[nodiscard]] std::optional<DeviceType> find_device_type(std::string_view name);
[[nodiscard]] std::vector<std::string> device_type_names();

/// A measured intra-node curve of two devices, or what the vendor's rates give.
[[nodiscard]] LinkCurve default_intra_link(const DeviceType& type);
/// A node's network of that many bytes per second one way, with the latency of its kind.
[[nodiscard]] LinkCurve default_inter_link(double bytes_per_s);
/// Used when neither the row nor its instance says: 12.5 GB/s (100 Gbit/s).
inline constexpr double kDefaultNetworkBytesPerS = 12.5e9;

struct Instance {
  std::string name;
  std::string device;
  int devices = 0;
  double network_bytes_per_s = 0;             // one way
  std::optional<double> price_per_hour;       // US dollars, the whole node
  std::optional<double> spot_price_per_hour;  // the same, or a capacity block
};
[[nodiscard]] const Instance* find_instance(std::string_view name);
[[nodiscard]] std::vector<std::string> instance_names();

}  // namespace tessera::planner
