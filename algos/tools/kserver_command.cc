#include "algos/tools/kserver_command.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "algos/kserver/fair_offline.h"
#include "algos/kserver/fair_online.h"
#include "algos/kserver/instance_file.h"
#include "algos/kserver/line_metric.h"
#include "algos/kserver/online.h"
#include "algos/kserver/optimum.h"
#include "algos/kserver/tree_metric.h"
#include "algos/kserver/uniform_metric.h"
#include "algos/tools/bytes_input.h"

namespace tessera::tools {
namespace {

using kserver::Distance;
using kserver::Instance;
using kserver::Metric;
using kserver::Server;
using Json = nlohmann::ordered_json;

const std::map<std::string, kserver::Form> kForms = {{"auto", kserver::Form::kAuto},
                                                     {"dense", kserver::Form::kDense},
                                                     {"time-expanded", kserver::Form::kTimeExpanded}};

constexpr kserver::Algorithm kAlgorithms[] = {kserver::Algorithm::kDoubleCoverage,
                                              kserver::Algorithm::kWorkFunction, kserver::Algorithm::kGreedy,
                                              kserver::Algorithm::kFifo};

struct Options {
  std::string metric;
  std::string requests;
  kserver::Form form = kserver::Form::kAuto;
  double eps = 0.1;
  std::optional<Distance> additive;
  std::string algorithm = "auto";
  bool lazy = false;
  bool fair = false;
  std::uint64_t seed = 0;
  double delta = 0.01;
  std::size_t limit = 20;
  bool json = false;
};

struct Problem {
  std::unique_ptr<Metric> metric;
  Instance instance;
};

std::string name_of(const std::string& file) { return file == "-" ? "standard input" : file; }

Result<std::string> read_text(const std::string& file) {
  const std::vector<std::uint8_t> bytes = TS_TRY(read_input({file, {}}));
  return std::string(bytes.begin(), bytes.end());
}

Result<Problem> read_problem(const Options& options) {
  if (options.metric == "-" && options.requests == "-") {
    return bad_input({"METRIC and REQUESTS", "", "standard input for both", "at most one of them",
                      "put one of them in a file"});
  }
  Problem problem;
  const std::string metric = TS_TRY(read_text(options.metric));
  problem.metric = TS_TRY(kserver::parse_metric(metric, name_of(options.metric)));
  const std::string requests = TS_TRY(read_text(options.requests));
  problem.instance = TS_TRY(kserver::parse_instance(*problem.metric, requests, name_of(options.requests)));
  return problem;
}

std::string readable(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const auto number = value.get<double>();
  return number < 0.001 ? fmt::format("{:g}", number) : fmt::format("{:.3f}", number);
}

/// Who served what and what each paid; `head` holds the sub-command's own lines.
void print(const Options& options, const Problem& problem, const Json& head, std::span<const Server> servers,
           const std::vector<Distance>& costs) {
  const double ratio = kserver::max_over_mean(costs);
  std::vector<std::int32_t> server_of;
  std::vector<std::size_t> served(costs.size(), 0);
  for (const Server server : servers) {
    server_of.push_back(server.value);
    ++served[static_cast<std::size_t>(server.value)];
  }
  if (options.json) {
    Json json = {{"points", problem.metric->points()},
                 {"diameter", problem.metric->diameter()},
                 {"servers", costs.size()},
                 {"requests", server_of.size()},
                 {"cost", kserver::sum(costs)},
                 {"max_over_mean", ratio}};
    json.update(head);
    json["costs"] = costs;
    json["server_of"] = server_of;
    fmt::print("{}\n", json.dump());
    return;
  }
  const auto line = [](const std::string& name, const std::string& value) {
    fmt::print("{:<18} {}\n", name, value);
  };
  line("points", fmt::format("{}, diameter {}", problem.metric->points(), problem.metric->diameter()));
  line("servers, requests", fmt::format("{}, {}", costs.size(), server_of.size()));
  line("cost", std::to_string(kserver::sum(costs)));
  line("dearest / mean", fmt::format("{:.3f}", ratio));
  for (const auto& [key, value] : head.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    line(name, readable(value));
  }
  const auto shown = [&](std::size_t count) {
    return options.limit == 0 ? count : std::min(count, options.limit);
  };
  fmt::print("{:>8} {:>8} {:>10} {:>14}\n", "server", "start", "served", "cost");
  for (std::size_t s = 0; s < shown(served.size()); ++s) {
    fmt::print("{:>8} {:>8} {:>10} {:>14}\n", s, problem.instance.servers[s].value, served[s], costs[s]);
  }
  if (shown(served.size()) < served.size()) fmt::print("{:>8}\n", "...");
  line("served by", fmt::format("{}{}", fmt::join(std::span(server_of).first(shown(server_of.size())), " "),
                                shown(server_of.size()) < server_of.size() ? " ..." : ""));
}

std::string form_name(kserver::Form form) {
  for (const auto& [name, value] : kForms) {
    if (value == form) return name;
  }
  return "";
}

Status run_optimum(const Options& options) {
  const Problem problem = TS_TRY(read_problem(options));
  kserver::Optimum best = TS_TRY(kserver::optimum(*problem.metric, problem.instance, options.form));
  print(options, problem, {{"form", form_name(best.form)}}, best.schedule.server_of,
        kserver::server_costs(*problem.metric, problem.instance, best.schedule));
  return {};
}

Status run_fair(const Options& options) {
  const Problem problem = TS_TRY(read_problem(options));
  const kserver::Optimum best = TS_TRY(kserver::optimum(*problem.metric, problem.instance, options.form));
  const auto before = kserver::server_costs(*problem.metric, problem.instance, best.schedule);
  const kserver::FairSchedule fair = TS_TRY(
      kserver::make_fair(*problem.metric, problem.instance, best.schedule, {options.eps, options.additive}));
  const kserver::FairCertificate& is = fair.certificate;
  print(options, problem,
        {{"optimum", best.cost},
         {"optimum_max_over_mean", kserver::max_over_mean(before)},
         {"eps", options.eps},
         {"additive", is.additive},
         {"dearest", is.dearest},
         {"dearest_allowed", is.allowed},
         {"reached", is.reached},
         {"guaranteed", is.proven},
         {"swaps", is.swaps}},
        fair.schedule.server_of, fair.costs);
  return {};
}

Result<kserver::Algorithm> chosen_algorithm(const Options& options, const Metric& metric) {
  for (const kserver::Algorithm algorithm : kAlgorithms) {
    if (options.algorithm == kserver::algorithm_name(algorithm)) return algorithm;
  }
  const bool sparse = dynamic_cast<const kserver::LineMetric*>(&metric) != nullptr ||
                      dynamic_cast<const kserver::TreeMetric*>(&metric) != nullptr;
  if (sparse) return kserver::Algorithm::kDoubleCoverage;
  const bool uniform = dynamic_cast<const kserver::UniformMetric*>(&metric) != nullptr;
  return uniform ? kserver::Algorithm::kFifo : kserver::Algorithm::kWorkFunction;
}

Status run_online(const Options& options) {
  const Problem problem = TS_TRY(read_problem(options));
  const Metric& metric = *problem.metric;
  if (!(options.delta > 0 && options.delta < 1)) {
    return bad_input({"--delta", "", fmt::format("{}", options.delta), "a number between 0 and 1",
                      "0.01 is one failure in a hundred"});
  }
  const kserver::Algorithm algorithm = TS_TRY(chosen_algorithm(options, metric));
  auto online = TS_TRY(kserver::make_online(algorithm, metric, problem.instance.servers));
  if (options.lazy) {
    online = std::make_unique<kserver::Lazy>(metric, problem.instance.servers, std::move(online));
  }
  Json head = {{"algorithm", kserver::algorithm_name(algorithm)}};
  std::vector<Server> server_of;
  std::vector<Distance> costs;
  if (options.fair) {
    auto fair = TS_TRY(kserver::FairOnline::start(std::move(online), {options.eps, options.seed}));
    for (const kserver::Point request : problem.instance.requests) {
      server_of.push_back(fair.serve(request).server);
    }
    costs.assign(fair.costs().begin(), fair.costs().end());
    const kserver::OnlineCertificate is = fair.certificate(options.delta);
    head.update({{"eps", options.eps},
                 {"algorithm_cost", is.algorithm},
                 {"cost_allowed", is.total_allowed},
                 {"dearest", is.dearest},
                 {"dearest_allowed", is.dearest_allowed},
                 {"probability", 1 - options.delta},
                 {"deals", is.deals}});
  } else {
    for (const kserver::Point request : problem.instance.requests) {
      server_of.emplace_back(online->serve(request).value);
    }
    costs.assign(online->costs().begin(), online->costs().end());
  }
  print(options, problem, head, server_of, costs);
  return {};
}

void declare(CLI::App& app, Options& options) {
  app.add_option("metric", options.metric, "JSON file of the metric; - is standard input")->required();
  app.add_option("requests", options.requests, "JSON file of start points and requests; - is standard input")
      ->required();
  app.add_option("--limit", options.limit, "servers and requests in readable output; 0 = all")
      ->capture_default_str();
  app.add_flag("--json", options.json, "print one JSON object, complete whatever --limit says");
}

void declare_eps(CLI::App& app, Options& options) {
  app.add_option("--eps", options.eps, "what a server may pay above the mean, as a share; 1e-6 to 1")
      ->capture_default_str();
}

void declare_form(CLI::App& app, Options& options) {
  app.add_option("--form", options.form, "the network to solve; the answer costs the same")
      ->type_name("auto|dense|time-expanded")
      ->default_str("auto")
      ->transform(CLI::CheckedTransformer(kForms).description(""));
}

}  // namespace

Command add_kserver_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "kserver", "which server goes to which request: at least cost, with fair shares, or online");
  app->require_subcommand(1);
  app->footer(
      "Points are counted from 0, distances are whole numbers. A metric is one of\n"
      "  {\"kind\": \"line\", \"positions\": [0, 1, 10]}\n"
      "  {\"kind\": \"tree\", \"edges\": [[0, 1, 4], [1, 2, 5]]}         two points and a length\n"
      "  {\"kind\": \"uniform\", \"points\": 8, \"distance\": 1}\n"
      "  {\"kind\": \"matrix\", \"distances\": [[0, 2], [2, 0]]}\n"
      "and requests are {\"servers\": [0, 2], \"requests\": [1, 2, 1]}: start points, then points to "
      "serve.\n\n"
      "  tessera-algos kserver fair racks.json failures.json --eps 0.2\n"
      "  tessera-algos kserver online racks.json - --fair --seed 7 --json <failures.json");
  auto options = std::make_shared<Options>();
  CLI::App* optimum = app->add_subcommand("optimum", "the least total cost, all requests known");
  declare(*optimum, *options);
  declare_form(*optimum, *options);
  CLI::App* fair = app->add_subcommand("fair", "an optimum made fair, with the bound it keeps");
  declare(*fair, *options);
  declare_form(*fair, *options);
  declare_eps(*fair, *options);
  fair->add_option("--additive", options->additive,
                   "what a server may pay beyond (1 + eps) times the mean; default: the guaranteed value");
  CLI::App* online = app->add_subcommand("online", "one request at a time");
  declare(*online, *options);
  declare_eps(*online, *options);
  online->add_option("--algorithm", options->algorithm, "auto: by the metric")
      ->type_name("auto|double-coverage|work-function|greedy|fifo")
      ->default_str("auto")
      ->check(CLI::IsMember({"auto", "double-coverage", "work-function", "greedy", "fifo"}).description(""));
  online->add_flag("--lazy", options->lazy, "servers stand on points only and move when they serve");
  online->add_flag("--fair", options->fair, "deal the roles out to the servers anew from time to time");
  online->add_option("--seed", options->seed, "of the deals")->capture_default_str();
  online->add_option("--delta", options->delta, "chance that the fair bound may fail")->capture_default_str();
  return {app, [options, optimum, fair] {
            if (optimum->parsed()) return run_optimum(*options);
            return fair->parsed() ? run_fair(*options) : run_online(*options);
          }};
}

}  // namespace tessera::tools
