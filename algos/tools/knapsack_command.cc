#include "algos/tools/knapsack_command.h"

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "algos/knapsack/items_text.h"
#include "algos/knapsack/knapsack.h"
#include "algos/knapsack/xdp.h"
#include "algos/tools/bytes_input.h"

namespace tessera::tools {
namespace {

struct Options {
  BytesInput input;
  std::string capacity;
  knapsack::Limits limits;
  std::size_t shown = 20;
  bool json = false;
};

void declare(CLI::App& app, Options& options) {
  declare_input(app, options.input);
  app.add_option("--capacity", options.capacity, "what the chosen weights may sum to")
      ->required()
      ->type_name("NUMBER");
  app.add_option("--limit", options.shown, "chosen items in readable output; 0 = all")->capture_default_str();
  app.add_flag("--json", options.json, "print one JSON object, complete whatever --limit says");
}

/// Number: std::int64_t or double. cpu_seconds: of the solver alone.
template <class Number, class Answer>
void print(const Options& options, std::size_t items, Number capacity, const Answer& answer,
           double cpu_seconds) {
  const Number gap = answer.upper_bound - answer.profit;
  const double relative =
      answer.upper_bound == 0 ? 0 : static_cast<double>(gap) / static_cast<double>(answer.upper_bound);
  if (options.json) {
    nlohmann::ordered_json json;
    json["items"] = items;
    json["capacity"] = capacity;
    json["profit"] = answer.profit;
    json["weight"] = answer.weight;
    json["upper_bound"] = answer.upper_bound;
    json["proven"] = gap == 0;
    json["largest_relative_error"] = relative;
    json["cpu_seconds"] = cpu_seconds;
    json["chosen"] = answer.items;
    fmt::print("{}\n", json.dump());
    return;
  }
  const std::size_t shown =
      options.shown == 0 ? answer.items.size() : std::min(options.shown, answer.items.size());
  fmt::print(
      "items          {}\ncapacity       {}\nprofit         {}\nweight         {}\nupper bound    {} ({})\n",
      items, capacity, answer.profit, answer.weight, answer.upper_bound,
      gap == 0 ? "the optimum" : fmt::format("at most {:.2g} better", relative));
  fmt::print("chosen         {}: {}{}\n", answer.items.size(),
             fmt::join(std::span(answer.items).first(shown), " "), shown < answer.items.size() ? " ..." : "");
}

double cpu_seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

Result<std::string> read_text(const Options& options) {
  const std::vector<std::uint8_t> bytes = TS_TRY(read_input(options.input));
  return std::string(bytes.begin(), bytes.end());
}

std::string input_name(const Options& options) {
  if (options.input.text) return "--text";
  return options.input.file == "-" ? "standard input" : options.input.file;
}

Status run_solve(const Options& options) {
  const std::int64_t capacity = TS_TRY(knapsack::parse_integer(options.capacity, "--capacity"));
  const std::string text = TS_TRY(read_text(options));
  const std::vector<knapsack::Item> items = TS_TRY(knapsack::parse_items(text, input_name(options)));
  const std::clock_t start = std::clock();
  const knapsack::Selection selection = TS_TRY(knapsack::solve(items, capacity, options.limits));
  print(options, items.size(), capacity, selection, cpu_seconds_since(start));
  return {};
}

Status run_xdp(const Options& options) {
  const std::string text = TS_TRY(read_text(options));
  // Integers are exact; one decimal anywhere makes all of them doubles.
  const auto items = knapsack::parse_items(text, input_name(options));
  const auto capacity = knapsack::parse_integer(options.capacity, "--capacity");
  if (items.ok() && capacity.ok()) {
    const std::clock_t start = std::clock();
    const knapsack::Selection selection = TS_TRY(knapsack::xdp(items.value(), capacity.value()));
    print(options, items->size(), capacity.value(), selection, cpu_seconds_since(start));
    return {};
  }
  const double real_capacity = TS_TRY(knapsack::parse_real(options.capacity, "--capacity"));
  const std::vector<knapsack::RealItem> reals = TS_TRY(knapsack::parse_real_items(text, input_name(options)));
  const std::clock_t start = std::clock();
  const knapsack::RealSelection selection = TS_TRY(knapsack::xdp(reals, real_capacity));
  print(options, reals.size(), real_capacity, selection, cpu_seconds_since(start));
  return {};
}

}  // namespace

Command add_knapsack_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("knapsack", "the most profit within a capacity, with a certificate");
  app->require_subcommand(1);
  app->footer(
      "Items are lines profit,weight; chosen items are counted from 0.\n\n"
      "  tessera-algos knapsack solve items.csv --capacity 5000\n"
      "  printf '60,10\\n100,20\\n120,30\\n' | tessera-algos knapsack xdp --capacity 50 --json");
  auto options = std::make_shared<Options>();
  CLI::App* solve =
      app->add_subcommand("solve", "exact, over integers; a certified bound where a limit ends the search");
  declare(*solve, *options);
  solve->add_option("--max-states", options->limits.max_states, "states kept after each item")
      ->capture_default_str();
  solve->add_option("--max-work", options->limits.max_work, "states made in all")->capture_default_str();
  CLI::App* xdp = app->add_subcommand("xdp", "the O(n log n) approximation, over integers or reals");
  declare(*xdp, *options);
  return {app, [options, solve] { return solve->parsed() ? run_solve(*options) : run_xdp(*options); }};
}

}  // namespace tessera::tools
