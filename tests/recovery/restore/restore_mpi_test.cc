// Restores between processes: what threads cannot show is messages that are still moving when nobody asks.
#include <chrono>
#include <exception>

#include <gtest/gtest.h>

#include "runtime/comm/mpi_comm.h"
#include "tests/recovery/restore/restore_job.h"
#include "tests/support/expect_all_ranks.h"

namespace tessera::recovery {
namespace {

constexpr SnapshotId kStep{200, 1};

/// Every process makes the same job, and uses its own node's stores.
void restore_and_check(std::int64_t scale, std::int64_t window, bool cloud_only) {
  const auto comm = runtime::make_mpi_world();
  comm->set_deadline(std::chrono::seconds(60));
  try {
    const int ranks = comm->size();
    RestoreJob job(std::max(1, ranks - 1), scale);
    job.nodes.front()->ranks = ranks > 1 ? 2 : 1;  // which do not share a store here: each has a copy of it
    for (std::size_t n = 0; n < job.nodes.size(); ++n) {
      const int part = 1 + job.table.count() / static_cast<int>(job.nodes.size());
      const int begin = static_cast<int>(n) * part;
      job.save(job.nodes[n]->memory, "w", kStep, job.atoms(begin, std::min(begin + part, job.table.count())));
    }
    job.save(job.cloud, "w", kStep, job.all());
    const auto result = job.restore_one(*comm, [&](RestoreRequest& request, int) {
      request.window_bytes = window;
      request.cloud_only = cloud_only;
    });
    EXPECT_ALL_RANKS(*comm, result.outcome.status.ok()) << result.outcome.status.message();
    EXPECT_ALL_RANKS(*comm, result.fault.empty()) << result.fault;
    EXPECT_ALL_RANKS(*comm, cloud_only || result.outcome.report.bytes.cloud == 0);
  } catch (const std::exception& e) {
    comm->abort(e.what());
  }
}

TEST(RestoreMpi, SmallAtoms) { restore_and_check(1, std::int64_t{1} << 28, false); }
TEST(RestoreMpi, LargeAtoms) { restore_and_check(3000, std::int64_t{1} << 28, false); }
TEST(RestoreMpi, LargeAtomsOneAtATime) { restore_and_check(3000, 1, false); }
TEST(RestoreMpi, FromTheCloudAlone) { restore_and_check(100, 1 << 20, true); }

}  // namespace
}  // namespace tessera::recovery
