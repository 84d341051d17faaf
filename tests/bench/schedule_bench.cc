/// Time to plan one schedule, and what the plan is worth: its makespan over the lower bound
/// max(compute, transfers) and the greedy rule's makespan over its own. Costs are those of 256 GPUs at
/// 1 Mi tokens (docs/mesh_attention.md, the projection), where neither side dominates.
#include <algorithm>
#include <string>

#include <benchmark/benchmark.h>

#include "runtime/attention/tile_schedule.h"

namespace tessera::runtime {
namespace {

constexpr ScheduleCosts kForward{0.283, 0.766, 1.511, 0.766, 1.511, 1, false};
constexpr ScheduleCosts kBackward{0.867, 1.511, 1.511, 0.766, 1.511, 1, false};

double lower_bound(const TileSchedule& schedule, const ScheduleCosts& costs) {
  double transfers = 0;
  for (const TransferOp& op : schedule.transfers) {
    switch (op.kind) {
      case Transfer::kReceiveRow: transfers += costs.receive_row; break;
      case Transfer::kReceiveColumn: transfers += costs.receive_column; break;
      case Transfer::kSendRow: transfers += costs.send_row; break;
      case Transfer::kSendColumn: transfers += costs.send_column; break;
    }
  }
  return std::max(transfers, schedule.shape.super_ranks() * costs.block);
}

void plan(benchmark::State& state, Pass pass, const std::string& text) {
  const MeshShape shape = parse_mesh_shape(text).value();
  const ScheduleCosts& costs = pass == Pass::kForward ? kForward : kBackward;
  TileSchedule schedule;
  for (auto _ : state) {
    schedule = plan_schedule(pass, shape, costs);
    benchmark::DoNotOptimize(schedule.transfers.data());
  }
  const double makespan = simulate(schedule, costs).makespan;
  TileSchedule greedy = greedy_schedule(pass, shape, costs);
  state.counters["over_bound"] = makespan / lower_bound(schedule, costs);
  state.counters["greedy_over_plan"] = simulate(greedy, costs).makespan / makespan;
}

BENCHMARK_CAPTURE(plan, forward_16x16, Pass::kForward, "16x16")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(plan, backward_16x16, Pass::kBackward, "16x16")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(plan, forward_8x32, Pass::kForward, "8x32")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(plan, backward_8x32, Pass::kBackward, "8x32")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(plan, forward_hierarchical, Pass::kForward, "(4.8)x8")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(plan, backward_hierarchical, Pass::kBackward, "(4.8)x8")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tessera::runtime

BENCHMARK_MAIN();
