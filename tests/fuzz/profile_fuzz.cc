// A profile.json of any text is refused with a message, or it is written and read back as the same profile.
#include <string>

#include "planner/spec/profile.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string name = "profile.json";
  const auto profile = planner::parse_profile(std::string(data, data + size), name);
  if (!profile.ok()) {
    fuzz::require_complaint(profile.status().message(), name);
    return 0;
  }
  const std::string written = planner::to_profile_json(profile.value());
  const auto again = planner::parse_profile(written, name);
  fuzz::require_property(again.ok(), "what is written is read", written + again.status().message());
  fuzz::require_property(again.value() == profile.value(), "the profile survives", written);
  return 0;
}
