// A train.json of any text is refused with a message, or it is written and read back as the same settings.
#include <string>

#include "planner/spec/train_spec.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "train.json";
  planner::TrainSpec spec;
  const Status status = planner::apply_train_json(std::string(data, data + size), name, spec);
  if (!status.ok()) {
    fuzz::require_complaint(status.message(), name);
    return 0;
  }
  const Status consistent = planner::check_train_spec(spec);
  if (!consistent.ok()) fuzz::require_property(!consistent.message().empty(), "a refusal says why");
  const std::string written = planner::to_train_json(spec);
  planner::TrainSpec again;
  const Status read = planner::apply_train_json(written, name, again);
  fuzz::require_property(read.ok(), "what is written is read", written + read.message());
  fuzz::require_property(planner::to_train_json(again) == written, "writing is stable", written);
  return 0;
}
