#include "planner/tools/plan_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "planner/tools/cluster_picture.h"
#include "planner/tools/html_page.h"
#include "planner/tools/memory_picture.h"
#include "planner/tools/svg.h"
#include "planner/tools/text_table.h"
#include "planner/tools/timeline_picture.h"

namespace tessera::planner::tools {
namespace {

std::string duration(double seconds) {
  if (seconds == 0) return "0 s";
  if (seconds < 1e-3) return fmt::format("{:.3g} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  return seconds < 120 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.1f} min", seconds / 60);
}

/// 12345678 as 12.3 M.
std::string count(double value) {
  constexpr std::pair<double, const char*> kUnits[] = {{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " k"}};
  for (const auto& [unit, letter] : kUnits) {
    if (value >= unit) return fmt::format("{:.3g}{}", value / unit, letter);
  }
  return fmt::format("{:.3g}", value);
}

std::string gigabytes(double bytes) { return fmt::format("{:.1f}", bytes / 1e9); }
std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string dollars(const std::optional<double>& usd) {
  return usd ? fmt::format("${:.3f}", *usd) : std::string("unknown");
}

/// "a[0-3]", "a[0,2] b[1]": the devices of a stage.
std::string devices_text(const Plan& plan, const Stage& stage) {
  std::map<int, std::vector<int>> by_node;
  for (const DeviceSlot& slot : stage.devices) by_node[slot.node].push_back(slot.device);
  std::string out;
  for (auto& [node, devices] : by_node) {
    std::ranges::sort(devices);
    std::string list;
    for (std::size_t i = 0; i < devices.size();) {
      std::size_t end = i;
      while (end + 1 < devices.size() && devices[end + 1] == devices[end] + 1) ++end;
      list += (list.empty() ? "" : ",") + std::to_string(devices[i]);
      if (end > i) list += "-" + std::to_string(devices[end]);
      i = end + 1;
    }
    out += fmt::format("{}{}[{}]", out.empty() ? "" : " ", plan.nodes[static_cast<std::size_t>(node)].name,
                       list);
  }
  return out;
}

std::string recompute_text(const Stage& stage) {
  std::map<Recompute, int> counts;
  for (const Recompute recompute : stage.recompute) ++counts[recompute];
  if (counts.size() == 1) return recompute_name(counts.begin()->first);
  std::string out;
  for (const auto& [recompute, layers] : counts) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", layers, recompute_name(recompute));
  }
  return out;
}

const std::string& type_name(const Plan& plan, const Stage& stage) {
  return plan.nodes[static_cast<std::size_t>(stage.devices[0].node)].device;
}

/// Equal but for the devices' numbers.
bool alike(const Plan& plan, const DeviceGroup& a, const DeviceGroup& b) {
  if (a.micro_batches != b.micro_batches || a.stages.size() != b.stages.size()) return false;
  for (std::size_t s = 0; s < a.stages.size(); ++s) {
    const Stage& x = a.stages[s];
    const Stage& y = b.stages[s];
    if (type_name(plan, x) != type_name(plan, y) || x.layers != y.layers || x.recompute != y.recompute ||
        x.expected.forward_s != y.expected.forward_s) {
      return false;
    }
  }
  return true;
}

struct GroupClass {
  std::size_t group = 0;  // the first of them
  std::vector<std::size_t> members;
};

std::vector<GroupClass> group_classes(const Plan& plan) {
  std::vector<GroupClass> classes;
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    const auto same = std::ranges::find_if(
        classes, [&](const GroupClass& c) { return alike(plan, plan.groups[c.group], plan.groups[g]); });
    if (same == classes.end()) {
      classes.push_back({g, {g}});
    } else {
      same->members.push_back(g);
    }
  }
  return classes;
}

TextTable stage_table(const PlanReport& report) {
  TextTable table({"<group", "<stage", "<devices", "<on", "<layers", "<recompute", "micro-batches", "forward",
                   "backward", "peak GB", "of GB", "free", "busy"});
  for (const GroupClass& same : group_classes(report.plan)) {
    const DeviceGroup& group = report.plan.groups[same.group];
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      const Stage& stage = group.stages[s];
      const double peak = report.simulation.memory[same.group][s].peak_bytes;
      const double there = stage.expected.capacity_bytes;
      const bool first = s == 0;
      table.row(
          {first ? (same.members.size() == 1 ? std::to_string(same.group)
                                             : fmt::format("{} × {}", same.group, same.members.size()))
                 : "",
           std::to_string(s), fmt::format("{} × {}", stage.devices.size(), type_name(report.plan, stage)),
           devices_text(report.plan, stage),
           fmt::format("{}-{} ({})", stage.first_layer, stage.first_layer + stage.layers - 1, stage.layers),
           recompute_text(stage), first ? std::to_string(group.micro_batches) : "",
           duration(stage.expected.forward_s), duration(stage.expected.backward_s), gigabytes(peak),
           gigabytes(there), there > 0 ? fmt::format("{:.0f} %", 100 * (1 - peak / there)) : "",
           fmt::format("{:.0f} %", 100 * report.simulation.timeline.busy_s[same.group][s] /
                                       report.simulation.timeline.pipeline_s)});
    }
  }
  return table;
}

TextTable node_table(const PlanReport& report) {
  TextTable table({"<node", "used", "optimizer state GB", "back from peers", "from the object store"});
  constexpr std::size_t kShown = 12;
  for (std::size_t n = 0; n < std::min(kShown, report.metrics.nodes.size()); ++n) {
    const NodeMetrics& node = report.metrics.nodes[n];
    const bool used = node.used_devices > 0;
    table.row({node.name, fmt::format("{} of {}", node.used_devices, node.devices),
               gigabytes(node.state_bytes),
               used && node.recovery_peers_s ? duration(*node.recovery_peers_s) : "-",
               used ? duration(node.recovery_cloud_s) : "-"});
  }
  if (report.metrics.nodes.size() > kShown) {
    table.row({fmt::format("and {} more", report.metrics.nodes.size() - kShown), "", "", "", ""});
  }
  return table;
}

TextTable comparison_table(const PlanReport& report, const std::vector<Comparison>& others) {
  TextTable table({"<plan", "step", "tokens/s", "this plan is", "<shape"});
  const double own = report.simulation.timeline.iteration_s;
  table.row({"this", duration(own), count(report.metrics.tokens_per_s), "", shape_text(report.plan)});
  for (const Comparison& other : others) {
    if (!other.problem.empty()) {
      table.row({other.name, "-", "-", "", other.problem});
    } else {
      table.row({other.name, duration(other.iteration_s), count(other.tokens_per_s),
                 fmt::format("{:.2f} × as fast", other.iteration_s / own), other.what});
    }
  }
  return table;
}

std::string job_text(const PlanReport& report) {
  const Plan& plan = report.plan;
  return fmt::format("{} parameters in {} layers · {} sequences of {} tokens per step · {}",
                     count(static_cast<double>(plan.parameters)), plan.layers, plan.global_batch,
                     plan.sequence_length, precision_name(plan.precision));
}

std::string step_text(const PlanReport& report) {
  const sim::Timeline& timeline = report.simulation.timeline;
  return fmt::format("{} = pipeline {} + exposed reduction {} + update {} + exposed gather {}",
                     duration(timeline.iteration_s), duration(timeline.pipeline_s),
                     duration(timeline.reduce_exposed_s), duration(timeline.update_s),
                     duration(timeline.gather_exposed_s));
}

std::string bound_text(const PlanReport& report) {
  const PlanExpectation& expected = report.plan.expected;
  std::string out = fmt::format("analytic {}", duration(report.simulation.estimate.iteration_s));
  if (expected.lower_bound_s > 0) {
    out += fmt::format(", no plan of the searched space below {}, gap {}, {} plans evaluated",
                       duration(expected.lower_bound_s), percent(expected.gap), expected.evaluated);
  }
  return out;
}

std::string price_text(const PlanReport& report) {
  const PlanMetrics& m = report.metrics;
  std::string out = fmt::format("{} per million tokens on demand, {} spot", dollars(m.usd_per_million_tokens),
                                dollars(m.spot_usd_per_million_tokens));
  if (!m.unpriced.empty()) {
    out += fmt::format(" (no price for {}{})", m.unpriced[0],
                       m.unpriced.size() > 1 ? fmt::format(" and {} more", m.unpriced.size() - 1) : "");
  }
  return out;
}

std::string recovery_text(const RecoveryAssumptions& assumptions) {
  return fmt::format(
      "one node lost: {} to notice, {} to restart, then its state through its NIC, or {:.3g} GB/s "
      "from the object store",
      duration(assumptions.detect_s), duration(assumptions.restart_s), assumptions.cloud_bytes_per_s / 1e9);
}

std::vector<MemoryBar> memory_bars(const PlanReport& report) {
  std::vector<MemoryBar> bars;
  for (const GroupClass& same : group_classes(report.plan)) {
    const DeviceGroup& group = report.plan.groups[same.group];
    for (std::size_t s = 0; s < group.stages.size(); ++s) {
      const StageExpectation& e = group.stages[s].expected;
      const double in_flight = static_cast<double>(
          std::min<std::int64_t>(static_cast<std::int64_t>(group.stages.size() - s), group.micro_batches));
      const std::string copies = same.members.size() > 1 ? fmt::format(" (× {})", same.members.size()) : "";
      bars.push_back({fmt::format("group {}{} stage {} · {}", same.group, copies, s,
                                  type_name(report.plan, group.stages[s])),
                      e.static_bytes, in_flight * e.activation_bytes, e.workspace_bytes, e.capacity_bytes});
    }
  }
  return bars;
}

std::vector<NodeBox> node_boxes(const PlanReport& report, const CostModel& cost) {
  std::vector<NodeBox> boxes;
  for (const NodeSpec& node : cost.cluster().nodes) {
    boxes.push_back({node.name, fmt::format("{} × {}", node.devices, cost.cluster().type_of(node).name),
                     std::vector<DeviceBox>(static_cast<std::size_t>(node.devices))});
  }
  for (std::size_t g = 0; g < report.plan.groups.size(); ++g) {
    const std::vector<Stage>& stages = report.plan.groups[g].stages;
    for (std::size_t s = 0; s < stages.size(); ++s) {
      for (const DeviceSlot& slot : stages[s].devices) {
        boxes[static_cast<std::size_t>(slot.node)].devices[static_cast<std::size_t>(slot.device)] = {
            static_cast<int>(g), static_cast<int>(s)};
      }
    }
  }
  return boxes;
}

std::string card(const std::string& value, const std::string& label) {
  return fmt::format("<div class=\"card\"><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(label));
}

std::string key(const std::string& css, const std::string& label) {
  return fmt::format("<span class=\"key\" style=\"background: var(--{})\"></span>{}", css, label);
}

}  // namespace

std::string shape_text(const Plan& plan) {
  std::size_t least = plan.groups[0].stages.size();
  std::size_t most = least;
  for (const DeviceGroup& group : plan.groups) {
    least = std::min(least, group.stages.size());
    most = std::max(most, group.stages.size());
  }
  const std::string stages = least == most ? std::to_string(least) : fmt::format("{} to {}", least, most);
  return fmt::format("tensor {}, {}{} group{} of {} stage{}, micro-batch {}", plan.tensor_parallel,
                     plan.context.ranks() > 1 ? "mesh " + runtime::to_string(plan.context) + ", " : "",
                     plan.groups.size(), plan.groups.size() == 1 ? "" : "s", stages, most == 1 ? "" : "s",
                     plan.micro_batch);
}

PlanReport make_report(const Plan& plan, const CostModel& cost, const RecoveryAssumptions& assumptions) {
  PlanReport report{plan, sim::simulate_plan(plan, cost), {}, assumptions};
  set_expectations(report.plan, report.simulation.estimate);
  report.metrics = plan_metrics(report.plan, cost, report.simulation, assumptions);
  return report;
}

std::string report_text(const PlanReport& report, const CostModel& /*cost*/,
                        const std::vector<Comparison>& others) {
  const PlanMetrics& m = report.metrics;
  std::string out = job_text(report) + "\n";
  int devices = 0;
  for (const NodeMetrics& node : m.nodes) devices += node.devices;
  out += fmt::format("{} of {} devices · {}\n\n", m.used_devices, devices, shape_text(report.plan));
  out += stage_table(report).text() + "\n";
  out += fmt::format("step        {}\n            {}\n", step_text(report), bound_text(report));
  out += fmt::format("throughput  {} tokens/s · MFU {} · bubble {}\n", count(m.tokens_per_s), percent(m.mfu),
                     percent(m.bubble));
  out += fmt::format("price       {}\n", price_text(report));
  out += fmt::format("recovery    {}\n", recovery_text(report.assumptions));
  out += node_table(report).text();
  if (!others.empty()) out += "\n" + comparison_table(report, others).text();
  return out;
}

nlohmann::ordered_json report_json(const PlanReport& report) {
  const sim::Timeline& timeline = report.simulation.timeline;
  const PlanMetrics& m = report.metrics;
  const auto optional = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json out;
  out["iteration_s"] = timeline.iteration_s;
  out["pipeline_s"] = timeline.pipeline_s;
  out["exposed_reduction_s"] = timeline.reduce_exposed_s;
  out["update_s"] = timeline.update_s;
  out["exposed_gather_s"] = timeline.gather_exposed_s;
  double reduction = 0;
  for (const sim::Segment& segment : report.simulation.iteration.segments)
    reduction += segment.reduce.seconds;
  out["reduction_s"] = reduction;
  out["analytic_s"] = report.simulation.estimate.iteration_s;
  out["lower_bound_s"] = report.plan.expected.lower_bound_s;
  out["gap"] = report.plan.expected.gap;
  out["evaluated"] = report.plan.expected.evaluated;
  out["tokens_per_s"] = m.tokens_per_s;
  out["mfu"] = m.mfu;
  out["bubble"] = m.bubble;
  out["used_devices"] = m.used_devices;
  out["usd_per_million_tokens"] = optional(m.usd_per_million_tokens);
  out["spot_usd_per_million_tokens"] = optional(m.spot_usd_per_million_tokens);
  double peak = 0;
  for (std::size_t g = 0; g < report.plan.groups.size(); ++g) {
    for (std::size_t s = 0; s < report.plan.groups[g].stages.size(); ++s) {
      const Stage& stage = report.plan.groups[g].stages[s];
      const double bytes = report.simulation.memory[g][s].peak_bytes;
      peak = std::max(peak, bytes);
      out["stages"].push_back({{"group", g},
                               {"stage", s},
                               {"device", type_name(report.plan, stage)},
                               {"first_layer", stage.first_layer},
                               {"layers", stage.layers},
                               {"forward_s", stage.expected.forward_s},
                               {"backward_s", stage.expected.backward_s},
                               {"send_activation_s", stage.expected.send_activation_s},
                               {"send_gradient_s", stage.expected.send_gradient_s},
                               {"peak_bytes", bytes},
                               {"capacity_bytes", stage.expected.capacity_bytes}});
    }
  }
  out["peak_bytes"] = peak;
  for (const NodeMetrics& node : m.nodes) {
    out["nodes"].push_back({{"name", node.name},
                            {"used_devices", node.used_devices},
                            {"state_bytes", node.state_bytes},
                            {"recovery_peers_s", optional(node.recovery_peers_s)},
                            {"recovery_cloud_s", node.recovery_cloud_s}});
  }
  return out;
}

std::string report_html(const PlanReport& report, const CostModel& cost,
                        const std::vector<Comparison>& others) {
  const PlanMetrics& m = report.metrics;
  std::string body = "<h1>Training plan</h1>\n";
  body += fmt::format("<p class=\"soft\">{} · {}</p>\n", escaped(job_text(report)),
                      escaped(shape_text(report.plan)));
  body += "<div class=\"cards\">\n";
  body += card(duration(report.simulation.timeline.iteration_s), "per step");
  body += card(count(m.tokens_per_s), "tokens per second");
  body += card(percent(m.mfu), "model FLOPs utilisation");
  body += card(percent(m.bubble), "bubble");
  body += card(dollars(m.usd_per_million_tokens), "per million tokens, on demand");
  body += card(dollars(m.spot_usd_per_million_tokens), "per million tokens, spot");
  if (report.plan.expected.lower_bound_s > 0)
    body += card(percent(report.plan.expected.gap), "gap to the lower bound");
  body += "</div>\n";
  body += "<h2>Devices</h2>\n" + cluster_picture(node_boxes(report, cost));
  body += "<p class=\"soft\">Each square is a device: group.stage. Dashed squares are idle.</p>\n";
  body += "<h2>Stages</h2>\n" + stage_table(report).html();
  body += "<h2>One step</h2>\n" + timeline_picture(report.simulation.iteration, report.simulation.timeline);
  body +=
      fmt::format("<p class=\"soft\">{}{}{}{}{}{}{}</p>\n", key("forward", "forward"),
                  key("backward", "backward"), key("busy", "both, too narrow to draw"), key("send", "send"),
                  key("reduce", "reduction"), key("update", "update"), key("gather", "gather"));
  body += fmt::format("<p>{}</p>\n<p class=\"soft\">{}</p>\n", escaped(step_text(report)),
                      escaped(bound_text(report)));
  body += "<h2>Memory per device at its fullest</h2>\n" + memory_picture(memory_bars(report));
  body += fmt::format("<p class=\"soft\">{}{}{}{}</p>\n", key("static", "weights, gradients, optimizer"),
                      key("activation", "activations in flight"), key("workspace", "workspace"),
                      key("bad", "what the job may use"));
  if (!others.empty()) body += "<h2>Other plans</h2>\n" + comparison_table(report, others).html();
  body += "<h2>Losing a node</h2>\n" + node_table(report).html();
  body += fmt::format("<p class=\"soft\">{}</p>\n<p class=\"soft\">{}</p>\n",
                      escaped(recovery_text(report.assumptions)), escaped(price_text(report)));
  return html_page("Training plan", body);
}

}  // namespace tessera::planner::tools
