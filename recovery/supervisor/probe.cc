#include "recovery/supervisor/probe.h"

#include <iterator>
#include <sstream>

namespace tessera::recovery {

void Probe::ask(const std::string& node, double now) {
  if (asked_.contains(node)) return;
  std::optional<Child>& child = asked_[node];
  if (command_.empty()) return;
  Launch request;
  request.argv = command_for(command_, node);
  const Result<pid_t> pid = launch(request);
  if (pid.ok()) {
    child.emplace(pid.value(), now + timeout_s_);
  } else {
    asked_.erase(node);
  }
}

void Probe::ask_anew(const std::string& node, double now) {
  const auto at = asked_.find(node);
  if (at != asked_.end()) {
    if (at->second) at->second->end();
    asked_.erase(at);
  }
  ask(node, now);
}

std::vector<std::pair<std::string, bool>> Probe::poll(double now) {
  std::vector<std::pair<std::string, bool>> answers;
  for (auto at = asked_.begin(); at != asked_.end();) {
    const std::optional<int> code = at->second ? at->second->poll(now) : std::optional(0);
    if (code) answers.emplace_back(at->first, *code == 0);
    at = code ? asked_.erase(at) : std::next(at);
  }
  return answers;
}

std::vector<std::string> command_for(const std::vector<std::string>& command, const std::string& node) {
  std::vector<std::string> words = command;
  for (std::string& word : words) {
    for (std::size_t at = word.find("{}"); at != std::string::npos; at = word.find("{}", at + node.size())) {
      word.replace(at, 2, node);
    }
  }
  return words;
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace tessera::recovery
