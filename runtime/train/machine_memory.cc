#include "runtime/train/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>

#include <fmt/format.h>

namespace tessera::runtime {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The number after `name`, in the unit it has there; 0 when there is none.
std::int64_t number_after(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return 0;
  const std::size_t digits = text.find_first_of("0123456789", at + name.size());
  if (digits == std::string_view::npos) return 0;
  std::int64_t value = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), value);
  return value;
}

constexpr std::int64_t kKibi = 1024;
constexpr double kGiga = 1e9;

}  // namespace

std::int64_t parse_mem_total(std::string_view meminfo) { return kKibi * number_after(meminfo, "MemTotal:"); }

std::int64_t parse_cgroup_limit(std::string_view memory_max) {
  std::int64_t value = 0;
  std::from_chars(memory_max.data(), memory_max.data() + memory_max.size(), value);
  return std::max<std::int64_t>(value, 0);
}

std::int64_t machine_memory(const std::string& root) {
  const std::int64_t total = parse_mem_total(read_text(root + "/proc/meminfo"));
  const std::int64_t limit = parse_cgroup_limit(read_text(root + "/sys/fs/cgroup/memory.max"));
  return limit > 0 && (total == 0 || limit < total) ? limit : total;
}

std::int64_t peak_resident_bytes() { return kKibi * number_after(read_text("/proc/self/status"), "VmHWM:"); }

Status check_memory(const std::vector<RankMemory>& ranks, double tolerance) {
  struct Host {
    std::int64_t needed = 0;
    std::int64_t machine = 0;
    int ranks = 0;
  };
  std::map<std::string, Host> hosts;
  for (const RankMemory& rank : ranks) {
    Host& host = hosts[rank.host];
    host.needed += rank.needed;
    host.machine = rank.machine;
    ++host.ranks;
  }
  const auto load = [](const Host& host) {
    return host.machine > 0 ? static_cast<double>(host.needed) / static_cast<double>(host.machine) : 0.0;
  };
  const auto worst = std::ranges::max_element(
      hosts, {}, [&](const std::pair<const std::string, Host>& entry) { return load(entry.second); });
  if (worst == hosts.end() || load(worst->second) <= tolerance) return {};
  return bad_input(
      {.file = worst->first,
       .field = "memory",
       .found = fmt::format("a need of {:.2f} GB for {} ranks, estimated",
                            static_cast<double>(worst->second.needed) / kGiga, worst->second.ranks),
       .expected = fmt::format("at most the {:.2f} GB of the machine, or {:.0f} % above",
                               static_cast<double>(worst->second.machine) / kGiga, 100 * (tolerance - 1)),
       .remedy = "lower --micro-batch or --sequence-length, set --recompute on, use more machines, or "
                 "go on all the same with --memory-check off"});
}

}  // namespace tessera::runtime
