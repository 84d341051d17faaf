// Sources that are as slow as devices: what a restore takes against the bound of its plan. Times are those of
// links that sleep, so a busy machine adds little; the best of a few tries counts.
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/recovery/restore/restore_job.h"

namespace tessera::recovery {
namespace {

using ::testing::IsEmpty;

constexpr SnapshotId kStep{200, 1};
constexpr double kFast = 1e9;

struct Measured {
  double seconds = 1e9;
  double bound_s = 0;
  double serial_s = 0;  // the same bytes one source after the other
};

/// Restores a fresh job, again if something else held the machine up; the fastest.
template <class MakeAndRun>
Measured best_of(MakeAndRun run) {
  Measured best;
  for (int i = 0; i < 3; ++i) {
    const Measured now = run();
    if (now.seconds < best.seconds) best = now;
    if (best.seconds < 1.2 * best.bound_s) break;
  }
  std::printf("%.3f s, bound %.3f s, ratio %.3f; one source after the other %.3f s\n", best.seconds,
              best.bound_s, best.seconds / best.bound_s, best.serial_s);
  return best;
}

Measured measured(const RestoreJob::Outcome& outcome, double serial_s) {
  EXPECT_THAT(outcome.faults, IsEmpty());
  EXPECT_TRUE(outcome.of_rank_0.status.ok()) << outcome.of_rank_0.status.message();
  const RestoreReport& report = outcome.of_rank_0.report;
  return {report.seconds, report.plan.lower_bound_s, serial_s};
}

/// Node c's own disk, the memories of a and b, and the cloud each hold a part for c: all four at once.
TEST(RestoreSpeed, LocalPeersAndCloudAtTheSameTime) {
  const Measured best = best_of([] {
    RestoreJob job(3, 2000);
    const double third = static_cast<double>(job.table.total_bytes()) / 3;
    job.save(job.nodes[2]->disk, "w", kStep, job.atoms(0, 8));
    for (std::size_t n = 0; n < 2; ++n) {
      job.save(job.nodes[n]->memory, "w", kStep, job.atoms(8, 16));
      job.nodes[n]->needed = AtomSet(job.table.count());
    }
    job.save(job.cloud, "w", kStep, job.atoms(16, job.table.count()));
    job.nodes[2]->ranks = 2;
    for (int rank : {2, 3}) {
      job.rank_needs[rank] = AtomSet(job.table.count());
      for (int atom = rank % 2; atom < job.table.count(); atom += 2) job.rank_needs[rank].add(atom);
    }
    // About a second of each.
    NodeRates rates{kFast, third / 1.0, kFast, third / 2.0, third / 1.0};
    Link disk(rates.disk);
    Link cloud(rates.cloud);
    Link out_a(rates.nic_out);
    Link out_b(rates.nic_out);
    ShapedStore disk_c(job.nodes[2]->disk, {&disk});
    ShapedStore memory_a(job.nodes[0]->memory, {&out_a});
    ShapedStore memory_b(job.nodes[1]->memory, {&out_b});
    ShapedStore far(job.cloud, {&cloud});
    job.nodes[2]->disk_used = &disk_c;
    job.nodes[0]->memory_used = &memory_a;
    job.nodes[1]->memory_used = &memory_b;
    job.cloud_used = &far;
    return measured(job.restore_all([&](RestoreRequest& request, int) {
      request.rates = rates;
      request.cloud_total = rates.cloud;
    }),
                    3 * third / rates.disk);
  });
  EXPECT_LE(best.seconds, 1.3 * best.bound_s);
  EXPECT_LT(best.seconds, 0.6 * best.serial_s);
}

/// Four new nodes and a slow cloud: each atom is downloaded once, by all together, and passed on.
TEST(RestoreSpeed, ACloudSharedByAllIsReadOnce) {
  const Measured best = best_of([] {
    RestoreJob job(4, 2000);
    const auto total = static_cast<double>(job.table.total_bytes());
    job.save(job.cloud, "w", kStep, job.all());
    const double rate = total / 1.5;
    Link cloud(rate);
    ShapedStore far(job.cloud, {&cloud});
    job.cloud_used = &far;
    const auto outcome = job.restore_all([&](RestoreRequest& request, int) {
      request.rates = {kFast, kFast, kFast, kFast, rate};
      request.cloud_total = rate;
    });
    EXPECT_EQ(outcome.of_rank_0.report.bytes.cloud, job.table.total_bytes());
    return measured(outcome, 4 * total / rate);
  });
  EXPECT_LE(best.seconds, 1.3 * best.bound_s);
}

/// One holder behind a slow link, three receivers: two thirds of the copies come from receivers.
TEST(RestoreSpeed, ReceiversPassOn) {
  const Measured best = best_of([] {
    RestoreJob job(4, 2000);
    const auto total = static_cast<double>(job.table.total_bytes());
    job.save(job.nodes[0]->memory, "w", kStep, job.all());
    job.nodes[0]->needed = AtomSet(job.table.count());
    const double rate = total / 1.5;
    std::vector<std::unique_ptr<Link>> links;
    std::vector<std::unique_ptr<ShapedStore>> shaped;
    for (auto& node : job.nodes) {
      links.push_back(std::make_unique<Link>(rate));
      shaped.push_back(std::make_unique<ShapedStore>(node->memory, std::vector<Link*>{links.back().get()}));
      node->memory_used = shaped.back().get();
    }
    return measured(job.restore_all([&](RestoreRequest& request, int) {
      request.rates = {kFast, kFast, rate, rate, kFast};
    }),
                    3 * total / rate);
  });
  EXPECT_LE(best.seconds, 1.3 * best.bound_s);
}

/// A restore that takes four deadlines, by one rank, while two have nothing to do.
TEST(RestoreSpeed, LongerThanTheDeadline) {
  RestoreJob job(3, 2000);
  job.save(job.cloud, "w", kStep, job.all());
  job.nodes[0]->needed = job.nodes[2]->needed = AtomSet(job.table.count());
  const auto total = static_cast<double>(job.table.total_bytes());
  Link cloud(total / 8);
  ShapedStore far(job.cloud, {&cloud});
  job.cloud_used = &far;
  const auto outcome = job.restore_all([](RestoreRequest& request, int) { request.cloud_connections = 1; },
                                       std::chrono::seconds(2));
  EXPECT_THAT(outcome.faults, IsEmpty());
  EXPECT_TRUE(outcome.of_rank_0.status.ok()) << outcome.of_rank_0.status.message();
  EXPECT_GE(outcome.of_rank_0.report.rounds, 4);
  EXPECT_EQ(outcome.of_rank_0.report.bytes.cloud, job.table.total_bytes());
}

}  // namespace
}  // namespace tessera::recovery
