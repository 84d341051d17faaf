// A cluster.json of any text is refused with a message, or it is written and read back as the same cluster.
#include <string>

#include "planner/spec/cluster_spec.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "cluster.json";
  const auto cluster = planner::parse_cluster_spec(std::string(data, data + size), name);
  if (!cluster.ok()) {
    fuzz::require_complaint(cluster.status().message(), name);
    return 0;
  }
  fuzz::require_property(cluster->devices() >= 1, "a cluster has devices");
  for (const planner::NodeSpec& node : cluster->nodes) {
    fuzz::require_property(cluster->type_of(node).peak_flops > 0, "devices compute", node.name);
    fuzz::require_property(node.inter.seconds(1e6) >= 0 && node.intra.seconds(1e12) >= 0, "links take time",
                           node.name);
  }
  if (cluster->nodes.size() > 64) return 0;  // the rest is slow, and the same for every node
  const std::string written = planner::to_cluster_json(cluster.value());
  const auto again = planner::parse_cluster_spec(written, name);
  fuzz::require_property(again.ok(), "what is written is read", written + again.status().message());
  fuzz::require_property(
      again->nodes.size() == cluster->nodes.size() && again->devices() == cluster->devices(), "nodes survive",
      written);
  return 0;
}
