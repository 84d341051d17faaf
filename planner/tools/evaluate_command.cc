#include "planner/tools/evaluate_command.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "planner/plan/check_structure.h"
#include "planner/plan/plan.h"
#include "planner/sim/trace.h"
#include "planner/tools/job_options.h"
#include "planner/tools/plan_report.h"

namespace tessera::planner::tools {
namespace {

struct Options {
  JobOptions job;
  std::string plan;
  std::string html;
  std::string trace;
  bool json = false;
};

Status run(const Options& options) {
  const Plan plan = TS_TRY(read_plan(options.plan));
  const CostModel cost = TS_TRY(job_of_plan(plan, options.job));
  // A model or cluster that is named must be the plan's; one that was made from the plan is.
  if (!options.job.model.empty() && !options.job.cluster.empty()) {
    TS_TRY(check_structure(plan, options.plan, cost.model(), cost.cluster(), cost.train()));
  }
  TS_TRY(cost.check_shape({plan.tensor_parallel, plan.context, plan.micro_batch}));
  const PlanReport report = make_report(plan, cost);
  if (!options.html.empty()) TS_TRY(write_durably(options.html, report_html(report, cost, {})));
  if (!options.trace.empty()) {
    TS_TRY(write_durably(options.trace,
                         sim::chrome_trace(report.simulation.iteration, report.simulation.timeline)));
  }
  if (options.json) {
    fmt::print("{}\n", report_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", report_text(report, cost, {}));
  }
  return {};
}

}  // namespace

Command add_evaluate_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("evaluate", "what a given plan would do, without searching");
  auto options = std::make_shared<Options>();
  app->add_option("--plan", options->plan, "plan.json")->required()->type_name("FILE");
  declare_job(*app, options->job);
  app->add_option("--html", options->html, "write the report as one self-contained page")->type_name("FILE");
  app->add_option("--trace", options->trace, "write the simulated step as a Chrome/Perfetto trace")
      ->type_name("FILE");
  app->add_flag("--json", options->json, "print one JSON object");
  app->footer(
      "Without --cluster the devices are those the plan names, with links from the profile or the built-in "
      "table.\n"
      "Without --model the width that messages between stages depend on follows from the plan's parameters.\n"
      "Batch and sequence length are the plan's.\n\n"
      "  tessera-plan evaluate --plan plan.json --profile profile.json --json");
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::planner::tools
