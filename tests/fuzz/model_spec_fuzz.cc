// A config.json of any text is refused with a message, or it is written and read back as the same model.
#include <cmath>
#include <string>

#include "planner/spec/model_spec.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "config.json";
  const auto spec = planner::parse_model_spec(std::string(data, data + size), name);
  if (!spec.ok()) {
    fuzz::require_complaint(spec.status().message(), name);
    return 0;
  }
  const std::string written = planner::to_config_json(spec.value());
  const auto again = planner::parse_model_spec(written, name);
  fuzz::require_property(again.ok(), "what is written is read", written + again.status().message());
  fuzz::require_property(planner::to_config_json(again.value()) == written, "writing is stable", written);
  fuzz::require_property(spec->parameters() > 0, "a model has parameters", written);
  for (const double frequency : planner::rope_inverse_frequencies(spec.value())) {
    fuzz::require_property(std::isfinite(frequency) && frequency >= 0, "frequencies are finite", written);
  }
  return 0;
}
