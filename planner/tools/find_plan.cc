#include "planner/tools/find_plan.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "planner/baselines/baselines.h"
#include "planner/search/search.h"
#include "planner/sim/plan_iteration.h"
#include "planner/sim/refine_plan.h"
#include "planner/tools/explain_infeasible.h"
#include "planner/tools/job_options.h"
#include "planner/tools/stop_on_interrupt.h"

namespace tessera::planner::tools {
namespace {

constexpr std::array<std::pair<System, const char*>, 3> kSystems{
    {{System::kTessera, "tessera"}, {System::kMegatron, "megatron"}, {System::kWhale, "whale"}}};

Result<std::vector<MeshShape>> contexts_of(const PlanChoices& choices) {
  std::vector<MeshShape> out;
  for (const std::string& text : choices.context) out.push_back(TS_TRY(runtime::parse_mesh_shape(text)));
  return out;
}

Result<std::vector<Recompute>> recomputes_of(const PlanChoices& choices) {
  std::vector<Recompute> out;
  for (const std::string& text : choices.recompute) {
    bool known = false;
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      if (text != recompute_name(recompute)) continue;
      out.push_back(recompute);
      known = true;
    }
    if (!known) return bad_input({"--recompute", "", text, "none, selective or full", ""});
  }
  if (out.empty()) out = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};
  return out;
}

Result<Plan> baseline(System system, const CostModel& cost, const PlanChoices& choices) {
  BaselineSpace space;
  space.idle_types = choices.idle_types;
  space.tensor_parallel = choices.tensor_parallel;
  const std::vector<MeshShape> contexts = TS_TRY(contexts_of(choices));
  if (!contexts.empty()) space.context = contexts;
  if (!choices.micro_batch.empty()) space.micro_batch = choices.micro_batch;
  space.recompute = TS_TRY(recomputes_of(choices));
  const BaselinePlan found =
      TS_TRY(system == System::kMegatron ? megatron_plan(cost, space) : whale_plan(cost, space));
  Plan plan = found.plan;
  plan.expected.evaluated = found.feasible;
  return plan;
}

/// One line, written over itself at most ten times a second.
class ProgressLine {
 public:
  explicit ProgressLine(bool shown) : shown_(shown) {}
  ~ProgressLine() {
    if (written_) fmt::print(stderr, "\r\x1b[K");
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const SearchProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    written_ = true;
    std::string best = "no plan yet";
    if (progress.best_s > 0) {
      best = fmt::format("best {:.4g} s, gap {:.1f} %", progress.best_s,
                         100 * (progress.best_s - progress.lower_bound_s) / progress.best_s);
    }
    fmt::print(stderr, "\r\x1b[K{} of {} candidates, {}; Ctrl-C takes it", progress.done, progress.candidates,
               best);
    std::fflush(stderr);
  }

 private:
  bool shown_;
  bool written_ = false;
  std::chrono::steady_clock::time_point last_;
};

/// The search minimises pipelines under a bound; refinement looks at the whole analytic time, also of the
/// baselines' plans, which are of the same space; the simulator has the last word. The certificate stays the
/// search's: it bounds every plan's analytic form.
/// A search that ends early may have none yet; then there is no certificate. Its failure stands when the
/// baselines have no plan either.
Result<Plan> fastest_simulated(Result<SearchResult> searched, const CostModel& cost,
                               const PlanChoices& choices, const Cancelled& cancelled) {
  PlanExpectation certificate;
  std::vector<Plan> plans;
  if (searched.ok()) {
    certificate = searched->plan.expected;
    plans.push_back(std::move(searched->plan));
  }
  for (const System system : {System::kMegatron, System::kWhale}) {
    // Who interrupts waits for an answer: what is there will do.
    if (StopOnInterrupt::stopped() && !plans.empty()) break;
    Result<Plan> other = baseline(system, cost, choices);
    if (other.ok()) plans.push_back(std::move(other).value());
  }
  if (plans.empty()) return searched.status();
  const std::size_t given = plans.size();
  for (std::size_t i = 0; i < given; ++i) plans.push_back(sim::refine_plan(plans[i], cost, cancelled));
  std::vector<double> seconds;
  for (const Plan& plan : plans) seconds.push_back(sim::simulate_plan(plan, cost).timeline.iteration_s);
  Plan& fastest = plans[static_cast<std::size_t>(std::ranges::min_element(seconds) - seconds.begin())];
  fastest.expected.lower_bound_s = certificate.lower_bound_s;
  fastest.expected.evaluated = certificate.evaluated;
  const bool bounded = certificate.lower_bound_s > 0;
  fastest.expected.gap = bounded ? 1 - certificate.lower_bound_s / fastest.expected.iteration_s : 0;
  return std::move(fastest);
}

Result<Plan> searched(const CostModel& cost, const PlanChoices& choices) {
  SearchOptions options;
  options.mode = choices.equal_micro_batches ? MicroBatchMode::kEqual : MicroBatchMode::kUnequal;
  options.tensor_parallel = choices.tensor_parallel;
  options.contexts = TS_TRY(contexts_of(choices));
  options.micro_batches = choices.micro_batch;
  options.recompute = TS_TRY(recomputes_of(choices));
  ProgressLine line(choices.progress);
  options.progress = [&](const SearchProgress& progress) { line.show(progress); };
  const StopOnInterrupt interrupt;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(choices.time_limit_s);
  options.cancelled = [&] {
    const bool late = choices.time_limit_s > 0 && std::chrono::steady_clock::now() > end;
    return late || StopOnInterrupt::stopped();
  };
  Result<SearchResult> found = search_plan(cost, options);
  if (choices.equal_micro_batches) return TS_TRY(std::move(found)).plan;
  return fastest_simulated(std::move(found), cost, choices, options.cancelled);
}

}  // namespace

const char* system_name(System system) {
  for (const auto& [value, name] : kSystems) {
    if (value == system) return name;
  }
  return "";
}

std::optional<System> find_system(const std::string& name) {
  for (const auto& [value, text] : kSystems) {
    if (name == text) return value;
  }
  return {};
}

void declare_choices(CLI::App& app, PlanChoices& choices) {
  app.add_option("--tensor-parallel", choices.tensor_parallel,
                 "degrees to try; default: the powers of two that fit")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--micro-batch", choices.micro_batch, "sequences per micro-batch to try; default: 1,2,4,8")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--context", choices.context, "context meshes to try, as 1x2; default: 1x1")->delimiter(',');
  app.add_option("--recompute", choices.recompute, "none, selective, full: what to try; default: all")
      ->delimiter(',');
  app.add_flag("--equal-micro-batches", choices.equal_micro_batches,
               "the same number of micro-batches per group");
  app.add_option("--time-limit", choices.time_limit_s,
                 "end the search after that many seconds with the best plan")
      ->check(CLI::NonNegativeNumber);
}

Result<Plan> find_plan(System system, const CostModel& cost, const PlanChoices& choices) {
  Result<Plan> found = system == System::kTessera ? searched(cost, choices) : baseline(system, cost, choices);
  const bool nothing_fits = !found.ok() && (found.status().code() == Code::kNotFound ||
                                            found.status().code() == Code::kFailedPrecondition);
  if (!nothing_fits) return found;
  const std::vector<int> degrees =
      choices.tensor_parallel.empty() ? tensor_degrees(cost) : choices.tensor_parallel;
  return Status(Code::kNotFound,
                fmt::format("no plan: {}\n{}", found.status().message(), explain_infeasible(cost, degrees)));
}

}  // namespace tessera::planner::tools
