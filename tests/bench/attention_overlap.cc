// How much of Mesh-Attention's transfers computation hides. Prints, per shape, pass and rank, the time of a
// call, of its kernels and sums, of its transfers (posted to seen complete, summed), and of what had to be
// waited for: the part of the transfers that computation did not hide.
//
//   scripts/launch/local.sh -np 4 build/mpi/bin/attention-overlap [tokens] [heads] [kv_heads] [head_dim]
//
// Every flat mesh on as many ranks as there are, and head-parallel ones with the heads in 1, 2 and 4 pieces.
// The median of the calls by total time, after two to warm up.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "algos/base/clock.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/mpi_comm.h"

namespace tessera::runtime {
namespace {

constexpr std::size_t kCalls = 7;
constexpr std::size_t kWarmUp = 2;

AttentionTimes median(std::vector<AttentionTimes> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end(),
                   [](const auto& x, const auto& y) { return x.total_s < y.total_s; });
  return *middle;
}

void print(Communicator& comm, const AttentionConfig& config, const char* pass, const AttentionTimes& mine) {
  const std::array<double, 4> row = {mine.total_s, mine.compute_s, mine.transfer_s, mine.exposed_wait_s};
  const auto all = all_gather_bytes(comm, std::as_bytes(std::span(row)));
  if (comm.rank().value != 0) return;
  for (std::size_t r = 0; r < all.size(); ++r) {
    std::array<double, 4> t{};
    std::copy(all[r].begin(), all[r].end(), std::as_writable_bytes(std::span(t)).begin());
    fmt::print("| {} | {} | {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", to_string(config.shape),
               config.head_pieces, pass, r, 1e3 * t[0], 1e3 * t[1], 1e3 * t[2], 1e3 * t[3]);
  }
  (void)std::fflush(stdout);
}

void measure(Communicator& comm, const MeshShape& shape, const AttentionDims& dims, int pieces = 1) {
  AttentionConfig config;
  config.dims = dims;
  config.shape = shape;
  config.head_pieces = pieces;
  const SystemClock clock;
  auto made = MeshAttention::make(comm, config, clock);
  if (!made.ok()) {
    if (comm.rank().value == 0) fmt::print("{}: {}\n", to_string(shape), made.status().message());
    return;
  }
  MeshAttention& attention = *made.value();
  const auto tokens = static_cast<std::int64_t>(attention.positions().size());
  const auto tensor = [&](int heads, float value) {
    return std::vector<float>(static_cast<std::size_t>(dims.batch * tokens * heads * dims.head_dim), value);
  };
  const auto q = tensor(dims.heads, 0.1F);
  const auto k = tensor(dims.kv_heads, 0.2F);
  const auto v = tensor(dims.kv_heads, 0.3F);
  const auto d_o = tensor(dims.heads, 0.4F);
  auto o = tensor(dims.heads, 0);
  auto dq = o;
  auto dk = k;
  auto dv = v;
  std::vector<float> lse(static_cast<std::size_t>(dims.batch * tokens * dims.heads));
  std::vector<AttentionTimes> forward;
  std::vector<AttentionTimes> backward;
  for (std::size_t call = 0; call < kWarmUp + kCalls; ++call) {
    barrier(comm);
    attention.forward(q.data(), k.data(), v.data(), o.data(), lse.data(), {});
    const AttentionTimes f = attention.last_times();
    barrier(comm);
    attention.backward(q.data(), k.data(), v.data(), o.data(), lse.data(), d_o.data(), dq.data(), dk.data(),
                       dv.data(), {});
    if (call < kWarmUp) continue;
    forward.push_back(f);
    backward.push_back(attention.last_times());
  }
  print(comm, config, "forward", median(forward));
  print(comm, config, "backward", median(backward));
}

}  // namespace
}  // namespace tessera::runtime

int main(int argc, char** argv) {
  using namespace tessera::runtime;
  const MpiEnvironment mpi(argc, argv);
  const auto comm = make_mpi_world();
  const auto argument = [&](int i, int otherwise) { return i < argc ? std::atoi(argv[i]) : otherwise; };
  const AttentionDims dims{1, argument(1, 4096), argument(2, 8), argument(3, 8), argument(4, 64)};
  try {
    if (comm->rank().value == 0) {
      fmt::print(
          "| shape | pieces | pass | rank | call ms | compute ms | transfers ms | exposed wait ms |\n");
      fmt::print("|---|---|---|---|---|---|---|---|\n");
    }
    for (const MeshShape& shape : all_meshes(comm->size())) measure(*comm, shape, dims);
    for (int u = 2; u <= comm->size(); ++u) {
      if (comm->size() % u != 0 || dims.kv_heads % u != 0) continue;
      for (int pieces = 1; dims.kv_heads / u % pieces == 0 && pieces <= 4; pieces *= 2) {
        measure(*comm, {u, {1, 1}, {1, comm->size() / u}}, dims, pieces);
      }
    }
  } catch (const std::exception& error) {
    comm->abort(error.what());
  }
  return 0;
}
