#include "algos/knapsack/items_text.h"

#include <charconv>
#include <cmath>
#include <string>
#include <type_traits>

namespace tessera::knapsack {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::size_t kQuoted = 60;  // bytes of a wrong line in a message

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

/// Printable, and short enough for one line.
std::string quoted(std::string_view text) {
  std::string out(text.substr(0, kQuoted));
  for (char& c : out) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text.size() > kQuoted ? out + "..." : out;
}

template <class Number>
constexpr const char* kind() {
  return std::is_integral_v<Number> ? "integers within 64 bits" : "finite decimal numbers";
}

/// False unless all of `text` is one number.
template <class Number>
bool read_number(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return false;
  if constexpr (std::is_floating_point_v<Number>) return std::isfinite(number);
  return true;
}

template <class Record>
Result<std::vector<Record>> parse(std::string_view text, std::string_view name) {
  using Number = decltype(Record::profit);
  std::vector<Record> items;
  std::size_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++line_number;
    if (line.empty() || line[0] == '#' || (line_number == 1 && line == "profit,weight")) continue;
    const std::size_t comma = line.find(',');
    Record item;
    if (comma == std::string_view::npos || !read_number(trimmed(line.substr(0, comma)), item.profit) ||
        !read_number(trimmed(line.substr(comma + 1)), item.weight)) {
      return bad_input({std::string(name), "line " + std::to_string(line_number), quoted(line),
                        std::string("profit,weight: two ") + kind<Number>(), "correct the line"});
    }
    items.push_back(item);
  }
  return items;
}

template <class Number>
Result<Number> parse_number(std::string_view text, std::string_view name) {
  Number number = 0;
  if (read_number(text, number)) return number;
  return bad_input(
      {std::string(name), "", quoted(text), std::string("one of the ") + kind<Number>(), "give one number"});
}

}  // namespace

Result<std::vector<Item>> parse_items(std::string_view text, std::string_view name) {
  return parse<Item>(text, name);
}

Result<std::vector<RealItem>> parse_real_items(std::string_view text, std::string_view name) {
  return parse<RealItem>(text, name);
}

Result<std::int64_t> parse_integer(std::string_view text, std::string_view name) {
  return parse_number<std::int64_t>(text, name);
}

Result<double> parse_real(std::string_view text, std::string_view name) {
  return parse_number<double>(text, name);
}

}  // namespace tessera::knapsack
