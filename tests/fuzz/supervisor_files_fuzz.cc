// Any text is refused, or read as a value that is written and read back as the same: the supervisor's state,
// its journal, heartbeats, and what a cloud says about a preemption. The first byte chooses.
#include <string>

#include "recovery/supervisor/heartbeat.h"
#include "recovery/supervisor/journal.h"
#include "recovery/supervisor/launch_command.h"
#include "recovery/supervisor/notice_source.h"
#include "recovery/supervisor/state_file.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

template <class Parse, class Write>
void read_write_read(const std::string& text, Parse parse, Write write) {
  const auto value = parse(text);
  if (!value.ok()) {
    tessera::fuzz::require_property(!value.status().message().empty(), "a refusal says why");
    return;
  }
  const std::string written = write(value.value());
  const auto again = parse(written);
  tessera::fuzz::require_property(again.ok(), "what is written is read", written);
  // Compared as text: a damaged file may hold numbers that equal nothing.
  tessera::fuzz::require_property(write(again.value()) == written, "writing is stable", written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera::recovery;
  if (size == 0) return 0;
  const std::string text(data + 1, data + size);
  switch (data[0] % 5) {
    case 0:
      read_write_read(
          text, [](const std::string& t) { return parse_supervisor_state(t, "state"); },
          [](const SupervisorState& state) { return to_json(state); });
      break;
    case 1:
      read_write_read(text, parse_journal_line,
                      [](const JournalEntry& entry) { return to_json_line(entry); });
      break;
    case 2:
      read_write_read(
          text, [](const std::string& t) { return parse_heartbeat(t, "heartbeat"); },
          [](const Heartbeat& beat) { return to_json(beat); });
      break;
    case 3:
      static_cast<void>(parse_aws_action(text));
      static_cast<void>(parse_gcp_preempted(text, Time{0}));
      break;
    default:
      tessera::fuzz::require_property(
          first_dead_process(text) >= 0 || text.find("PID -") != std::string::npos, "a process id");
      static_cast<void>(parse_host_names(text));
  }
  return 0;
}
