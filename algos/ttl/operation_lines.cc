#include "algos/ttl/operation_lines.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace tessera::ttl {
namespace {

struct Form {
  std::string_view word;
  OperationLine::Kind kind;
  std::size_t accounts;
  bool amount;
};

constexpr std::array kForms = {
    Form{"credit", OperationLine::Kind::kCredit, 1, true},
    Form{"spend", OperationLine::Kind::kSpend, 1, true},
    Form{"transfer", OperationLine::Kind::kTransfer, 2, true},
    Form{"balance", OperationLine::Kind::kBalance, 1, false},
    Form{"resume", OperationLine::Kind::kResume, 0, false},
};

constexpr std::size_t kShown = 40;  // of a wrong word

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    const std::size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

template <class Number>
bool read_number(std::string_view word, Number& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && value >= 0;
}

/// The word as a terminal can show it.
std::string shown(std::string_view word) {
  std::string out = "\"";
  for (const char c : word.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return out + (word.size() > kShown ? "...\"" : "\"");
}

Result<OperationLine> parse_words(std::span<const std::string_view> words, const std::string& file,
                                  std::size_t line) {
  const auto refuse = [&](const std::string& found, const std::string& expected) {
    return bad_input({file, fmt::format("line {}", line), found, expected,
                      "write <now> credit|spend <account> <amount>, <now> transfer <from> <to> <amount>, "
                      "<now> balance <account>, or <now> resume"});
  };
  OperationLine operation{};
  operation.line = line;
  if (!read_number(words[0], operation.now)) return refuse(shown(words[0]), "a time from 0 to 2^63 - 1");
  if (words.size() < 2) return refuse("a time alone", "an operation after it");
  const auto* const form =
      std::find_if(kForms.begin(), kForms.end(), [&](const Form& f) { return f.word == words[1]; });
  if (form == kForms.end()) return refuse(shown(words[1]), "credit, spend, transfer, balance or resume");
  const std::size_t expected = 2 + form->accounts + (form->amount ? 1 : 0);
  if (words.size() != expected) {
    return refuse(fmt::format("{} words", words.size()), fmt::format("{} for {}", expected, form->word));
  }
  operation.kind = form->kind;
  if (form->accounts > 0) operation.account = words[2];
  if (form->accounts > 1) operation.to = words[3];
  if (form->amount && !read_number(words.back(), operation.amount)) {
    return refuse(shown(words.back()), "a whole amount from 0 to 2^64 - 1");
  }
  return operation;
}

}  // namespace

Result<std::vector<OperationLine>> parse_operation_lines(std::string_view text, const std::string& file) {
  std::vector<OperationLine> operations;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string_view> words = words_of(text.substr(0, end));
    if (!words.empty() && words[0][0] != '#') operations.push_back(TS_TRY(parse_words(words, file, line)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return operations;
}

std::string to_line(const OperationLine& operation) {
  const auto* const form =
      std::find_if(kForms.begin(), kForms.end(), [&](const Form& f) { return f.kind == operation.kind; });
  std::string out = fmt::format("{} {}", operation.now, form->word);
  if (form->accounts > 0) out += " " + operation.account;
  if (form->accounts > 1) out += " " + operation.to;
  if (form->amount) out += fmt::format(" {}", operation.amount);
  return out;
}

}  // namespace tessera::ttl
