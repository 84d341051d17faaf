/// Whether nodes answer: a command for each question, "ssh -o ConnectTimeout=5 NODE true", that exits with 0
/// when the node lives. No command: every node that is asked about does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "recovery/supervisor/processes.h"

namespace tessera::recovery {

class Probe {
 public:
  /// `command`: {} stands for the node's name.
  Probe(std::vector<std::string> command, double timeout_s)
      : command_(std::move(command)), timeout_s_(timeout_s) {}

  /// Unless the node is being asked.
  void ask(const std::string& node, double now);
  /// What an earlier question finds out no longer counts: something has happened since it was asked.
  void ask_anew(const std::string& node, double now);
  /// Answers since the last call: node, whether it lives. Never blocks.
  [[nodiscard]] std::vector<std::pair<std::string, bool>> poll(double now);
  [[nodiscard]] bool has_command() const { return !command_.empty(); }

 private:
  std::vector<std::string> command_;
  double timeout_s_;
  std::map<std::string, std::optional<Child>> asked_;
};

/// The words of a command line, split at blanks; {} becomes `node`.
[[nodiscard]] std::vector<std::string> command_for(const std::vector<std::string>& command,
                                                   const std::string& node);
[[nodiscard]] std::vector<std::string> split_words(const std::string& text);

}  // namespace tessera::recovery
