/// Profile: what tessera-profile measured, from profile.json. It overrides the analytic cost model where it
/// has an answer.
///
///   {"devices": {"A100-40": {
///      "layers": [{"kind": "decoder", "tp": 2, "micro_batch": 4, "forward_s": 0.011, "backward_s": 0.021,
///                  "update_s": 0.004, "workspace_bytes": 2.1e9, "activation_bytes": 3.1e8,
///                  "parameter_bytes": 1.2e8}],
///      "base_bytes": 1.2e9}},
///    "links": {"A100-40": {"intra": {"fit": [0.808, 16.4, 32.98], "max_gb_per_s": 249},
///                          "inter": {"latency_us": 12, "gb_per_s": 5.5}}},
///    "collectives": [{"kind": "all_reduce", "device": "A100-40", "ranks": 8, "nodes": 2,
///                     "points": [[1e6, 0.001], [1e8, 0.04]]}]}
///
/// Numbers are of one device of the cell: forward_s and backward_s of one micro-batch with its
/// tensor-parallel collectives, nothing recomputed; update_s of all the layer's parameters on the device,
/// before sharding; parameter_bytes in the job's compute format; activation_bytes kept between forward and
/// backward; workspace_bytes, counted once for a stage (the greatest counts). Optional: "context" (a mesh,
/// default "1x1"), "sequence_length", "layer" (one decoder layer that differs from the rest), and for a layer
/// that recomputes: "recompute" ("none", "selective", "full"), then backward_s includes it and
/// activation_bytes is what is left.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "planner/spec/link_curve.h"

namespace tessera::planner {

enum class LayerKind : std::uint8_t { kDecoder, kEmbedding, kHead };

struct ProfileLayer {
  LayerKind kind = LayerKind::kDecoder;
  int layer = -1;  // a decoder layer; -1: every one that has no row of its own
  int tensor_parallel = 1;
  std::string context = "1x1";
  std::int64_t micro_batch = 1;
  std::int64_t sequence_length = 0;  // tokens; 0: whatever the job's is
  std::string recompute = "none";
  double forward_s = 0;
  double backward_s = 0;
  double update_s = 0;
  double workspace_bytes = 0;
  double activation_bytes = 0;
  double parameter_bytes = 0;
  bool operator==(const ProfileLayer&) const = default;
};

struct DeviceProfile {
  std::vector<ProfileLayer> layers;
  double base_bytes =
      0;  // of each device whatever it holds: context, libraries; replaces reserved_bytes if > 0
  bool operator==(const DeviceProfile&) const = default;
};

struct LinkProfile {
  LinkCurve intra;  // empty: not measured
  LinkCurve inter;
  bool operator==(const LinkProfile&) const = default;
};

enum class CollectiveKind : std::uint8_t { kAllReduce, kReduceScatter, kAllGather };

/// Seconds by bytes of the whole buffer (of the gathered buffer for kAllGather).
struct CollectiveProfile {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  std::string device;
  int ranks = 2;
  int nodes = 1;
  LinkCurve curve;
  bool operator==(const CollectiveProfile&) const = default;
};

struct Profile {
  std::map<std::string, DeviceProfile> devices;  // by DeviceType::name
  std::map<std::string, LinkProfile> links;
  std::vector<CollectiveProfile> collectives;
  bool operator==(const Profile&) const = default;
};

[[nodiscard]] Result<Profile> parse_profile(const std::string& json_text, const std::string& file_name);
[[nodiscard]] Result<Profile> read_profile(const std::string& path);
/// A profile.json that reads back as the same value.
[[nodiscard]] std::string to_profile_json(const Profile& profile);

}  // namespace tessera::planner
