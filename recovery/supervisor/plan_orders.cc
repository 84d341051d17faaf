#include "recovery/supervisor/plan_orders.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sys/wait.h>
#include <system_error>
#include <utility>
#include <xxhash.h>

#include <fmt/format.h>

#include "algos/base/durable_file.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;
constexpr int kExitNoPlan = 2;  // of tessera-plan: wrong input, or nothing fits
constexpr int kAttempts = 3;    // of a planner that fails otherwise
constexpr int kBehindTraining = 10;

std::string last_lines(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > most) text.erase(0, text.size() - most);
  return text;
}

}  // namespace

PlanOrders::PlanOrders(PlannerSetup setup, planner::ClusterSpec cluster)
    : setup_(std::move(setup)), cluster_(std::move(cluster)) {
  std::error_code ignored;
  for (const auto& answer : fs::directory_iterator(setup_.folder, ignored)) {
    std::error_code error;
    fs::remove(answer.path() / "none", error);
  }
}

PlanOrders::~PlanOrders() { end_running(); }

void PlanOrders::order(const NodeSet& nodes) {
  order_ = nodes;
  failures_ = 0;
  if (running_ && running_->nodes != nodes) end_running();
}

void PlanOrders::prepare(const std::vector<NodeSet>& sets) { later_.assign(sets.begin(), sets.end()); }

std::optional<PlanAnswer> PlanOrders::poll(double now) {
  if (running_) {
    const std::optional<int> code = running_->child.poll(now);
    if (!code) return std::nullopt;
    const NodeSet nodes = running_->nodes;
    const Status kept = keep(nodes, *code);
    running_.reset();
    if (!kept.ok() && order_ == nodes && ++failures_ >= kAttempts) {
      order_.reset();
      return PlanAnswer{nodes, std::nullopt, kept.message()};
    }
  }
  if (order_) {
    if (std::optional<PlanAnswer> answer = kept(*order_)) {
      order_.reset();
      return answer;
    }
    begin(*order_, true, now);
    return std::nullopt;
  }
  while (!later_.empty()) {
    const NodeSet nodes = later_.front();
    later_.pop_front();
    if (kept(nodes)) continue;
    begin(nodes, false, now);
    break;
  }
  return std::nullopt;
}

std::string PlanOrders::plan_path(const NodeSet& nodes) const { return key_folder(nodes) + "/plan.json"; }

planner::ClusterSpec PlanOrders::part(const NodeSet& nodes) const {
  planner::ClusterSpec part = cluster_;
  part.nodes.clear();
  for (const int n : nodes) part.nodes.push_back(cluster_.nodes[static_cast<std::size_t>(n)]);
  return part;
}

std::string PlanOrders::key_folder(const NodeSet& nodes) const {
  std::string told = planner::to_cluster_json(part(nodes)) + setup_.identity;
  for (const std::string& argument : setup_.arguments) told += argument + "\n";
  return fmt::format("{}/{:016x}", setup_.folder, XXH64(told.data(), told.size(), 0));
}

std::optional<PlanAnswer> PlanOrders::kept(const NodeSet& nodes) const {
  const std::string folder = key_folder(nodes);
  std::error_code error;
  if (fs::exists(folder + "/none", error))
    return PlanAnswer{nodes, std::nullopt, last_lines(folder + "/log.txt", 2000)};
  const Result<planner::Plan> plan = planner::read_plan(folder + "/plan.json");
  if (!plan.ok()) return std::nullopt;
  std::set<int> used;
  for (const planner::RankPlace& place : planner::rank_places(plan.value())) {
    const std::string& name = plan.value().nodes[static_cast<std::size_t>(place.slot.node)].name;
    const auto at = std::ranges::find(cluster_.nodes, name, &planner::NodeSpec::name);
    if (at == cluster_.nodes.end()) return std::nullopt;
    used.insert(static_cast<int>(at - cluster_.nodes.begin()));
  }
  PlanChoice choice{nodes, NodeSet(used.begin(), used.end()), plan.value().expected.iteration_s};
  return PlanAnswer{nodes, std::move(choice), ""};
}

void PlanOrders::begin(const NodeSet& nodes, bool ordered, double now) {
  const std::string folder = key_folder(nodes);
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  fs::remove(folder + "/log.txt", ignored);
  Launch request;
  request.argv = {setup_.program,           "plan",  "--cluster",
                  folder + "/cluster.json", "--out", folder + "/plan.part"};
  request.argv.insert(request.argv.end(), setup_.arguments.begin(), setup_.arguments.end());
  request.output = folder + "/log.txt";
  request.nice = ordered ? 0 : kBehindTraining;
  const Status written = write_durably(folder + "/cluster.json", planner::to_cluster_json(part(nodes)));
  const Result<pid_t> pid = written.ok() ? launch(request) : Result<pid_t>(written);
  if (pid.ok()) running_.emplace(Running{nodes, Child(pid.value(), now + setup_.limit_s), ordered});
}

void PlanOrders::end_running() {
  if (running_) running_->child.end();
  running_.reset();
}

Status PlanOrders::keep(const NodeSet& nodes, int exit_code) const {
  const std::string folder = key_folder(nodes);
  if (exit_code == kExitNoPlan) return write_durably(folder + "/none", std::string());
  if (exit_code == 0) {
    static_cast<void>(TS_TRY(planner::read_plan(folder + "/plan.part")));
    std::error_code error;
    fs::rename(folder + "/plan.part", folder + "/plan.json", error);
    return error ? write_failure(folder + "/plan.json", "a plan", error) : Status();
  }
  return {Code::kUnavailable, fmt::format("{} ended with exit code {}: {}", setup_.program, exit_code,
                                          last_lines(folder + "/log.txt", 2000))};
}

}  // namespace tessera::recovery
