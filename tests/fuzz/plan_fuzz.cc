// A plan.json of any text is refused with a message, or it is legal, written and read back as the same plan.
#include <string>

#include "planner/plan/check_structure.h"
#include "planner/plan/communicators.h"
#include "planner/plan/plan.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "plan.json";
  const auto plan = planner::parse_plan(std::string(data, data + size), name);
  if (!plan.ok()) {
    fuzz::require_complaint(plan.status().message(), name);
    return 0;
  }
  fuzz::require_property(planner::check_structure(plan.value(), name).ok(), "what is read is legal");
  const std::string written = planner::to_plan_json(plan.value());
  const auto again = planner::parse_plan(written, name);
  fuzz::require_property(again.ok(), "what is written is read", written + again.status().message());
  fuzz::require_property(again.value() == plan.value(), "the plan survives", written);
  fuzz::require_property(static_cast<int>(planner::rank_places(plan.value()).size()) == plan->ranks(),
                         "every rank has a place", written);
  fuzz::require_property(!planner::derive_segments(plan.value()).empty(), "layers have segments", written);
  return 0;
}
