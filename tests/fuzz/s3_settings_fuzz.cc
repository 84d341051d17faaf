// A credentials file of any text is read or refused by line, and a refusal never says what the line holds.
#include <string>

#include "recovery/store/s3_settings.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string secret = "wJalrXUtnFEMI";
  std::string text(data, data + size);
  const auto sections = recovery::parse_ini(text, "credentials");
  if (!sections.ok()) {
    fuzz::require_complaint(sections.status().message(), "credentials:");
    fuzz::require_property(sections.status().code() == Code::kInvalidArgument, "a bad line is the user's",
                           text);
  } else {
    for (const auto& [section, values] : sections.value()) {
      for (const auto& [name, value] : values) {
        fuzz::require_property(!name.empty(), "every value has a name", text);
        fuzz::require_property(value.find('\n') == std::string::npos, "a value is on one line", value);
      }
    }
  }
  const auto spoilt = recovery::parse_ini(text + secret, "credentials");
  fuzz::require_property(spoilt.ok() || spoilt.status().message().find(secret) == std::string::npos,
                         "a refusal keeps secrets", text);
  return 0;
}
