#include "recovery/tools/run_command.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <netdb.h>
#include <unistd.h>

#include <climits>
#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "planner/spec/json_object.h"
#include "planner/spec/nearest_name.h"
#include "recovery/supervisor/supervisor.h"
#include "recovery/tools/train_flags.h"

namespace tessera::recovery::tools {
namespace {

namespace fs = std::filesystem;

std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

struct Options {
  std::string cluster;
  std::string model;
  std::string train;
  std::string state;
  std::string profile;
  std::vector<std::string> spares;
  std::vector<std::string> on_demand;
  std::string launch = "auto";
  std::string mpirun = "mpirun";
  std::string train_program;
  std::string plan_program;
  std::string probe;
  std::string order;
  std::string notices = "none";
  std::string metadata_address;
  std::string node;
  double hang_after_s = HangPolicy().least_s;
  double hang_factor = HangPolicy().factor;
  double quiet_limit_s = HangPolicy().quiet_s;
  double suspicion_s = 10;
  double start_limit_s = 600;
  double save_limit_s = 120;
  double first_delay_s = 1;
  double greatest_delay_s = 60;
  double crash_window_s = 600;
  int crash_limit = Policy().limit;
  double restart_cost_s = Policy().restart_cost_s;
  double plan_limit_s = 60;
  double probe_interval_s = 10;
  double poll_s = 0.1;
  bool quiet = false;
  CLI::App* app = nullptr;
};

Time milliseconds(double seconds) { return Time(static_cast<std::int64_t>(seconds * 1000)); }

Status missing(const char* flag, const char* what) {
  return bad_input({flag, "", "nothing", what, "tessera-run --help shows an example"});
}

/// The program of that name beside this one, else by PATH.
std::string beside(const std::string& given, const std::string& name) {
  if (!given.empty()) return given;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path neighbour = self.parent_path() / name;
  return !error && fs::exists(neighbour, error) ? neighbour.string() : name;
}

std::string own_host() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

bool resolves(const std::string& host) {
  addrinfo* found = nullptr;
  const bool known = getaddrinfo(host.c_str(), nullptr, nullptr, &found) == 0;
  if (known) freeaddrinfo(found);
  return known;
}

Result<NodeSet> numbers_of(const std::vector<std::string>& names, const planner::ClusterSpec& cluster,
                           const char* flag) {
  NodeSet set;
  std::vector<std::string> known;
  for (const planner::NodeSpec& node : cluster.nodes) known.push_back(node.name);
  for (const std::string& name : names) {
    const auto at = std::ranges::find(known, name);
    if (at == known.end()) {
      const std::string nearest = planner::nearest_name(name, known);
      return bad_input(
          {flag, "", name, "a node of the cluster",
           nearest.empty() ? "tessera-plan shows their names" : "did you mean " + nearest + "?"});
    }
    set.push_back(static_cast<int>(at - known.begin()));
  }
  std::ranges::sort(set);
  return set;
}

/// Hosts of the allocation that this process runs in.
Result<std::vector<std::string>> slurm_hosts(const std::string& list) {
  const std::string command = "scontrol show hostnames '" + list + "'";
  const bool plain = list.find('\'') == std::string::npos;
  std::FILE* pipe = plain ? popen(command.c_str(), "r") : nullptr;
  std::string text;
  std::array<char, 4096> buffer{};
  while (pipe != nullptr && std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) text += buffer.data();
  if (pipe == nullptr || pclose(pipe) != 0 || text.empty()) {
    return bad_input({"SLURM_JOB_NODELIST", "", list, "a list that `scontrol show hostnames` expands",
                      "is scontrol in PATH? --launch hosts does without it"});
  }
  return parse_host_names(text);
}

Status set_launch(const Options& options, SupervisorSetup& setup) {
  std::string mode = options.launch;
  const char* allocation = std::getenv("SLURM_JOB_NODELIST");
  const auto& nodes = setup.cluster.nodes;
  if (mode == "auto") {
    const auto named = std::ranges::count_if(nodes, [](const auto& node) { return resolves(node.name); });
    if (allocation != nullptr) {
      mode = "slurm";
    } else if (nodes.size() == 1 || named == 0) {
      mode = "local";
    } else if (named == std::ssize(nodes)) {
      mode = "hosts";
    } else {
      return bad_input({"--cluster", "nodes", fmt::format("{} of {} names are hosts", named, nodes.size()),
                        "all of them, or none where one machine plays them all",
                        "correct the names, or say --launch local or --launch hosts"});
    }
  }
  setup.mode = mode == "local" ? LaunchMode::kLocal : LaunchMode::kHosts;
  if (mode == "slurm") {
    if (allocation == nullptr)
      return missing("SLURM_JOB_NODELIST", "the variable that Slurm sets in an allocation");
    const std::vector<std::string> hosts = TS_TRY(slurm_hosts(allocation));
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      if (std::ranges::find(hosts, nodes[n].name) == hosts.end()) setup.absent.push_back(static_cast<int>(n));
    }
    if (setup.absent.size() == nodes.size()) {
      return bad_input({"SLURM_JOB_NODELIST", "", allocation, "nodes of --cluster",
                        "name the nodes of cluster.json as Slurm names them"});
    }
  }
  if (setup.mode == LaunchMode::kHosts && setup.probe.empty()) {
    const char* agent = std::getenv("OMPI_MCA_plm_rsh_agent");
    setup.probe = mode == "slurm"    ? split_words("srun --overlap --nodes=1 --ntasks=1 --nodelist={} true")
                  : agent != nullptr ? split_words(std::string(agent) + " {} true")
                                     : split_words("ssh -o BatchMode=yes -o ConnectTimeout=5 {} true");
  }
  return {};
}

Result<SupervisorSetup> make_setup(const Options& options, const std::vector<std::string>& train_flags) {
  if (options.state.empty()) return missing("--state", "a directory for the job's state");
  if (options.cluster.empty()) return missing("--cluster", "a cluster.json");
  SupervisorSetup setup;
  setup.state = fs::absolute(options.state).lexically_normal().string();
  setup.cluster = TS_TRY(planner::read_cluster_spec(options.cluster));
  const TrainSettings settings =
      TS_TRY(train_settings(options.train, options.model, train_flags, setup.state));
  if (settings.spec.model.empty()) return missing("--model", "a config.json, or a directory with one");
  setup.spares = TS_TRY(numbers_of(options.spares, setup.cluster, "--spare"));
  setup.on_demand = TS_TRY(numbers_of(options.on_demand, setup.cluster, "--on-demand"));
  const std::string& model = settings.spec.model;
  const std::string config = TS_TRY(planner::read_text_file(
      fs::is_directory(model) ? model + "/config.json" : model, "a model's config.json", "check --model"));

  setup.probe = split_words(options.probe);
  TS_TRY(set_launch(options, setup));
  setup.order = split_words(options.order);
  setup.mpirun = options.mpirun;
  const std::string train_json = setup.state + "/train.json";
  setup.train = {beside(options.train_program, "tessera-train"), "--config", train_json};
  setup.planner.program = beside(options.plan_program, "tessera-plan");
  setup.planner.arguments = {"--model",  model,          "--train",
                             train_json, "--time-limit", fmt::format("{}", options.plan_limit_s)};
  setup.planner.arguments.insert(setup.planner.arguments.end(), settings.plan_choice.begin(),
                                 settings.plan_choice.end());
  if (!options.profile.empty()) {
    setup.planner.arguments.insert(setup.planner.arguments.end(), {"--profile", options.profile});
    setup.planner.identity +=
        TS_TRY(planner::read_text_file(options.profile, "a profile.json", "check --profile"));
  }
  setup.planner.identity += config + planner::to_train_json(settings.spec);
  setup.planner.folder = setup.state + "/plans";
  setup.planner.limit_s = 2 * options.plan_limit_s + 60;

  setup.policy.suspicion = milliseconds(options.suspicion_s);
  setup.policy.start_limit = milliseconds(options.start_limit_s);
  setup.policy.save_limit = milliseconds(options.save_limit_s);
  setup.policy.first_delay = milliseconds(options.first_delay_s);
  setup.policy.greatest_delay = milliseconds(options.greatest_delay_s);
  setup.policy.window = milliseconds(options.crash_window_s);
  setup.policy.limit = options.crash_limit;
  setup.policy.restart_cost_s = options.restart_cost_s;
  setup.policy.order_nodes = !options.on_demand.empty();
  setup.policy.jitter_key = static_cast<std::uint64_t>(getpid());
  setup.hang = {options.hang_after_s, options.hang_factor, options.quiet_limit_s};
  setup.probe_interval_s = options.probe_interval_s;
  setup.poll_s = options.poll_s;
  setup.metadata.cloud = TS_TRY(parse_cloud(options.notices));
  setup.metadata.address = options.metadata_address;
  setup.own_node = options.node;
  if (setup.own_node.empty() && setup.mode == LaunchMode::kHosts) setup.own_node = own_host();
  const bool quiet = options.quiet;
  setup.tell = [quiet](const JournalEntry& entry) {
    if (!quiet) fmt::print("{}\n", to_text(entry));
    std::fflush(stdout);
  };
  std::error_code error;
  fs::create_directories(setup.state, error);
  if (error) return write_failure(setup.state, "the job's directory", error);
  TS_TRY(replace_durably(train_json, planner::to_train_json(settings.spec)));
  return setup;
}

void on_stop(int /*signal*/) { stop.store(true); }

Status run(const Options& options) {
  if (!options.app->get_subcommands().empty()) return {};  // that has run
  std::vector<std::string> train_flags = options.app->remaining();
  std::erase(train_flags, "--");
  SupervisorSetup setup = TS_TRY(make_setup(options, train_flags));
  const std::string where = setup.state;
  const auto supervisor = TS_TRY(Supervisor::open(std::move(setup)));
  for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, on_stop);
  const SupervisorEnd end = TS_TRY(supervisor->run(stop));
  if (end.state != JobState::kFailed) {
    if (!options.quiet) fmt::print("{}: {}\n", job_state_name(end.state), end.why);
    return {};
  }
  const std::string log = end.log.empty() ? "" : fmt::format("\n  log      {}", end.log);
  return {end.refused ? Code::kInvalidArgument : Code::kInternal,
          fmt::format("the job has failed: {}{}\n  journal  tessera-run journal --state {}", end.why, log,
                      where)};
}

}  // namespace

tessera::tools::Command add_run_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->app = &app;
  Options& o = *options;
  app.allow_extras();
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--cluster", o.cluster, "cluster.json: the nodes, spares and on-demand nodes too")
      ->type_name("FILE");
  app.add_option("--model", o.model, "config.json of a LlamaForCausalLM, or a directory")->type_name("PATH");
  app.add_option("--train", o.train, "train.json")->type_name("FILE");
  app.add_option("--state", o.state, "directory of the job, seen by every node; the same one goes on with it")
      ->type_name("DIR");
  app.add_option("--profile", o.profile, "profile.json, for the planner")->type_name("FILE");
  app.add_option("--spare", o.spares, "nodes that are kept for lost ones")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("NAME")
      ->delimiter(',');
  app.add_option("--on-demand", o.on_demand, "nodes that --order brings when too few are left")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("NAME")
      ->delimiter(',');
  app.add_option(
         "--launch", o.launch,
         "local: this machine plays all nodes; hosts: names are hosts; slurm: those of the allocation; "
         "auto: slurm in one, hosts if all names resolve, local if none does")
      ->check(CLI::IsMember({"auto", "local", "hosts", "slurm"}))
      ->capture_default_str();
  app.add_option("--mpirun", o.mpirun, "Open MPI's launcher")->capture_default_str();
  app.add_option("--train-program", o.train_program, "default: tessera-train beside this program");
  app.add_option("--plan-program", o.plan_program, "default: tessera-plan beside this program");
  app.add_option("--probe", o.probe, "command that succeeds when node {} lives; hosts: through ssh or srun");
  app.add_option("--order", o.order, "command that orders node {} from the on-demand pool");
  app.add_option("--notices", o.notices, "metadata service to ask for preemption notices: none, aws or gcp")
      ->capture_default_str();
  app.add_option("--metadata-address", o.metadata_address, "its address, instead of the cloud's own");
  app.add_option("--node", o.node,
                 "the node that this program runs on, for --notices; default: the host's name");
  const auto seconds_option = [&](const char* flag, double& value, const char* text) {
    app.add_option(flag, value, text)->check(CLI::Range(0.0, 1e9))->capture_default_str();
  };
  seconds_option("--hang-after", o.hang_after_s, "seconds without a heartbeat in training, at least");
  seconds_option("--hang-factor", o.hang_factor, "the same, times the median step");
  seconds_option("--quiet-limit", o.quiet_limit_s, "seconds without a heartbeat while restoring or saving");
  seconds_option("--suspicion", o.suspicion_s, "seconds until a suspected node is lost");
  seconds_option("--start-limit", o.start_limit_s, "seconds from a start to the first rank that trains");
  seconds_option("--save-limit", o.save_limit_s, "seconds to save and end");
  seconds_option("--first-delay", o.first_delay_s,
                 "seconds to wait after the second crash in a row; doubles");
  seconds_option("--greatest-delay", o.greatest_delay_s, "to at most so many seconds");
  seconds_option("--crash-window", o.crash_window_s, "seconds in which crashes without a saved step count");
  app.add_option("--crash-limit", o.crash_limit, "of them, before the job has failed")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  seconds_option("--restart-cost", o.restart_cost_s, "seconds that a returning node must save to be let in");
  seconds_option("--plan-time-limit", o.plan_limit_s, "seconds that the planner searches");
  seconds_option("--probe-interval", o.probe_interval_s, "seconds between probes");
  seconds_option("--poll", o.poll_s, "seconds between looks at processes and heartbeats");
  app.add_flag("--quiet", o.quiet, "decisions go to the journal only");
  app.footer(
      "  tessera-run --cluster cluster.json --model config.json --train train.json --state runs/job -- "
      "--steps 1000\n"
      "What follows -- are flags of tessera-train. SIGTERM saves and ends the job; the same command goes "
      "on.\n"
      "Exit status: 0 trained to the end or stopped as asked, 1 the job or the system failed, 2 wrong "
      "input.");
  return {&app, [options] { return run(*options); }};
}

}  // namespace tessera::recovery::tools
