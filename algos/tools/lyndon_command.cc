#include "algos/tools/lyndon_command.h"

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "algos/strings/bwt.h"
#include "algos/strings/lyndon_factors.h"
#include "algos/tools/bytes_input.h"

namespace tessera::tools {
namespace {

constexpr std::size_t kBytesShown = 60;  // of one factor, in readable output

struct Options {
  BytesInput input;
  strings::Method method = strings::Method::kAuto;
  std::size_t limit = 20;
  bool json = false;
};

void print_readable(const Options& options, const std::vector<std::uint8_t>& text,
                    const std::vector<std::uint32_t>& lyndon,
                    const std::vector<std::pair<std::size_t, std::size_t>>& factors, std::size_t rotation,
                    std::size_t period) {
  const auto shown = [&](std::size_t count) {
    return options.limit == 0 || count <= options.limit ? count : options.limit;
  };
  fmt::print("bytes          {}\nleast rotation {}\ncyclic period  {}\nfactors        {}\n", text.size(),
             rotation, period, factors.size());
  if (!factors.empty()) fmt::print("{:>12} {:>12}  text\n", "start", "length");
  for (std::size_t i = 0; i < shown(factors.size()); ++i) {
    const auto [start, length] = factors[i];
    fmt::print("{:>12} {:>12}  {}\n", start, length, escaped(text.data() + start, length, kBytesShown));
  }
  if (shown(factors.size()) < factors.size()) fmt::print("{:>12}\n", "...");
  fmt::print("Lyndon array   {}{}\n", fmt::join(std::span(lyndon).first(shown(lyndon.size())), " "),
             shown(lyndon.size()) < lyndon.size() ? " ..." : "");
}

Status run(const Options& options) {
  const std::vector<std::uint8_t> text = TS_TRY(read_input(options.input));
  if (text.size() > std::numeric_limits<std::uint32_t>::max()) {
    return bad_input({options.input.file, "", fmt::format("{} bytes", text.size()), "at most 4294967295",
                      "cut the text in blocks"});
  }
  const std::span<const std::uint8_t> view(text);
  std::vector<std::pair<std::size_t, std::size_t>> factors;
  strings::for_each_lyndon_factor(
      view, [&](std::size_t start, std::size_t length) { factors.emplace_back(start, length); });
  const std::size_t rotation = strings::least_rotation(view);
  const std::size_t period = strings::cyclic_period(view);
  std::vector<std::uint8_t> scratch = text;
  std::vector<std::uint32_t> lyndon(text.size());
  strings::Method method = options.method;
  if (method == strings::Method::kAuto) method = strings::chosen_method(text.size(), true);
  (void)TS_TRY(strings::bwt_lyndon(scratch, lyndon, method));
  if (!options.json) {
    print_readable(options, text, lyndon, factors, rotation, period);
    return {};
  }
  nlohmann::ordered_json answer;
  answer["bytes"] = text.size();
  answer["method"] = method_name(method);
  answer["least_rotation"] = rotation;
  answer["cyclic_period"] = period;
  answer["factors"] = nlohmann::json::array();
  for (const auto& [start, length] : factors) {
    answer["factors"].push_back({{"start", start}, {"length", length}});
  }
  answer["lyndon_array"] = lyndon;
  fmt::print("{}\n", answer.dump());
  return {};
}

}  // namespace

Command add_lyndon_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("lyndon", "Lyndon array and factors, least rotation and cyclic period of bytes");
  auto options = std::make_shared<Options>();
  declare_input(*app, options->input);
  declare_method(*app, options->method);
  app->add_option("--limit", options->limit, "factors and array entries in readable output; 0 = all")
      ->capture_default_str();
  app->add_flag("--json", options->json, "print one JSON object, complete whatever --limit says");
  app->footer(
      "Entry i of the array is the length of the longest Lyndon word that starts at byte i. Two rings are "
      "equal\n"
      "when their texts, turned to their least rotations, are.\n\n"
      "  tessera-algos lyndon --text banana\n"
      "  printf 'FBFBFB' | tessera-algos lyndon --json");
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::tools
