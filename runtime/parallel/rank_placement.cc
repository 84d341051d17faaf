#include "runtime/parallel/rank_placement.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tessera::runtime {
namespace {

struct Place {
  std::string name;
  std::vector<int> members;  // processes of a host, or ranks of a node, rising
};

std::vector<Place> by_name(const std::vector<std::string>& names) {
  std::vector<Place> places;
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto at = std::ranges::find(places, names[i], &Place::name);
    if (at == places.end()) at = places.insert(places.end(), Place{names[i], {}});
    at->members.push_back(static_cast<int>(i));
  }
  return places;
}

std::string list(const std::vector<Place>& places) {
  std::vector<std::string> lines;
  for (const Place& place : places) lines.push_back(fmt::format("{} x {}", place.name, place.members.size()));
  return fmt::format("{}", fmt::join(lines, ", "));
}

}  // namespace

Result<std::vector<int>> place_ranks(const planner::Plan& plan, const std::vector<std::string>& hosts,
                                     const std::string& file) {
  std::vector<std::string> node_of_rank;
  for (const planner::RankPlace& place : planner::rank_places(plan)) {
    node_of_rank.push_back(plan.nodes[static_cast<std::size_t>(place.slot.node)].name);
  }
  const std::vector<Place> nodes = by_name(node_of_rank);
  const std::vector<Place> there = by_name(hosts);
  const auto refuse = [&] {
    return bad_input(
        {file, "nodes", fmt::format("processes on hosts: {}", list(there)),
         fmt::format("ranks on nodes: {}", list(nodes)),
         "start as many processes on each host as the plan has ranks there (a host file), or make a "
         "plan for these hosts"});
  };
  if (hosts.size() != node_of_rank.size()) return refuse();

  std::vector<std::pair<const Place*, const Place*>> pairs;  // host, node
  const auto named = [&](const Place& host) {
    const auto node = std::ranges::find(nodes, host.name, &Place::name);
    return node == nodes.end() ? nullptr : &*node;
  };
  const auto in_plan = [&](const Place& host) {
    return std::ranges::find(plan.nodes, host.name, &planner::PlanNode::name) != plan.nodes.end();
  };
  if (std::ranges::all_of(there, [&](const Place& host) { return named(host) != nullptr; })) {
    for (const Place& host : there) pairs.emplace_back(&host, named(host));
  } else if (there.size() == 1) {
    std::vector<int> identity(hosts.size());
    for (std::size_t i = 0; i < identity.size(); ++i) identity[i] = static_cast<int>(i);
    return identity;
  } else if (there.size() == nodes.size() && std::ranges::none_of(there, in_plan)) {
    for (std::size_t i = 0; i < there.size(); ++i) pairs.emplace_back(&there[i], &nodes[i]);
  } else {
    return refuse();
  }
  std::vector<int> rank_of_process(hosts.size(), -1);
  for (const auto& [host, node] : pairs) {
    if (host->members.size() != node->members.size()) return refuse();
    for (std::size_t i = 0; i < host->members.size(); ++i) {
      rank_of_process[static_cast<std::size_t>(host->members[i])] = node->members[i];
    }
  }
  return rank_of_process;
}

}  // namespace tessera::runtime
