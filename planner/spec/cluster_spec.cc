#include "planner/spec/cluster_spec.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "planner/spec/device_table.h"
#include "planner/spec/json_object.h"
#include "planner/spec/link_json.h"
#include "planner/spec/nearest_name.h"

namespace tessera::planner {
namespace {

constexpr int kMostNodes = 1 << 16;
constexpr int kMostDevicesPerNode = 1024;
constexpr int kMostDevices = 1 << 20;
constexpr double kMostGb = 1e5;
constexpr double kMostGbPerS = 1e6;
constexpr double kMostGflops = 1e9;
constexpr double kMostPrice = 1e6;
const char* const kRemedy = "compare with the example in docs/planner.md";

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "use a known name or describe the device inline"
                         : fmt::format("did you mean {}?", nearest);
}

Status read_gigabytes(const JsonObject& row, const char* name, double most, double& bytes, bool required) {
  double gigabytes = bytes / 1e9;
  TS_TRY(row.real(name, 0, most, gigabytes, required));
  if (row.has(name)) {
    if (required && !(gigabytes > 0))
      return row.refuse(name, fmt::format("a number above 0, at most {}", most));
    bytes = gigabytes * 1e9;
  }
  return {};
}

Result<DeviceType> read_inline_type(const JsonObject& gpu) {
  TS_TRY(gpu.only({"name", "kind", "gflops", "achievable_share", "memory_gb", "reserved_gb",
                   "memory_gb_per_s", "peer_gb_per_s", "host_link_gb_per_s", "bf16"}));
  DeviceType type;
  TS_TRY(gpu.text("name", type.name, true));
  std::string kind = "gpu";
  TS_TRY(gpu.text("kind", kind));
  if (kind != "gpu" && kind != "cpu") return gpu.refuse("kind", "\"gpu\" or \"cpu\"");
  type.kind = kind == "cpu" ? DeviceKind::kCpu : DeviceKind::kGpu;
  type.bf16 = type.kind == DeviceKind::kGpu;
  double gflops = 0;
  TS_TRY(gpu.real("gflops", 1e-3, kMostGflops, gflops, true));
  type.peak_flops = gflops * 1e9;
  TS_TRY(gpu.real("achievable_share", 1e-3, 1, type.achievable_share));
  TS_TRY(read_gigabytes(gpu, "memory_gb", kMostGb, type.memory_bytes, true));
  TS_TRY(read_gigabytes(gpu, "reserved_gb", kMostGb, type.reserved_bytes, false));
  if (type.reserved_bytes >= type.memory_bytes) return gpu.refuse("reserved_gb", "less than memory_gb");
  TS_TRY(read_gigabytes(gpu, "memory_gb_per_s", kMostGbPerS, type.memory_bytes_per_s, true));
  TS_TRY(read_gigabytes(gpu, "peer_gb_per_s", kMostGbPerS, type.peer_bytes_per_s, false));
  type.host_link_bytes_per_s = type.kind == DeviceKind::kCpu ? type.memory_bytes_per_s : 16e9;
  TS_TRY(read_gigabytes(gpu, "host_link_gb_per_s", kMostGbPerS, type.host_link_bytes_per_s, false));
  if (!(type.host_link_bytes_per_s > 0)) return gpu.refuse("host_link_gb_per_s", "a number above 0");
  if (type.kind == DeviceKind::kCpu && !(type.peer_bytes_per_s > 0)) {
    type.peer_bytes_per_s = type.memory_bytes_per_s / 2;  // a copy reads and writes
  }
  TS_TRY(gpu.boolean("bf16", type.bf16));
  return type;
}

Result<DeviceType> read_type(const JsonObject& row, const Instance* instance) {
  if (!row.has("gpu")) {
    if (instance != nullptr) return find_device_type(instance->device).value();
    return row.refuse("gpu", "the name of a device, or an object that describes one");
  }
  if (row.at("gpu").is_object()) return read_inline_type(TS_TRY(row.object("gpu")));
  std::string name;
  TS_TRY(row.text("gpu", name, true));
  const std::optional<DeviceType> type = find_device_type(name);
  if (!type) {
    return row.refuse("gpu", fmt::format("one of {}", fmt::join(device_type_names(), ", ")),
                      did_you_mean(name, device_type_names()));
  }
  return *type;
}

/// The type's index in the cluster; one name means one device.
Result<int> place_type(const JsonObject& row, const DeviceType& type, ClusterSpec& cluster) {
  for (std::size_t i = 0; i < cluster.types.size(); ++i) {
    if (cluster.types[i].name != type.name) continue;
    if (!(cluster.types[i] == type)) {
      return row.refuse("gpu", fmt::format("the same description of {} as in an earlier row", type.name),
                        "give the other device a name of its own");
    }
    return static_cast<int>(i);
  }
  cluster.types.push_back(type);
  return static_cast<int>(cluster.types.size()) - 1;
}

Result<const Instance*> read_instance(const JsonObject& row, std::string& name) {
  if (!row.has("instance")) return static_cast<const Instance*>(nullptr);
  TS_TRY(row.text("instance", name, true));
  const Instance* instance = find_instance(name);
  if (instance == nullptr && !row.has("gpu")) {
    return row.refuse(
        "instance",
        fmt::format("one of {}, or any name beside \"gpu\" and \"count\"", fmt::join(instance_names(), ", ")),
        did_you_mean(name, instance_names()));
  }
  return instance;
}

Status read_price(const JsonObject& row, const char* name, std::optional<double>& price) {
  if (!row.has(name)) return {};
  double value = 0;
  TS_TRY(row.real(name, 0, kMostPrice, value));
  price = value;
  return {};
}

Status read_links(const JsonObject& row, const Instance* instance, const DeviceType& type, NodeSpec& node) {
  double network = instance != nullptr ? instance->network_bytes_per_s : kDefaultNetworkBytesPerS;
  TS_TRY(read_gigabytes(row, "network_gb_per_s", kMostGbPerS, network, false));
  if (!(network > 0)) return row.refuse("network_gb_per_s", "a number above 0");
  node.intra = row.has("intra") ? TS_TRY(read_link_curve(row, "intra")) : default_intra_link(type);
  node.inter = row.has("inter") ? TS_TRY(read_link_curve(row, "inter")) : default_inter_link(network);
  return {};
}

Status read_row(const JsonObject& row, std::size_t index, ClusterSpec& cluster) {
  TS_TRY(row.only({"name", "gpu", "count", "nodes", "speed", "instance", "network_gb_per_s", "intra", "inter",
                   "price_per_hour", "spot_price_per_hour", "preemptions_per_hour", "region"}));
  NodeSpec node;
  const Instance* instance = TS_TRY(read_instance(row, node.instance));
  const DeviceType type = TS_TRY(read_type(row, instance));
  node.type = TS_TRY(place_type(row, type, cluster));
  if (instance != nullptr) {
    node.devices = instance->devices;
    node.price_per_hour = instance->price_per_hour;
    node.spot_price_per_hour = instance->spot_price_per_hour;
  }
  TS_TRY(row.integer("count", 1, kMostDevicesPerNode, node.devices, instance == nullptr));
  TS_TRY(row.real("speed", 1e-3, 1e3, node.speed));
  TS_TRY(read_links(row, instance, type, node));
  TS_TRY(read_price(row, "price_per_hour", node.price_per_hour));
  TS_TRY(read_price(row, "spot_price_per_hour", node.spot_price_per_hour));
  TS_TRY(row.real("preemptions_per_hour", 0, 3600, node.preemptions_per_hour));
  TS_TRY(row.text("region", node.region));
  int copies = 1;
  TS_TRY(row.integer("nodes", 1, kMostNodes, copies));
  if (cluster.nodes.size() + static_cast<std::size_t>(copies) > static_cast<std::size_t>(kMostNodes)) {
    return row.refuse("nodes", fmt::format("at most {} nodes in all", kMostNodes));
  }
  std::string name = fmt::format("node{}", index);
  TS_TRY(row.text("name", name));
  for (int copy = 0; copy < copies; ++copy) {
    node.name = copies == 1 ? name : fmt::format("{}-{}", name, copy);
    cluster.nodes.push_back(node);
  }
  return {};
}

Status check_names_and_size(const ClusterSpec& cluster, const std::string& file) {
  std::set<std::string> names;
  std::int64_t devices = 0;
  for (const NodeSpec& node : cluster.nodes) {
    if (!names.insert(node.name).second) {
      return bad_input({file, "nodes", fmt::format("two nodes named {}", shown(Json(node.name))),
                        "distinct names", "rename one of them"});
    }
    devices += node.devices;
  }
  if (devices > kMostDevices) {
    return bad_input({file, "nodes", fmt::format("{} devices", devices),
                      fmt::format("at most {} devices", kMostDevices), kRemedy});
  }
  return {};
}

nlohmann::ordered_json type_json(const DeviceType& type) {
  return {{"name", type.name},
          {"kind", type.kind == DeviceKind::kCpu ? "cpu" : "gpu"},
          {"gflops", type.peak_flops / 1e9},
          {"achievable_share", type.achievable_share},
          {"memory_gb", type.memory_bytes / 1e9},
          {"reserved_gb", type.reserved_bytes / 1e9},
          {"memory_gb_per_s", type.memory_bytes_per_s / 1e9},
          {"peer_gb_per_s", type.peer_bytes_per_s / 1e9},
          {"host_link_gb_per_s", type.host_link_bytes_per_s / 1e9},
          {"bf16", type.bf16}};
}

}  // namespace

int ClusterSpec::devices() const {
  int sum = 0;
  for (const NodeSpec& node : nodes) sum += node.devices;
  return sum;
}

Result<ClusterSpec> parse_cluster_spec(const std::string& json_text, const std::string& file_name) {
  const Json json =
      TS_TRY(parse_json_object(json_text, file_name, "one JSON object with the cluster's nodes", kRemedy));
  const JsonObject object(json, file_name, "", kRemedy);
  TS_TRY(object.only({"nodes", "between_regions"}));
  ClusterSpec cluster;
  const std::vector<JsonObject> rows = TS_TRY(object.objects("nodes", true));
  if (rows.empty()) return object.refuse("nodes", "at least one node");
  for (std::size_t i = 0; i < rows.size(); ++i) TS_TRY(read_row(rows[i], i, cluster));
  if (object.has("between_regions"))
    cluster.between_regions = TS_TRY(read_link_curve(object, "between_regions"));
  TS_TRY(check_names_and_size(cluster, file_name));
  return cluster;
}

Result<ClusterSpec> read_cluster_spec(const std::string& path) {
  const std::string text =
      TS_TRY(read_text_file(path, "a cluster.json", "check the path given with --cluster"));
  return parse_cluster_spec(text, path);
}

std::string to_cluster_json(const ClusterSpec& cluster) {
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
  for (const NodeSpec& node : cluster.nodes) {
    nlohmann::ordered_json row{{"name", node.name}};
    const DeviceType& type = cluster.type_of(node);
    const std::optional<DeviceType> known = find_device_type(type.name);
    if (known && *known == type) {
      row["gpu"] = type.name;
    } else {
      row["gpu"] = type_json(type);
    }
    row["count"] = node.devices;
    if (node.speed != 1) row["speed"] = node.speed;
    if (!node.instance.empty()) row["instance"] = node.instance;
    row["intra"] = link_curve_json(node.intra);
    row["inter"] = link_curve_json(node.inter);
    if (node.price_per_hour) row["price_per_hour"] = *node.price_per_hour;
    if (node.spot_price_per_hour) row["spot_price_per_hour"] = *node.spot_price_per_hour;
    if (node.preemptions_per_hour > 0) row["preemptions_per_hour"] = node.preemptions_per_hour;
    if (!node.region.empty()) row["region"] = node.region;
    nodes.push_back(std::move(row));
  }
  nlohmann::ordered_json object{{"nodes", nodes}};
  if (!cluster.between_regions.empty()) object["between_regions"] = link_curve_json(cluster.between_regions);
  return object.dump(2) + "\n";
}

}  // namespace tessera::planner
