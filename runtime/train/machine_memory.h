/// How much memory the ranks of one machine may use together, and whether a run fits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::runtime {

/// MemTotal of a /proc/meminfo in bytes; 0 when it is not there.
[[nodiscard]] std::int64_t parse_mem_total(std::string_view meminfo);
/// Bytes of a cgroup's memory.max; 0 for "max" or anything that is no number: no limit.
[[nodiscard]] std::int64_t parse_cgroup_limit(std::string_view memory_max);

/// The machine's memory, or this process's cgroup limit where that is less; 0 when unknown. `root`: where
/// /proc and /sys lie, for tests.
[[nodiscard]] std::int64_t machine_memory(const std::string& root = "");

/// Most bytes this process ever had resident (VmHWM); 0 when unknown.
[[nodiscard]] std::int64_t peak_resident_bytes();

/// One rank's share of its machine.
struct RankMemory {
  std::string host;
  std::int64_t needed = 0;   // bytes
  std::int64_t machine = 0;  // bytes; 0: unknown
};

/// kInvalidArgument when the ranks of some host together need more than `tolerance` times what it has: names
/// the host that is furthest beyond, both sums, and what would lower the need.
[[nodiscard]] Status check_memory(const std::vector<RankMemory>& ranks, double tolerance = 1.1);

}  // namespace tessera::runtime
