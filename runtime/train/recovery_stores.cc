#include "runtime/train/recovery_stores.h"

#include <array>
#include <cstdlib>
#include <unistd.h>
#include <utility>

#include <climits>
#include <fmt/format.h>

#include "recovery/state/store_key.h"
#include "recovery/store/directory_store.h"
#include "recovery/store/memory_store.h"
#include "recovery/store/open_store.h"
#include "runtime/comm/collectives.h"

namespace tessera::runtime {
namespace {

Status check_name(const char* flag, const char* field, const std::string& name) {
  if (recovery::is_key_part(name)) return {};
  return bad_input({flag, field, name.empty() ? "nothing" : name,
                    "at most 255 letters, digits, '.', '_' and '-'", fmt::format("set {}", flag)});
}

}  // namespace

bool keeps_snapshots(const planner::TrainSpec& spec) {
  return !spec.recovery_memory.empty() || !spec.recovery_disk.empty() || !spec.recovery_cloud.empty();
}

std::string node_name(const planner::TrainSpec& spec) {
  if (!spec.node_name.empty()) return spec.node_name;
  const char* given = std::getenv("TESSERA_NODE");
  if (given != nullptr && *given != '\0') return given;
  std::array<char, HOST_NAME_MAX + 1> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

std::vector<std::string> gather_nodes(Communicator& world, const planner::TrainSpec& spec) {
  const std::string mine = node_name(spec);
  std::vector<std::string> nodes;
  for (const auto& bytes : all_gather_bytes(world, as_bytes(mine.data(), std::ssize(mine)))) {
    nodes.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return nodes;
}

std::string job_name(const planner::TrainSpec& spec, const recovery::RunIdentity& identity) {
  if (!spec.recovery_job.empty()) return spec.recovery_job;
  std::string text;
  for (const auto& [name, value] : identity) text += fmt::format("{}={}\n", name, value);
  return fmt::format("job-{:016x}", recovery::checksum(std::as_bytes(std::span(text))));
}

Result<RecoveryStores> open_recovery_stores(const planner::TrainSpec& spec,
                                            const recovery::RunIdentity& identity) {
  RecoveryStores stores;
  stores.job = job_name(spec, identity);
  stores.node = node_name(spec);
  TS_TRY(check_name("--recovery-job", "recovery_job", stores.job));
  TS_TRY(check_name("--node-name", "node_name", stores.node));
  if (!spec.recovery_memory.empty()) {
    constexpr std::int64_t kMega = 1000000;
    stores.memory = TS_TRY(recovery::MemoryStore::open(spec.recovery_memory + "/" + stores.node,
                                                       spec.recovery_memory_mb * kMega));
  }
  if (!spec.recovery_disk.empty()) {
    stores.disk = TS_TRY(recovery::DirectoryStore::open(spec.recovery_disk + "/" + stores.node));
  }
  if (!spec.recovery_cloud.empty()) {
    stores.cloud = TS_TRY(recovery::open_store(spec.recovery_cloud));
  }
  return stores;
}

}  // namespace tessera::runtime
