#include "planner/tools/plan_command.h"

#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "planner/cost/estimate.h"
#include "planner/sim/trace.h"
#include "planner/tools/find_plan.h"
#include "planner/tools/job_options.h"
#include "planner/tools/plan_report.h"

namespace tessera::planner::tools {
namespace {

struct Options {
  JobOptions job;
  PlanChoices choices;
  std::string system = system_name(System::kTessera);
  std::string out;
  std::string html;
  std::string trace;
  bool compare = false;
  bool json = false;
};

Comparison comparison_of(const std::string& name, const Result<Plan>& plan, const CostModel& cost) {
  if (!plan.ok()) {
    const std::string& why = plan.status().message();
    return {name, "", 0, 0, why.substr(0, why.find('\n'))};
  }
  const PlanReport report = make_report(plan.value(), cost);
  return {name, shape_text(report.plan), report.simulation.timeline.iteration_s, report.metrics.tokens_per_s,
          ""};
}

std::vector<Comparison> compare(const Options& options, System own, const CostModel& cost) {
  std::vector<Comparison> others;
  for (const System system : {System::kTessera, System::kMegatron, System::kWhale}) {
    if (system == own) continue;
    others.push_back(comparison_of(system_name(system), find_plan(system, cost, options.choices), cost));
  }
  return others;
}

/// The same job before the changes of --what-if.
Result<Comparison> unchanged(const Options& options, System system) {
  JobOptions job = options.job;
  job.what_if.clear();
  const CostModel cost = TS_TRY(read_job(job));
  return comparison_of("without the change", find_plan(system, cost, options.choices), cost);
}

nlohmann::ordered_json comparison_json(const std::vector<Comparison>& others) {
  auto list = nlohmann::ordered_json::array();
  for (const Comparison& other : others) {
    nlohmann::ordered_json row{{"name", other.name}};
    if (other.problem.empty()) {
      row["iteration_s"] = other.iteration_s;
      row["tokens_per_s"] = other.tokens_per_s;
      row["shape"] = other.what;
    } else {
      row["problem"] = other.problem;
    }
    list.push_back(std::move(row));
  }
  return list;
}

Status run(Options options) {
  const auto system = find_system(options.system);
  if (!system) return bad_input({"--system", "", options.system, "tessera, megatron or whale", ""});
  options.choices.progress = isatty(STDERR_FILENO) != 0;
  const CostModel cost = TS_TRY(read_job(options.job));
  const Plan plan = TS_TRY(find_plan(*system, cost, options.choices));
  TS_TRY(check_plan(plan, cost, "the plan"));
  const PlanReport report = make_report(plan, cost);
  std::vector<Comparison> others;
  if (!options.job.what_if.empty()) others.push_back(TS_TRY(unchanged(options, *system)));
  if (options.compare) {
    for (Comparison& other : compare(options, *system, cost)) others.push_back(std::move(other));
  }
  if (!options.out.empty()) TS_TRY(write_plan(report.plan, options.out));
  if (!options.html.empty()) TS_TRY(write_durably(options.html, report_html(report, cost, others)));
  if (!options.trace.empty()) {
    TS_TRY(write_durably(options.trace,
                         sim::chrome_trace(report.simulation.iteration, report.simulation.timeline)));
  }
  if (options.json) {
    nlohmann::ordered_json answer = report_json(report);
    if (!others.empty()) answer["compared"] = comparison_json(others);
    fmt::print("{}\n", answer.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", report_text(report, cost, others));
  }
  return {};
}

}  // namespace

Command add_plan_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("plan", "the fastest plan for a model on a cluster");
  auto options = std::make_shared<Options>();
  declare_job(*app, options->job);
  declare_choices(*app, options->choices);
  app->add_option("--system", options->system,
                  "whose plan: tessera, megatron (symmetric) or whale (by FLOPS)")
      ->capture_default_str();
  app->add_option("--out", options->out, "write plan.json, for tessera-train --plan")->type_name("FILE");
  app->add_option("--html", options->html, "write the report as one self-contained page")->type_name("FILE");
  app->add_option("--trace", options->trace, "write the simulated step as a Chrome/Perfetto trace")
      ->type_name("FILE");
  app->add_flag("--compare", options->compare, "also plan as the other systems would, and compare");
  app->add_flag("--json", options->json, "print one JSON object");
  app->footer(
      "  tessera-plan plan --model planner/examples/llama_7b.json --cluster "
      "planner/examples/a100_h800_h20.json\n"
      "      --train planner/examples/pretrain_4k.json --compare --out plan.json --html plan.html\n"
      "  tessera-plan plan ... --what-if remove:h20 --what-if add:H100:8");
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::planner::tools
