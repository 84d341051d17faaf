#include "runtime/profile/machine_profile.h"

#include <algorithm>
#include <array>
#include <unistd.h>
#include <utility>

#include <climits>
#include <fmt/format.h>

#include "kernels/device/buffer.h"
#include "runtime/comm/collectives.h"
#include "runtime/model/model_slice.h"
#include "runtime/train/machine_memory.h"

namespace tessera::runtime {
namespace {

std::vector<std::string> gather_hosts(Communicator& world) {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  const std::string mine = name.data();
  std::vector<std::string> hosts;
  for (const auto& bytes : all_gather_bytes(world, as_bytes(mine.data(), std::ssize(mine)))) {
    hosts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return hosts;
}

/// What a process holds beside buffers: code, MPI, its shared segments. The most of any rank.
double base_bytes(Communicator& world) {
  const auto beside = peak_resident_bytes() - kernels::host_memory_use().peak_bytes;
  std::array<double, 1> most = {static_cast<double>(std::max<std::int64_t>(beside, 0))};
  all_reduce(world, most, Reduction::kMax);
  return most[0];
}

}  // namespace

Result<MachineProfile> profile_machine(Communicator& world, const ProfileQuestion& question,
                                       const Clock& clock) {
  // Before the first measurement, which may take minutes.
  for (const int t : question.tensor_parallel) TS_TRY(check_tensor_ranks(question.model, t));
  MachineProfile out;
  planner::DeviceProfile& device = out.profile.devices[question.device];
  for (const int t : question.tensor_parallel) {
    for (const std::int64_t b : question.micro_batch) {
      for (const planner::Recompute recompute : question.recompute) {
        LayerQuestion layer{question.model,
                            t,
                            b,
                            question.sequence_length,
                            recompute,
                            question.rounds,
                            question.round_s,
                            question.threads,
                            question.speed};
        LayerProfile found = TS_TRY(profile_layers(world, layer, clock));
        device.layers.insert(device.layers.end(), found.rows.begin(), found.rows.end());
        out.measurements.insert(out.measurements.end(), found.measurements.begin(), found.measurements.end());
      }
    }
  }
  if (question.links && world.size() > 1) {
    LinkQuestion link;
    link.rounds = question.rounds;
    link.hosts = gather_hosts(world);
    MachineLinks found = profile_links(world, link, clock);
    if (question.plays_nodes) {
      found.links.inter = found.links.intra;
      const std::vector<planner::CollectiveProfile> inside = found.collectives;
      for (planner::CollectiveProfile row : inside) {
        row.nodes = 2;
        found.collectives.push_back(row);
      }
    }
    out.profile.links[question.device] = found.links;
    for (planner::CollectiveProfile& row : found.collectives) {
      row.device = question.device;
      out.profile.collectives.push_back(row);
    }
    out.measurements.insert(out.measurements.end(), found.measurements.begin(), found.measurements.end());
  }
  device.base_bytes = base_bytes(world);
  return out;
}

std::string to_text(const std::vector<Measurement>& measurements) {
  std::string text = fmt::format("{:<58} {:>12} {:>8} {:>8}\n", "quantity", "median", "spread", "samples");
  for (const Measurement& m : measurements) {
    text += fmt::format("{:<58} {:>9.3f} ms {:>6.1f} % {:>8}\n", m.name, 1e3 * m.median, 100 * m.spread,
                        m.samples);
  }
  return text;
}

}  // namespace tessera::runtime
