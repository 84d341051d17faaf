#include "planner/tools/text_table.h"

#include <algorithm>

#include "algos/base/require.h"
#include "planner/tools/svg.h"

namespace tessera::planner::tools {
namespace {

/// Code points of UTF-8 text: all bytes that do not continue one.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

TextTable::TextTable(const std::vector<std::string>& headings) {
  std::vector<std::string> shown;
  for (const std::string& heading : headings) {
    left_.push_back(heading.starts_with('<'));
    shown.push_back(left_.back() ? heading.substr(1) : heading);
  }
  rows_.push_back(std::move(shown));
}

void TextTable::row(std::vector<std::string> cells) {
  TS_REQUIRE(cells.size() == left_.size(), cells.size(), left_.size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(left_.size());
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string gap(widths[c] - width_of(row[c]), ' ');
      line += "  " + (left_[c] ? row[c] + gap : gap + row[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string TextTable::html() const {
  std::string out = "<div class=\"scroll\"><table>\n";
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    const std::string tag = r == 0 ? "th" : "td";
    out += "<tr>";
    for (std::size_t c = 0; c < rows_[r].size(); ++c) {
      out += "<" + tag + (left_[c] ? " class=\"left\">" : ">") + escaped(rows_[r][c]) + "</" + tag + ">";
    }
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

}  // namespace tessera::planner::tools
