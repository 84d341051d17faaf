// A snapshot manifest of any text is refused with a message, or is the very text that its values are written
// as, and holds what the header promises. Each input is tried twice: as it is, and, where it is JSON, with
// the checksum that belongs to it, so that the fields behind the checksum are reached.
#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <nlohmann/json.hpp>

#include "recovery/state/snapshot_manifest.h"
#include "recovery/state/store_key.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/sealed_json.h"

namespace {

using namespace tessera;

void check(const std::string& text) {
  const std::string name = "store: key";
  const auto manifest = recovery::parse_snapshot_manifest(text, name);
  if (!manifest.ok()) {
    fuzz::require_complaint(manifest.status().message(), name);
    fuzz::require_property(manifest.status().code() == Code::kDataLoss, "a damaged manifest is one", text);
    return;
  }
  fuzz::require_property(recovery::to_json(manifest.value()) == text, "every byte counts", text);
  const recovery::AtomTable& table = manifest->table;
  fuzz::require_property(table.layers == manifest->meta.model.layers + 2, "the table is the model's", text);
  fuzz::require_property(static_cast<int>(table.floats.size()) == table.layers * table.slices,
                         "no block is missing", text);
  fuzz::require_property(recovery::is_key_part(manifest->job) && recovery::is_key_part(manifest->writer),
                         "names are keys", text);
  std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> places;
  int last = -1;
  for (const recovery::StoredAtom& atom : manifest->atoms) {
    const int index = table.index(atom.atom);
    fuzz::require_property(index > last, "atoms rise", text);
    last = index;
    fuzz::require_property(atom.bytes == table.bytes(index), "atoms have the table's sizes", text);
    fuzz::require_property(recovery::is_key_part(atom.object) && !recovery::is_manifest_key(atom.object),
                           "atoms are in packs", text);
    if (atom.bytes > 0) places.emplace_back(atom.object, atom.offset, atom.bytes);
  }
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) {
    const auto& [object, offset, bytes] = places[i - 1];
    fuzz::require_property(
        offset >= 0 && (object != std::get<0>(places[i]) || offset + bytes <= std::get<1>(places[i])),
        "atoms do not overlap", text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  check(text);
  const std::string sealed = test::sealed_text<nlohmann::json>(text);
  if (!sealed.empty()) check(sealed);
  return 0;
}
