#include "runtime/profile/link_profile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"
#include "kernels/device/buffer.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

using planner::CollectiveKind;

/// A round's seconds per call of `call`, round after round; ranks without a call take part in the barriers.
std::vector<double> time_rounds(Communicator& world, const LinkQuestion& question, const Clock& clock,
                                const std::function<void()>& call) {
  double once = 0;
  if (call) {
    call();  // the first call may set up buffers and connections
    const Nanoseconds begin = clock.now();
    call();
    once = seconds(clock.now() - begin);
  }
  std::array<double, 1> slowest = {once};
  all_reduce(world, slowest, Reduction::kMax);
  const int calls =
      std::clamp(static_cast<int>(std::ceil(question.round_s / std::max(slowest[0], 1e-6))), 1, 1000);
  std::vector<double> samples;
  for (int round = 0; round < question.rounds; ++round) {
    barrier(world);
    if (!call) continue;
    const Nanoseconds begin = clock.now();
    for (int i = 0; i < calls; ++i) call();
    samples.push_back(seconds(clock.now() - begin) / calls);
  }
  return samples;
}

/// Larger messages are not faster: noise that says so is levelled up.
void add_point(planner::LinkCurve& curve, std::int64_t bytes, double value) {
  const double least = curve.empty() ? 0 : curve.points.back().seconds;
  curve.points.push_back({static_cast<double>(bytes), std::max(value, least)});
}

bool any_rank(Communicator& world, bool mine) {
  std::array<double, 1> some = {mine ? 1.0 : 0.0};
  all_reduce(world, some, Reduction::kMax);
  return some[0] > 0;
}

void profile_messages(Communicator& world, const LinkQuestion& question, const Clock& clock,
                      MachineLinks& out) {
  const int rank = world.rank().value;
  for (const std::int64_t bytes : question.bytes) {
    kernels::Buffer<float> data(bytes / 4);
    std::array<std::vector<double>, 2> samples;  // inside a host, between hosts
    for (int distance = 1; distance < world.size(); distance *= 2) {
      const int partner = rank ^ distance;
      const bool paired = partner < world.size();
      const auto send = [&] {
        Request request = world.isend(std::as_bytes(data.span()), Rank(partner), 0, Traffic::kPipeline);
        world.wait(request);
      };
      const auto receive = [&] {
        Request request =
            world.irecv(std::as_writable_bytes(data.span()), Rank(partner), 0, Traffic::kPipeline);
        world.wait(request);
      };
      const auto there_and_back = [&] {
        if (rank < partner) send();
        receive();
        if (rank > partner) send();
      };
      const std::vector<double> found =
          time_rounds(world, question, clock, paired ? std::function<void()>(there_and_back) : nullptr);
      if (!paired) continue;
      const bool apart =
          question.hosts[static_cast<std::size_t>(rank)] != question.hosts[static_cast<std::size_t>(partner)];
      for (const double s : found) samples[apart ? 1 : 0].push_back(s / 2);
    }
    for (const bool apart : {false, true}) {
      const auto& mine = samples[apart ? 1 : 0];
      if (!any_rank(world, !mine.empty())) continue;
      const Measurement m = summarize(
          world, fmt::format("message between {}, {} bytes", apart ? "hosts" : "ranks of a host", bytes),
          mine);
      add_point(apart ? out.links.inter : out.links.intra, bytes, m.median);
      out.measurements.push_back(m);
    }
  }
}

void profile_group(Communicator& world, const LinkQuestion& question, const Clock& clock, int ranks,
                   MachineLinks& out) {
  const int groups = world.size() / ranks;
  const int mine = std::min(world.rank().value / ranks, groups);
  const std::unique_ptr<Communicator> group = world.split(mine, world.rank().value);
  const std::set<std::string> nodes(question.hosts.begin(), question.hosts.begin() + ranks);
  constexpr std::array<std::pair<CollectiveKind, const char*>, 3> kKinds = {
      {{CollectiveKind::kAllReduce, "all-reduce"},
       {CollectiveKind::kReduceScatter, "reduce-scatter"},
       {CollectiveKind::kAllGather, "all-gather"}}};
  for (const auto& [kind, name] : kKinds) {
    planner::CollectiveProfile row;
    row.kind = kind;
    row.ranks = ranks;
    row.nodes = static_cast<int>(nodes.size());
    for (const std::int64_t bytes : question.bytes) {
      kernels::Buffer<float> data(bytes / 4);
      const auto run = [&, kind = kind] {
        switch (kind) {
          case CollectiveKind::kAllReduce: return all_reduce_sum(*group, data.span(), Traffic::kGradient);
          case CollectiveKind::kReduceScatter:
            return reduce_scatter_sum(*group, data.span(), Traffic::kGradient);
          case CollectiveKind::kAllGather: return all_gather(*group, data.span(), Traffic::kParameter);
        }
      };
      const auto samples =
          time_rounds(world, question, clock, mine < groups ? std::function<void()>(run) : nullptr);
      const Measurement m =
          summarize(world, fmt::format("{} of {} ranks, {} bytes", name, ranks, bytes), samples);
      add_point(row.curve, bytes, m.median);
      out.measurements.push_back(m);
    }
    out.collectives.push_back(std::move(row));
  }
}

}  // namespace

MachineLinks profile_links(Communicator& world, const LinkQuestion& question, const Clock& clock) {
  TS_REQUIRE(static_cast<int>(question.hosts.size()) == world.size(), question.hosts.size(), world.size());
  MachineLinks out;
  if (world.size() == 1) return out;
  profile_messages(world, question, clock, out);
  for (int ranks = 2; ranks < world.size(); ranks *= 2) profile_group(world, question, clock, ranks, out);
  profile_group(world, question, clock, world.size(), out);
  return out;
}

}  // namespace tessera::runtime
