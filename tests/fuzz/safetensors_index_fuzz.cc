// An index of any text is refused with a message, or it names plain files and is written and read back as the
// same.
#include <string>

#include "runtime/model/safetensors_index.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "model.safetensors.index.json";
  const std::string text(data, data + size);
  const auto index = runtime::parse_safetensors_index(text, name);
  if (!index.ok()) {
    fuzz::require_complaint(index.status().message(), name);
    return 0;
  }
  for (const auto& [tensor, file] : index->file_of) {
    fuzz::require_property(!file.empty() && file.find('/') == std::string::npos && file != "..",
                           "a file is a name beside the index", file);
  }
  fuzz::require_property(index->total_size >= 0, "a size is a count", text);
  const auto again = runtime::parse_safetensors_index(runtime::to_json(index.value()), name);
  fuzz::require_property(again.ok(), "what is written is read", text + again.status().message());
  fuzz::require_property(again->file_of == index->file_of && again->total_size == index->total_size,
                         "and is the same", text);
  return 0;
}
