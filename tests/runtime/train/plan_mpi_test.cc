/// Plans whose ranks are processes: those of plan_job.h with as many ranks as this was started with.
#include <chrono>
#include <exception>

#include <gtest/gtest.h>

#include "runtime/comm/mpi_comm.h"
#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

using testing::Curve;
using testing::PlanCase;

class PlanMpiTest : public testing::PlanJob {};

TEST_F(PlanMpiTest, TrainsToTheCurveOfOneRank) {
  const auto world = make_mpi_world();
  world->set_deadline(std::chrono::seconds(60));
  int trained = 0;
  for (const bool tied : {false, true}) {
    const planner::TrainSpec one = job(tied);
    const Curve expected = train(one, 1, one.steps);
    const double limit = tolerance(one, expected);
    for (const PlanCase& c : testing::plan_cases()) {
      planner::TrainSpec planned = one;
      planned.plan = directory_ + "/plan.json";
      if (c.tied != tied || write(c, planned, planned.plan) != world->size()) continue;
      SCOPED_TRACE(c.name);
      Curve got;
      try {
        train_rank(*world, planned, one.steps, "", "", got);
      } catch (const std::exception& e) {
        world->abort(e.what());  // the other ranks would wait
      }
      expect_same_curve(got, expected, limit);
      ++trained;
    }
  }
  EXPECT_GE(trained, 1) << "no plan for " << world->size() << " ranks";
}

}  // namespace
}  // namespace tessera::runtime
