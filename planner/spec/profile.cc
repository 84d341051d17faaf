#include "planner/spec/profile.h"

#include <array>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "planner/spec/json_object.h"
#include "planner/spec/link_json.h"

namespace tessera::planner {
namespace {

const char* const kRemedy = "compare with the example in docs/planner.md, or measure with tessera-profile";
constexpr double kMostSeconds = 1e6;
constexpr double kMostBytes = 1e15;

constexpr std::array<std::pair<LayerKind, const char*>, 3> kKinds{
    {{LayerKind::kDecoder, "decoder"}, {LayerKind::kEmbedding, "embedding"}, {LayerKind::kHead, "head"}}};
constexpr std::array<std::pair<CollectiveKind, const char*>, 3> kCollectives{
    {{CollectiveKind::kAllReduce, "all_reduce"},
     {CollectiveKind::kReduceScatter, "reduce_scatter"},
     {CollectiveKind::kAllGather, "all_gather"}}};

template <class Table, class Kind>
Status read_kind(const JsonObject& row, const Table& table, Kind& kind) {
  std::string text;
  TS_TRY(row.text("kind", text, true));
  std::string names;
  for (const auto& [value, name] : table) {
    if (text == name) {
      kind = value;
      return {};
    }
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return row.refuse("kind", "one of " + names);
}

template <class Table, class Kind>
const char* name_of(const Table& table, Kind kind) {
  for (const auto& [value, name] : table) {
    if (value == kind) return name;
  }
  return "";
}

Result<ProfileLayer> read_layer(const JsonObject& row) {
  TS_TRY(
      row.only({"kind", "layer", "tp", "context", "micro_batch", "sequence_length", "recompute", "forward_s",
                "backward_s", "update_s", "workspace_bytes", "activation_bytes", "parameter_bytes"}));
  ProfileLayer layer;
  TS_TRY(read_kind(row, kKinds, layer.kind));
  TS_TRY(row.integer("layer", 0, 1 << 20, layer.layer));
  if (layer.layer >= 0 && layer.kind != LayerKind::kDecoder)
    return row.refuse("layer", "no layer for this kind");
  TS_TRY(row.integer("tp", 1, 1 << 16, layer.tensor_parallel));
  TS_TRY(row.text("context", layer.context));
  TS_TRY(row.integer("micro_batch", 1, 1 << 20, layer.micro_batch));
  TS_TRY(row.integer("sequence_length", 1, std::int64_t{1} << 30, layer.sequence_length));
  TS_TRY(row.text("recompute", layer.recompute));
  if (layer.recompute != "none" && layer.recompute != "selective" && layer.recompute != "full") {
    return row.refuse("recompute", "\"none\", \"selective\" or \"full\"");
  }
  TS_TRY(row.real("forward_s", 0, kMostSeconds, layer.forward_s, true));
  TS_TRY(row.real("backward_s", 0, kMostSeconds, layer.backward_s, true));
  TS_TRY(row.real("update_s", 0, kMostSeconds, layer.update_s));
  TS_TRY(row.real("workspace_bytes", 0, kMostBytes, layer.workspace_bytes));
  TS_TRY(row.real("activation_bytes", 0, kMostBytes, layer.activation_bytes, true));
  TS_TRY(row.real("parameter_bytes", 0, kMostBytes, layer.parameter_bytes, true));
  return layer;
}

Result<DeviceProfile> read_device(const JsonObject& device) {
  TS_TRY(device.only({"layers", "base_bytes"}));
  DeviceProfile profile;
  TS_TRY(device.real("base_bytes", 0, kMostBytes, profile.base_bytes));
  std::set<std::tuple<LayerKind, int, int, std::string, std::int64_t, std::int64_t, std::string>> seen;
  for (const JsonObject& row : TS_TRY(device.objects("layers", true))) {
    const ProfileLayer layer = TS_TRY(read_layer(row));
    if (!seen.insert({layer.kind, layer.layer, layer.tensor_parallel, layer.context, layer.micro_batch,
                      layer.sequence_length, layer.recompute})
             .second) {
      return row.refuse("kind",
                        "one row per kind, layer, tp, context, micro_batch, sequence_length, recompute",
                        "remove the second row");
    }
    profile.layers.push_back(layer);
  }
  return profile;
}

Result<LinkProfile> read_links(const JsonObject& links) {
  TS_TRY(links.only({"intra", "inter"}));
  LinkProfile profile;
  if (links.has("intra")) profile.intra = TS_TRY(read_link_curve(links, "intra"));
  if (links.has("inter")) profile.inter = TS_TRY(read_link_curve(links, "inter"));
  return profile;
}

Result<CollectiveProfile> read_collective(const JsonObject& row) {
  TS_TRY(row.only({"kind", "device", "ranks", "nodes", "curve", "points"}));
  CollectiveProfile profile;
  TS_TRY(read_kind(row, kCollectives, profile.kind));
  TS_TRY(row.text("device", profile.device, true));
  TS_TRY(row.integer("ranks", 2, 1 << 20, profile.ranks, true));
  TS_TRY(row.integer("nodes", 1, 1 << 16, profile.nodes));
  if (profile.nodes > profile.ranks) return row.refuse("nodes", "at most one node per rank");
  if (row.has("curve") == row.has("points")) return row.refuse("points", "either \"points\" or \"curve\"");
  if (row.has("curve")) {
    profile.curve = TS_TRY(read_link_curve(row, "curve"));
    return profile;
  }
  const Json wrapped{{"curve", {{"points", row.at("points")}}}};
  profile.curve =
      TS_TRY(read_link_curve(JsonObject(wrapped, row.file(), row.path(""), row.remedy()), "curve"));
  return profile;
}

}  // namespace

Result<Profile> parse_profile(const std::string& json_text, const std::string& file_name) {
  const Json json =
      TS_TRY(parse_json_object(json_text, file_name, "one JSON object of measurements", kRemedy));
  const JsonObject object(json, file_name, "", kRemedy);
  TS_TRY(object.only({"devices", "links", "collectives"}));
  Profile profile;
  const JsonObject devices = TS_TRY(object.object("devices"));
  for (const auto& [name, value] : object.at("devices").items()) {
    profile.devices[name] = TS_TRY(read_device(TS_TRY(devices.object(name.c_str()))));
  }
  if (object.has("links")) {
    const JsonObject links = TS_TRY(object.object("links"));
    for (const auto& [name, value] : object.at("links").items()) {
      profile.links[name] = TS_TRY(read_links(TS_TRY(links.object(name.c_str()))));
    }
  }
  for (const JsonObject& row : TS_TRY(object.objects("collectives"))) {
    profile.collectives.push_back(TS_TRY(read_collective(row)));
  }
  return profile;
}

Result<Profile> read_profile(const std::string& path) {
  const std::string text =
      TS_TRY(read_text_file(path, "a profile.json", "check the path given with --profile"));
  return parse_profile(text, path);
}

std::string to_profile_json(const Profile& profile) {
  using Ordered = nlohmann::ordered_json;
  Ordered devices = Ordered::object();
  for (const auto& [name, device] : profile.devices) {
    Ordered layers = Ordered::array();
    for (const ProfileLayer& layer : device.layers) {
      Ordered row{{"kind", name_of(kKinds, layer.kind)}};
      if (layer.layer >= 0) row["layer"] = layer.layer;
      row["tp"] = layer.tensor_parallel;
      if (layer.context != "1x1") row["context"] = layer.context;
      row["micro_batch"] = layer.micro_batch;
      if (layer.sequence_length > 0) row["sequence_length"] = layer.sequence_length;
      if (layer.recompute != "none") row["recompute"] = layer.recompute;
      row["forward_s"] = layer.forward_s;
      row["backward_s"] = layer.backward_s;
      row["update_s"] = layer.update_s;
      row["workspace_bytes"] = layer.workspace_bytes;
      row["activation_bytes"] = layer.activation_bytes;
      row["parameter_bytes"] = layer.parameter_bytes;
      layers.push_back(std::move(row));
    }
    devices[name] = {{"layers", layers}, {"base_bytes", device.base_bytes}};
  }
  Ordered object{{"devices", devices}};
  for (const auto& [name, links] : profile.links) {
    Ordered row = Ordered::object();
    if (!links.intra.empty()) row["intra"] = link_curve_json(links.intra);
    if (!links.inter.empty()) row["inter"] = link_curve_json(links.inter);
    object["links"][name] = row;
  }
  for (const CollectiveProfile& collective : profile.collectives) {
    object["collectives"].push_back({{"kind", name_of(kCollectives, collective.kind)},
                                     {"device", collective.device},
                                     {"ranks", collective.ranks},
                                     {"nodes", collective.nodes},
                                     {"points", link_curve_json(collective.curve)["points"]}});
  }
  return object.dump(2) + "\n";
}

}  // namespace tessera::planner
