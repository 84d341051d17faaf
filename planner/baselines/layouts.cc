#include "planner/baselines/layouts.h"

#include <algorithm>
#include <functional>
#include <set>

namespace tessera::planner {
namespace {

constexpr std::size_t kAllOrders = 4;   // classes whose orders are all tried
constexpr std::size_t kAllChoices = 6;  // classes whose subsets are all tried

std::vector<std::vector<DeviceClass>> choices(const std::vector<DeviceClass>& classes, bool idle_types) {
  if (!idle_types) return {classes};
  std::vector<std::vector<DeviceClass>> out;
  if (classes.size() > kAllChoices) {
    for (const DeviceClass& one : classes) out.push_back({one});
    out.push_back(classes);
    return out;
  }
  for (unsigned mask = 1; mask < (1U << classes.size()); ++mask) {
    std::vector<DeviceClass>& choice = out.emplace_back();
    for (std::size_t k = 0; k < classes.size(); ++k) {
      if ((mask >> k & 1U) != 0) choice.push_back(classes[k]);
    }
  }
  return out;
}

/// `choice` is sorted.
std::vector<std::vector<DeviceClass>> orders(const CostModel& cost, std::vector<DeviceClass> choice) {
  std::vector<std::vector<DeviceClass>> out;
  if (choice.size() <= kAllOrders) {
    do {
      out.push_back(choice);
    } while (std::ranges::next_permutation(choice).found);
    return out;
  }
  const auto by = [&](const std::function<double(const DeviceClass&)>& key) {
    std::ranges::stable_sort(choice, {}, key);
    out.push_back(choice);
    out.emplace_back(choice.rbegin(), choice.rend());
  };
  const auto type = [&](const DeviceClass& device) -> const DeviceType& {
    return cost.cluster().types[static_cast<std::size_t>(device.type)];
  };
  by([&](const DeviceClass& device) { return type(device).peak_flops * device.speed; });
  by([&](const DeviceClass& device) { return type(device).memory_bytes; });
  return out;
}

}  // namespace

std::vector<std::vector<Unit>> unit_lists(const CostModel& cost, int devices, bool idle_types) {
  const int nodes = static_cast<int>(cost.cluster().nodes.size());
  std::set<DeviceClass> classes;
  for (int n = 0; n < nodes; ++n) classes.insert(cost.device_class(n));
  std::vector<std::vector<Unit>> lists;
  for (const auto& choice : choices({classes.begin(), classes.end()}, idle_types)) {
    for (const auto& order : orders(cost, choice)) {
      std::vector<Unit> list;
      for (const DeviceClass& device : order) {
        for (int n = 0; n < nodes; ++n) {
          if (cost.device_class(n) != device) continue;
          const int count = cost.cluster().nodes[static_cast<std::size_t>(n)].devices / devices;
          for (int u = 0; u < count; ++u) list.push_back({n, u * devices, device});
        }
      }
      if (!list.empty()) lists.push_back(std::move(list));
    }
  }
  return lists;
}

std::vector<std::vector<Unit>> place(const std::vector<Unit>& list, int groups, int depth,
                                     bool stages_outer) {
  std::vector<std::vector<Unit>> out(static_cast<std::size_t>(groups));
  for (int g = 0; g < groups; ++g) {
    for (int s = 0; s < depth; ++s) {
      out[static_cast<std::size_t>(g)].push_back(
          list[static_cast<std::size_t>(stages_outer ? s * groups + g : g * depth + s)]);
    }
  }
  return out;
}

}  // namespace tessera::planner
