#include "recovery/supervisor/launch_command.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace tessera::recovery {

std::vector<NodeRanks> rank_contexts(const planner::Plan& plan, LaunchMode mode) {
  std::vector<NodeRanks> contexts;
  for (const planner::RankPlace& place : planner::rank_places(plan)) {
    const std::string& node = plan.nodes[static_cast<std::size_t>(place.slot.node)].name;
    auto at = contexts.end();
    if (mode == LaunchMode::kHosts) {
      at = std::ranges::find(contexts, node, &NodeRanks::node);
    } else if (!contexts.empty() && contexts.back().node == node) {
      at = std::prev(contexts.end());
    }
    if (at == contexts.end()) at = contexts.insert(contexts.end(), NodeRanks{node, 0});
    ++at->ranks;
  }
  return contexts;
}

std::vector<std::string> launch_command(const planner::Plan& plan, LaunchMode mode, const std::string& mpirun,
                                        const std::vector<std::string>& program,
                                        const Environment& environment) {
  std::vector<std::string> command = {mpirun};
  bool first = true;
  for (const NodeRanks& context : rank_contexts(plan, mode)) {
    if (!first) command.emplace_back(":");
    first = false;
    if (mode == LaunchMode::kHosts) {
      command.insert(command.end(), {"--host", fmt::format("{}:{}", context.node, context.ranks)});
    }
    command.insert(command.end(),
                   {"-np", std::to_string(context.ranks), "env", "TESSERA_NODE=" + context.node});
    for (const auto& [name, value] : environment) command.push_back(name + "=" + value);
    command.insert(command.end(), program.begin(), program.end());
  }
  return command;
}

Environment local_mpi_environment(bool root) {
  Environment environment = {
      {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
      {"OMPI_MCA_mpi_yield_when_idle", "1"},
      {"OMPI_MCA_hwloc_base_binding_policy", "none"},
      // In containers without ptrace rights the single-copy path prints errors before it falls back.
      {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
  };
  if (root) {
    environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT", "1");
    environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  }
  return environment;
}

std::vector<std::string> parse_host_names(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    if (end > at) names.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

std::int64_t first_dead_process(std::string_view log) {
  for (std::size_t at = log.find("process rank "); at != std::string_view::npos;
       at = log.find("process rank ", at + 1)) {
    const std::string_view line = log.substr(at, std::min(log.find('\n', at), log.size()) - at);
    const std::size_t pid = line.find("with PID ");
    if (pid == std::string_view::npos || line.find("exited on signal", pid) == std::string_view::npos)
      continue;
    return std::strtoll(std::string(line.substr(pid + 9, 20)).c_str(), nullptr, 10);
  }
  return 0;
}

}  // namespace tessera::recovery
