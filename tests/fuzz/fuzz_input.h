/// What the harnesses share: the entry point that libFuzzer and replay_main.cc call, and a check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tessera::fuzz {

/// Ends the process, so that the fuzzer keeps the input, when a property of the parser fails.
inline void require_property(bool holds, const char* property, const std::string& detail = "") {
  if (holds) return;
  std::fprintf(stderr, "property failed: %s\n%s\n", property, detail.c_str());
  std::abort();
}

/// A refused input must say which file it is about.
inline void require_complaint(const std::string& message, const std::string& file_name) {
  require_property(message.find(file_name) != std::string::npos, "an error names its file", message);
}

}  // namespace tessera::fuzz
