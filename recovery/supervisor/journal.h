/// The journal: every decision of a supervisor with its reason, for programs and for people.
///
///   <state>/journal.jsonl   {"time": "2026-11-24T18:00:00.123Z", "event": "rank died", "node": "b",
///                            "action": "end", "why": "b is suspected", "job": "stopping", "step": 120}
///   journal text            18:00:00.123  stopping     rank died (b): end: b is suspected
///
/// A line is one write at the end of the file. A line that a crash cut off is left out when reading.
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/membership/membership.h"

namespace tessera::recovery {

struct JournalEntry {
  Time time{};
  std::string event;
  std::string node;  // empty: the event or action is of no single node
  std::string action;
  std::string why;
  std::string job;  // its state afterwards
  std::int64_t saved_step = -1;
  bool operator==(const JournalEntry&) const = default;
};

[[nodiscard]] std::string to_json_line(const JournalEntry& entry);
[[nodiscard]] Result<JournalEntry> parse_journal_line(const std::string& line);
/// One line for people, without its end.
[[nodiscard]] std::string to_text(const JournalEntry& entry);

[[nodiscard]] Status append_journal(const std::string& path, const JournalEntry& entry);
[[nodiscard]] Result<std::vector<JournalEntry>> read_journal(const std::string& path);

}  // namespace tessera::recovery
