// A manifest of any text is refused with a message, or its shards hold each parameter once and it is written
// and read back as the same. Each input is tried twice: as it is, and, where it is JSON, with the checksum
// that belongs to it, so that the fields behind the checksum are reached.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/train/checkpoint_manifest.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/sealed_json.h"

namespace {

using namespace tessera;

void check(const std::string& text) {
  const std::string name = "manifest.json";
  const auto manifest = runtime::parse_checkpoint_manifest(text, name);
  if (!manifest.ok()) {
    fuzz::require_complaint(manifest.status().message(), name);
    fuzz::require_property(manifest.status().code() == Code::kDataLoss, "a damaged checkpoint is one", text);
    return;
  }
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const runtime::CheckpointShard& shard : manifest->shards) {
    std::int64_t count = 0;
    for (const runtime::FlatRange& range : shard.ranges) {
      fuzz::require_property(range.offset >= 0 && range.count >= 0, "ranges are counts", text);
      ranges.emplace_back(range.offset, range.offset + range.count);
      count += range.count;
    }
    fuzz::require_property(shard.bytes == 12 * count, "a file holds its ranges three times", text);
    fuzz::require_property(shard.file.find('/') == std::string::npos, "a file is a name", shard.file);
  }
  std::sort(ranges.begin(), ranges.end());
  std::int64_t at = 0;
  for (const auto& [begin, end] : ranges) {
    fuzz::require_property(begin == at, "no gap, no overlap", text);
    at = end;
  }
  fuzz::require_property(at == manifest->parameters, "every parameter is held", text);
  const std::string written = runtime::to_json(manifest.value());
  const auto again = runtime::parse_checkpoint_manifest(written, name);
  fuzz::require_property(again.ok(), "what is written is read", written + again.status().message());
  fuzz::require_property(runtime::to_json(again.value()) == written, "writing is stable", written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  check(text);
  const std::string sealed = test::sealed_text<nlohmann::ordered_json>(text);
  if (!sealed.empty()) check(sealed);
  return 0;
}
