#include "planner/tools/what_if.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "planner/spec/device_table.h"
#include "planner/spec/nearest_name.h"

namespace tessera::planner::tools {
namespace {

constexpr int kMostNodes = 65536;
constexpr int kMostDevices = 1024;

Status refuse(const std::string& change, const std::string& expected, const std::string& remedy) {
  return bad_input({"--what-if", "", change, expected, remedy});
}

/// "text*3" is cut into text and 3; without a star the count is 1. A bad count gives 0.
std::pair<std::string, int> with_count(const std::string& text) {
  const std::size_t star = text.rfind('*');
  if (star == std::string::npos) return {text, 1};
  int count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + star + 1, end, count);
  const bool good = error == std::errc() && rest == end && count >= 1 && count <= kMostNodes;
  return {text.substr(0, star), good ? count : 0};
}

/// NAME itself, or NAME-0, NAME-1, ...
bool matches(const std::string& node, const std::string& name) {
  if (node == name) return true;
  return node.size() > name.size() + 1 && node.starts_with(name + "-") &&
         std::all_of(node.begin() + static_cast<std::ptrdiff_t>(name.size()) + 1, node.end(),
                     [](unsigned char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string> names_of(const ClusterSpec& cluster) {
  std::vector<std::string> names;
  for (const NodeSpec& node : cluster.nodes) names.push_back(node.name);
  return names;
}

std::string known(const ClusterSpec& cluster) {
  std::vector<std::string> names = names_of(cluster);
  constexpr std::size_t kShown = 8;
  const bool more = names.size() > kShown;
  if (more) names.resize(kShown);
  return fmt::format("{}{}", fmt::join(names, ", "), more ? ", ..." : "");
}

Status unknown_node(const ClusterSpec& cluster, const std::string& change, const std::string& name) {
  const std::vector<std::string> names = names_of(cluster);
  const std::string nearest = nearest_name(name, names);
  return refuse(change, "the name of a node: " + known(cluster),
                nearest.empty() ? "take a name from cluster.json" : "did you mean " + nearest + "?");
}

void add(ClusterSpec& cluster, NodeSpec node, int count) {
  std::set<std::string> taken;
  for (const NodeSpec& other : cluster.nodes) taken.insert(other.name);
  const std::string base = node.name;
  for (int number = 1; count > 0; ++number) {
    node.name = fmt::format("{}+{}", base, number);
    if (!taken.insert(node.name).second) continue;
    cluster.nodes.push_back(node);
    --count;
  }
}

Result<NodeSpec> node_of_table(ClusterSpec& cluster, const std::string& change, const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string gpu = text.substr(0, colon);
  int devices = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, devices);
  if (error != std::errc() || rest != end || devices < 1 || devices > kMostDevices) {
    return refuse(change, fmt::format("add:GPU:COUNT with COUNT from 1 to {}", kMostDevices), "add:H100:8");
  }
  const auto type = find_device_type(gpu);
  if (!type) {
    const std::vector<std::string> names = device_type_names();
    const std::string nearest = nearest_name(gpu, names);
    return refuse(change, fmt::format("a GPU of the table: {}", fmt::join(names, ", ")),
                  nearest.empty() ? "describe the node in cluster.json" : "did you mean " + nearest + "?");
  }
  NodeSpec node;
  node.name = type->name;
  node.devices = devices;
  const auto same = std::ranges::find(cluster.types, *type);
  node.type = static_cast<int>(same - cluster.types.begin());
  if (same == cluster.types.end()) cluster.types.push_back(*type);
  node.intra = default_intra_link(*type);
  node.inter = default_inter_link(kDefaultNetworkBytesPerS);
  return node;
}

}  // namespace

Result<ClusterSpec> apply_what_if(ClusterSpec cluster, const std::vector<std::string>& changes) {
  for (const std::string& change : changes) {
    if (change.starts_with("remove:")) {
      const std::string name = change.substr(7);
      const auto removed =
          std::erase_if(cluster.nodes, [&](const NodeSpec& n) { return matches(n.name, name); });
      if (removed == 0) return unknown_node(cluster, change, name);
      if (cluster.nodes.empty()) return refuse(change, "a node that remains", "remove fewer nodes");
      continue;
    }
    if (!change.starts_with("add:")) {
      return refuse(change, "remove:NAME, add:NAME, add:NAME*N or add:GPU:COUNT",
                    "see tessera-plan plan --help");
    }
    const auto [text, count] = with_count(change.substr(4));
    if (count == 0)
      return refuse(change, fmt::format("a number from 1 to {} behind *", kMostNodes), "add:NAME*3");
    if (cluster.nodes.size() + static_cast<std::size_t>(count) > kMostNodes) {
      return refuse(change, fmt::format("at most {} nodes in all", kMostNodes), "add fewer nodes");
    }
    if (text.find(':') != std::string::npos) {
      NodeSpec node = TS_TRY(node_of_table(cluster, change, text));
      add(cluster, std::move(node), count);
      continue;
    }
    const auto like =
        std::ranges::find_if(cluster.nodes, [&](const NodeSpec& n) { return matches(n.name, text); });
    if (like == cluster.nodes.end()) return unknown_node(cluster, change, text);
    NodeSpec node = *like;
    node.name = text;
    add(cluster, std::move(node), count);
  }
  return cluster;
}

}  // namespace tessera::planner::tools
