#include "planner/tools/check_command.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "planner/cost/estimate.h"
#include "planner/plan/check_structure.h"
#include "planner/plan/plan.h"
#include "planner/tools/job_options.h"
#include "planner/tools/plan_report.h"

namespace tessera::planner::tools {
namespace {

struct Options {
  JobOptions job;
  std::string plan;
};

Status run(const Options& options) {
  const Plan plan = TS_TRY(read_plan(options.plan));
  if (options.job.model.empty() && options.job.cluster.empty()) {
    TS_TRY(check_structure(plan, options.plan));
    fmt::print("{}: sound in itself ({}); name --model and --cluster to check it against them\n",
               options.plan, shape_text(plan));
    return {};
  }
  JobOptions job = options.job;
  if (job.train.empty()) {  // the plan's own batch
    if (job.sequence_length == 0) job.sequence_length = plan.sequence_length;
    if (job.global_batch == 0) job.global_batch = plan.global_batch;
  }
  if (job.precision.empty()) job.precision = precision_name(plan.precision);
  const CostModel cost = TS_TRY(read_job(job));
  TS_TRY(check_plan(plan, cost, options.plan));
  fmt::print("{}: sound, and every stage fits ({})\n", options.plan, shape_text(plan));
  return {};
}

}  // namespace

Command add_check_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("check", "whether a plan is sound and fits, whoever made it");
  auto options = std::make_shared<Options>();
  app->add_option("--plan", options->plan, "plan.json")->required()->type_name("FILE");
  declare_job(*app, options->job);
  app->footer("  tessera-plan check --plan plan.json --model config.json --cluster cluster.json");
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::planner::tools
