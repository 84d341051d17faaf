#include "recovery/state/snapshot_manifest.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <tuple>
#include <xxhash.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "planner/spec/json_object.h"
#include "recovery/state/store_key.h"

namespace tessera::recovery {
namespace {

using planner::Json;
using planner::JsonObject;

constexpr const char* kFormat = "tessera-snapshot";
constexpr int kVersion = 1;
constexpr std::string_view kManifestEnd = ".manifest.json";
constexpr std::string_view kPackEnd = ".pack";
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMostFloats = std::int64_t{1} << 44;  // of the model; 12 bytes each stay in 64 bits
constexpr const char* kExpected = "the JSON object of a snapshot manifest";
constexpr const char* kRemedy = "none needed: restoring takes these atoms from another place";

std::string hexadecimal(std::uint64_t number) { return fmt::format("{:016x}", number); }

std::uint64_t xxh64(std::string_view text) { return XXH64(text.data(), text.size(), 0); }

Json atom_to_json(const StoredAtom& atom) {
  return {{"layer", atom.atom.layer},
          {"slice", atom.atom.slice},
          {"component", component_name(atom.atom.component)},
          {"object", atom.object},
          {"offset", atom.offset},
          {"bytes", atom.bytes},
          {"xxh64", hexadecimal(atom.xxh64)}};
}

Result<std::uint64_t> read_checksum(const JsonObject& object) {
  std::string text;
  TS_TRY(object.text("xxh64", text, true));
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (error != std::errc() || end != text.data() + text.size() || hexadecimal(number) != text) {
    return object.refuse("xxh64", "16 hexadecimal digits");
  }
  return number;
}

Status read_key_part(const JsonObject& object, const char* name, std::string& value) {
  TS_TRY(object.text(name, value, true));
  if (is_key_part(value)) return {};
  return object.refuse(name, "a part of a key: up to 255 letters, digits, '.', '_' and '-'");
}

Status read_meta(const JsonObject& object, StateMeta& meta) {
  TS_TRY(object.integer("step", 0, kLargest, meta.step, true));
  TS_TRY(object.integer("attempt", 0, kLargest, meta.attempt, true));
  TS_TRY(object.integer("next_sample", 0, kLargest, meta.next_sample, true));
  if (!object.has("seed") || !object.at("seed").is_number_unsigned()) {
    return object.refuse("seed", "an integer from 0");
  }
  meta.seed = object.at("seed").get<std::uint64_t>();
  const JsonObject model = TS_TRY(object.object("model"));
  meta.model = TS_TRY(planner::parse_model_spec(object.at("model").dump(), object.file()));
  const char* const pairs = "a list of pairs of texts";
  if (!object.has("run") || !object.at("run").is_array()) return object.refuse("run", pairs);
  for (const Json& pair : object.at("run")) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return object.refuse("run", pairs);
    }
    meta.identity.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
  }
  return {};
}

Status read_table(const JsonObject& object, const planner::ModelSpec& model, AtomTable& table) {
  table.layers = model.layers + 2;
  table.slices = atom_slices(model.kv_heads);
  table.floats = TS_TRY(object.integers("floats", 0, kMostFloats));
  const auto blocks = static_cast<std::size_t>(table.layers) * static_cast<std::size_t>(table.slices);
  if (table.floats.size() != blocks) {
    return object.refuse(
        "floats", fmt::format("{} numbers: {} layers of {} slices", blocks, table.layers, table.slices));
  }
  std::int64_t total = 0;
  for (const std::int64_t floats : table.floats) {
    total += floats;
    if (total > kMostFloats) return object.refuse("floats", fmt::format("at most {} in total", kMostFloats));
  }
  return {};
}

Result<StoredAtom> read_atom(const JsonObject& object, const SnapshotManifest& manifest) {
  TS_TRY(object.only({"layer", "slice", "component", "object", "offset", "bytes", "xxh64"}));
  StoredAtom stored;
  TS_TRY(object.integer("layer", 0, manifest.table.layers - 1, stored.atom.layer, true));
  TS_TRY(object.integer("slice", 0, manifest.table.slices - 1, stored.atom.slice, true));
  std::string component;
  TS_TRY(object.text("component", component, true));
  bool known = false;
  for (int i = 0; i < kComponents; ++i) {
    const auto candidate = static_cast<Component>(i);
    if (component != component_name(candidate)) continue;
    stored.atom.component = candidate;
    known = true;
  }
  if (!known) return object.refuse("component", "weight, first_moment or second_moment");
  TS_TRY(read_key_part(object, "object", stored.object));
  if (!stored.object.starts_with(manifest.writer + "-") || !stored.object.ends_with(kPackEnd)) {
    return object.refuse("object", fmt::format("a pack of the writer: {}-0.pack", manifest.writer));
  }
  TS_TRY(object.integer("offset", 0, kLargest / 2, stored.offset, true));
  const std::int64_t bytes = manifest.table.bytes(manifest.table.index(stored.atom));
  TS_TRY(object.integer("bytes", bytes, bytes, stored.bytes, true));
  stored.xxh64 = TS_TRY(read_checksum(object));
  return stored;
}

Status check_disjoint(const JsonObject& object, const std::vector<StoredAtom>& atoms) {
  std::vector<const StoredAtom*> by_place;
  for (const StoredAtom& atom : atoms) {
    if (atom.bytes > 0) by_place.push_back(&atom);
  }
  std::sort(by_place.begin(), by_place.end(), [](const StoredAtom* a, const StoredAtom* b) {
    return std::tie(a->object, a->offset) < std::tie(b->object, b->offset);
  });
  for (std::size_t i = 1; i < by_place.size(); ++i) {
    const StoredAtom& before = *by_place[i - 1];
    const StoredAtom& after = *by_place[i];
    if (before.object != after.object || before.offset + before.bytes <= after.offset) continue;
    return bad_input({object.file(), object.path("atoms"),
                      fmt::format("{} and {} over each other in {}", to_string(before.atom),
                                  to_string(after.atom), after.object),
                      "a place of its own for each", object.remedy()});
  }
  return {};
}

Status fill(const JsonObject& object, SnapshotManifest& manifest) {
  TS_TRY(object.only({"format", "version", "job", "writer", "node", "step", "attempt", "next_sample", "seed",
                      "model", "run", "floats", "atoms", "xxh64"}));
  TS_TRY(read_key_part(object, "job", manifest.job));
  TS_TRY(read_key_part(object, "writer", manifest.writer));
  TS_TRY(read_key_part(object, "node", manifest.node));
  TS_TRY(read_meta(object, manifest.meta));
  TS_TRY(read_table(object, manifest.meta.model, manifest.table));
  for (const JsonObject& element : TS_TRY(object.objects("atoms", true))) {
    StoredAtom atom = TS_TRY(read_atom(element, manifest));
    if (!manifest.atoms.empty() && !(manifest.atoms.back().atom < atom.atom)) {
      return element.refuse("layer", fmt::format("an atom after {}", to_string(manifest.atoms.back().atom)));
    }
    manifest.atoms.push_back(std::move(atom));
  }
  return check_disjoint(object, manifest.atoms);
}

Result<SnapshotManifest> parse(const std::string& text, const std::string& name) {
  Json json = TS_TRY(planner::parse_json_object(text, name, kExpected, kRemedy));
  const JsonObject object(json, name, "", kRemedy);
  std::string format;
  int version = 0;
  TS_TRY(object.text("format", format, true));
  if (format != kFormat) return object.refuse("format", fmt::format("\"{}\"", kFormat));
  TS_TRY(object.integer("version", kVersion, kVersion, version, true));
  const std::uint64_t seal = TS_TRY(read_checksum(object));
  SnapshotManifest manifest;
  TS_TRY(fill(object, manifest));
  json.erase("xxh64");
  if (const std::uint64_t found = xxh64(json.dump()); found != seal) {
    return bad_input(
        {name, "xxh64", "contents of XXH64 " + hexadecimal(found), "XXH64 " + hexadecimal(seal), kRemedy});
  }
  if (to_json(manifest) != text) {
    return bad_input({name, "", "the same values in other bytes", "the bytes that were written", kRemedy});
  }
  return manifest;
}

void append_little_endian(std::vector<std::byte>& bytes, std::uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<std::byte>(number >> shift));
}

}  // namespace

std::string to_string(const SnapshotId& id) {
  return fmt::format("step {} of attempt {}", id.step, id.attempt);
}

std::string to_json(const SnapshotManifest& manifest) {
  const StateMeta& meta = manifest.meta;
  Json run = Json::array();
  for (const auto& [name, value] : meta.identity) run.push_back(Json::array({name, value}));
  Json atoms = Json::array();
  for (const StoredAtom& atom : manifest.atoms) atoms.push_back(atom_to_json(atom));
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"job", manifest.job},
               {"writer", manifest.writer},
               {"node", manifest.node},
               {"step", meta.step},
               {"attempt", meta.attempt},
               {"next_sample", meta.next_sample},
               {"seed", meta.seed},
               {"model", Json::parse(planner::to_config_json(meta.model))},
               {"run", run},
               {"floats", manifest.table.floats},
               {"atoms", atoms}};
  json["xxh64"] = hexadecimal(xxh64(json.dump()));
  return json.dump();
}

Result<SnapshotManifest> parse_snapshot_manifest(std::string_view text, const std::string& name) {
  Result<SnapshotManifest> manifest = parse(std::string(text), name);
  if (!manifest.ok()) return Status(Code::kDataLoss, manifest.status().message());
  return manifest;
}

std::string step_folder(const std::string& job, std::int64_t step) {
  return fmt::format("{}/step-{:08}/", job, step);
}

Result<std::int64_t> step_of_key(const std::string& job, std::string_view key) {
  const std::string before = job + "/step-";
  std::int64_t step = -1;
  if (key.starts_with(before)) {
    const std::string_view rest = key.substr(before.size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), step);
    if (error == std::errc() && step >= 0 && key.starts_with(step_folder(job, step))) return step;
  }
  return Status(Code::kNotFound, fmt::format("key {} is in no step's folder of job {}", key, job));
}

std::string manifest_key(const std::string& job, std::int64_t step, const std::string& writer) {
  return fmt::format("{}{}{}", step_folder(job, step), writer, kManifestEnd);
}

bool is_manifest_key(std::string_view key) { return key.ends_with(kManifestEnd); }

std::uint64_t checksum(std::span<const std::byte> bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

std::uint64_t state_hash(const StateMeta& meta, std::span<const std::uint64_t> atom_checksums) {
  std::vector<std::byte> bytes;
  bytes.reserve(8 * (2 + atom_checksums.size()));
  append_little_endian(bytes, static_cast<std::uint64_t>(meta.step));
  append_little_endian(bytes, static_cast<std::uint64_t>(meta.next_sample));
  for (const std::uint64_t sum : atom_checksums) append_little_endian(bytes, sum);
  return checksum(bytes);
}

}  // namespace tessera::recovery
