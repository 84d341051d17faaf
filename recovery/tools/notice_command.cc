#include "recovery/tools/notice_command.h"

#include <algorithm>
#include <memory>
#include <string>

#include "recovery/supervisor/notice_source.h"
#include "recovery/supervisor/state_file.h"
#include "recovery/supervisor/wall_time.h"

namespace tessera::recovery::tools {
namespace {

struct Options {
  std::string state;
  std::string node;
  double in_s = 0;
  bool back = false;
};

Status run(const Options& options) {
  const SupervisorState state = TS_TRY(read_supervisor_state(options.state + "/supervisor.json"));
  if (std::ranges::find(state.membership.nodes, options.node, &Node::name) == state.membership.nodes.end()) {
    return bad_input({"--node", "", options.node, "a node of the job", "tessera-run status lists them"});
  }
  const auto now = wall_time();
  const Time until = now + Time(static_cast<std::int64_t>(options.in_s * 1000));
  return leave_notice(options.state, options.node, options.back ? NodeNotice() : NodeNotice(until));
}

}  // namespace

tessera::tools::Command add_notice_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("notice", "a node will be taken away, or is back");
  app->add_option("--state", options->state, "the job's directory")->required()->type_name("DIR");
  app->add_option("--node", options->node, "the node's name in cluster.json")->required()->type_name("NAME");
  CLI::Option* in = app->add_option("--in", options->in_s, "seconds until it is taken")
                        ->check(CLI::Range(0.0, 1e6))
                        ->capture_default_str();
  app->add_flag("--back", options->back, "it is there again")->excludes(in);
  return {app, [options] { return run(*options); }};
}

}  // namespace tessera::recovery::tools
