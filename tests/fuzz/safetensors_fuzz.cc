// A safetensors file of any bytes is refused with a message, or its tensors tile the data exactly.
#include <span>
#include <string>

#include "runtime/model/safetensors.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "model.safetensors";
  const auto header = runtime::parse_safetensors(std::as_bytes(std::span(data, size)), name);
  if (!header.ok()) {
    fuzz::require_complaint(header.status().message(), name);
    return 0;
  }
  std::int64_t covered = 0;
  for (const runtime::TensorEntry& tensor : header->tensors) {
    fuzz::require_property(tensor.begin == covered && tensor.end >= tensor.begin, "no gap, no overlap",
                           tensor.name);
    covered = tensor.end;
    for (const std::int64_t dim : tensor.shape) {
      fuzz::require_property(dim >= 0, "dims are counts", tensor.name);
    }
  }
  fuzz::require_property(header->data_offset + covered == static_cast<std::int64_t>(size),
                         "the tensors cover the data");
  return 0;
}
