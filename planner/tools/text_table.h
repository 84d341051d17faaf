/// A table for a terminal: columns as wide as their widest cell, two spaces apart.
#pragma once

#include <string>
#include <vector>

namespace tessera::planner::tools {

class TextTable {
 public:
  /// A heading starting with '<' is left-aligned and shown without it; others are right-aligned.
  explicit TextTable(const std::vector<std::string>& headings);
  /// As many cells as headings.
  void row(std::vector<std::string> cells);
  /// Lines with a final newline, each indented by two spaces.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string html() const;

 private:
  std::vector<bool> left_;
  std::vector<std::vector<std::string>> rows_;  // the headings first
};

}  // namespace tessera::planner::tools
