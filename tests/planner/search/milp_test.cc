// The exact search against a mixed-integer program solved by CBC, on problems beyond the reach of brute
// force.
//
// One DP group with m micro-batches (AutoHet notes, 2.5), over all compositions of the available units at
// once:
//   y[s][k]  binary   the stage at distance s + 1 from the end runs on a unit of type k
//   x[s][k]  integer  its layers, 0 unless y[s][k]
//   sum_k y[s][k] <= 1, stages fill from the last one on, sum_s y[s][k] <= units_k, all layers placed
//   beta >= seconds(s, k) = a_k x + e_k y (+ head on the last stage, embedding on the first)
//   minimise sum of seconds + (m - 1) beta
// Several groups: the threshold theta is enough iff some packing does m micro-batches, itself an integer
// program over compositions; the groups' times come from the first program.
#include <coin/CbcModel.hpp>
#include <coin/OsiClpSolverInterface.hpp>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner/search/grouping.h"

namespace tessera::planner {
namespace {

/// A problem with linear stage times, as the program needs it: a stage of n layers at distance r on type k
/// takes n seconds_k, plus the head at r == 1 and the embedding at layer 0, and holds at most caps[k][r - 1]
/// layers.
struct LinearProblem {
  std::vector<double> seconds;
  std::vector<std::vector<int>> caps;
  double head = 0;       // in layers
  double embedding = 0;  // in layers
  PipelineProblem problem;
};

LinearProblem random_linear(std::mt19937_64& random, int types, int least_units, int most_units,
                            int most_layers) {
  const auto integer = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(random);
  };
  LinearProblem made;
  PipelineProblem& problem = made.problem;
  problem.units.assign(static_cast<std::size_t>(types), 1);
  const int units = integer(least_units, most_units);
  for (int i = types; i < units; ++i) ++problem.units[static_cast<std::size_t>(integer(0, types - 1))];
  problem.max_depth = units;
  const int layers = integer(units, std::max(units, most_layers));
  problem.micro_batches = integer(1, 40);
  made.head = real(0, 2);
  made.embedding = real(0, 0.5);
  problem.stages = StageTable(types, units, layers, true);
  for (int k = 0; k < types; ++k) {
    made.seconds.push_back(real(0.5, 4));
    const double room = real(0.25, 1.2) * layers;
    auto& caps = made.caps.emplace_back();
    for (int r = 1; r <= units; ++r) {
      const auto in_flight = static_cast<double>(std::min<std::int64_t>(r, problem.micro_batches));
      caps.push_back(std::min(layers, static_cast<int>(room / (1 + 0.08 * in_flight))));
      for (int begin = 0; begin <= std::min(1, layers - 1); ++begin) {
        for (int end = begin + 1; end <= std::min(layers, begin + caps.back()); ++end) {
          const double work = end - begin + (begin == 0 ? made.embedding : 0) + (r == 1 ? made.head : 0);
          problem.stages.set(k, r, begin, end, work * made.seconds.back());
        }
      }
    }
  }
  problem.round_trip_s.assign(static_cast<std::size_t>(types),
                              std::vector<double>(static_cast<std::size_t>(types), 0));
  return made;
}

/// Builds and solves one integer program.
class Program {
 public:
  int variable(double cost, double least, double most, bool whole) {
    costs_.push_back(cost);
    least_.push_back(least);
    most_.push_back(most);
    if (whole) whole_.push_back(static_cast<int>(costs_.size()) - 1);
    return static_cast<int>(costs_.size()) - 1;
  }
  void row(const std::vector<std::pair<int, double>>& terms, double least, double most) {
    CoinPackedVector packed;
    for (const auto& [at, factor] : terms) packed.insert(at, factor);
    rows_.push_back(packed);
    row_least_.push_back(least);
    row_most_.push_back(most);
  }
  /// Infinite if there is no solution.
  [[nodiscard]] double minimum() const {
    OsiClpSolverInterface solver;
    CoinPackedMatrix matrix(false, 0, 0);
    matrix.setDimensions(0, static_cast<int>(costs_.size()));
    for (const CoinPackedVector& packed : rows_) matrix.appendRow(packed);
    solver.loadProblem(matrix, least_.data(), most_.data(), costs_.data(), row_least_.data(),
                       row_most_.data());
    for (const int at : whole_) solver.setInteger(at);
    solver.messageHandler()->setLogLevel(0);
    CbcModel model(solver);
    model.setLogLevel(0);
    model.setAllowableGap(0);
    model.setAllowableFractionGap(0);
    model.branchAndBound();
    return model.isProvenOptimal() ? model.getObjValue() : kInfinite;
  }

 private:
  std::vector<double> costs_, least_, most_, row_least_, row_most_;
  std::vector<int> whole_;
  std::vector<CoinPackedVector> rows_;
};

/// The best single group, any composition.
double best_group_by_milp(const LinearProblem& made, std::int64_t micro_batches) {
  const PipelineProblem& problem = made.problem;
  const int types = problem.types();
  const int layers = problem.stages.layers();
  const int depth = problem.max_depth;
  const double inf = COIN_DBL_MAX;
  Program program;
  const int beta = program.variable(static_cast<double>(micro_batches - 1), 0, inf, false);
  // f[s][k]: the stage is the first of the pipeline, and of type k.
  std::vector<std::vector<int>> x;
  std::vector<std::vector<int>> y;
  std::vector<std::vector<int>> f;
  for (int s = 0; s < depth; ++s) {
    auto& xs = x.emplace_back();
    auto& ys = y.emplace_back();
    auto& fs = f.emplace_back();
    for (int k = 0; k < types; ++k) {
      const double t = made.seconds[static_cast<std::size_t>(k)];
      const int cap = made.caps[static_cast<std::size_t>(k)][static_cast<std::size_t>(s)];
      xs.push_back(program.variable(t, 0, cap, true));
      ys.push_back(program.variable(s == 0 ? made.head * t : 0, 0, 1, true));
      fs.push_back(program.variable(made.embedding * t, 0, 1, true));
      program.row({{xs.back(), 1}, {ys.back(), -static_cast<double>(cap)}}, -inf, 0);
      program.row({{xs.back(), 1}, {ys.back(), -1}}, 0, inf);
      program.row({{fs.back(), 1}, {ys.back(), -1}}, -inf, 0);
      program.row({{beta, 1},
                   {xs.back(), -t},
                   {ys.back(), s == 0 ? -made.head * t : 0},
                   {fs.back(), -made.embedding * t}},
                  0, inf);
    }
    std::vector<std::pair<int, double>> one;
    for (const int at : ys) one.emplace_back(at, 1);
    program.row(one, s == 0 ? 1 : 0, 1);
    if (s > 0) {  // the stage before it in distance exists
      for (const int at : y[static_cast<std::size_t>(s) - 1]) one.emplace_back(at, -1);
      program.row(one, -inf, 0);
    }
  }
  for (int k = 0; k < types; ++k) {
    std::vector<std::pair<int, double>> used;
    for (const auto& ys : y) used.emplace_back(ys[static_cast<std::size_t>(k)], 1);
    program.row(used, 0, problem.units[static_cast<std::size_t>(k)]);
  }
  std::vector<std::pair<int, double>> all;
  for (const auto& xs : x) {
    for (const int at : xs) all.emplace_back(at, 1);
  }
  program.row(all, layers, layers);
  // The first stage is the one at the greatest distance: sum_k f[s][k] = exists(s) - exists(s + 1).
  for (int s = 0; s < depth; ++s) {
    std::vector<std::pair<int, double>> first;
    for (const int at : f[static_cast<std::size_t>(s)]) first.emplace_back(at, 1);
    for (const int at : y[static_cast<std::size_t>(s)]) first.emplace_back(at, -1);
    if (s + 1 < depth) {
      for (const int at : y[static_cast<std::size_t>(s) + 1]) first.emplace_back(at, 1);
    }
    program.row(first, 0, 0);
  }
  return program.minimum();
}

// CBC's feasibility tolerances are 1e-6 to 1e-7, and the objective sums tens of terms.
constexpr double kRelative = 1e-5;

TEST(AgainstMilp, OneGroupIsOptimal) {
  std::mt19937_64 random(11);
  int feasible = 0;
  for (int i = 0; i < 20; ++i) {
    SCOPED_TRACE(i);
    const LinearProblem made = random_linear(random, 2 + i % 2, 7, 8, 12);
    const double oracle = best_group_by_milp(made, made.problem.micro_batches);
    const Grouping found = solve_grouping(made.problem, {.count = {1, 1}});
    if (oracle == kInfinite) {
      EXPECT_TRUE(found.groups.empty());
      continue;
    }
    ++feasible;
    EXPECT_NEAR(found.seconds, oracle, kRelative * oracle);
    EXPECT_LE(found.lower_bound, oracle * (1 + kRelative));
  }
  EXPECT_GE(feasible, 10);
}

/// The most micro-batches within theta: an integer program over all compositions with m_c(theta) > 0.
double most_micro_batches(const GroupTable& table, const PipelineProblem& problem, double theta) {
  Program program;
  std::vector<std::vector<std::pair<int, double>>> rows(problem.units.size());
  for (const GroupTable::Column& column : table.columns()) {
    const std::int64_t value = column.micro_batches(theta, problem.micro_batches);
    if (value == 0) continue;
    const int at = program.variable(-static_cast<double>(value), 0, COIN_DBL_MAX, true);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (column.units[k] > 0) rows[k].emplace_back(at, column.units[k]);
    }
  }
  for (std::size_t k = 0; k < rows.size(); ++k) program.row(rows[k], 0, problem.units[k]);
  return -program.minimum();
}

TEST(AgainstMilp, GroupingsOfUpTo24UnitsAreOptimal) {
  std::mt19937_64 random(12);
  int feasible = 0;
  for (int i = 0; i < 50; ++i) {
    SCOPED_TRACE(i);
    const LinearProblem made = random_linear(random, 3, 10, 24, 30);
    const Grouping found = solve_grouping(made.problem);
    if (found.groups.empty()) continue;
    ++feasible;
    const GroupTable table(made.problem, kInfinite);
    // Enough a little above the answer, not enough a little below it; the program is exact on integers.
    const auto m = static_cast<double>(made.problem.micro_batches);
    EXPECT_GE(most_micro_batches(table, made.problem, found.seconds * (1 + 1e-9)), m - 0.5);
    EXPECT_LE(most_micro_batches(table, made.problem, found.seconds * (1 - 1e-7)), m - 0.5);
    EXPECT_LE(found.lower_bound, found.seconds);
    EXPECT_NEAR(found.lower_bound, found.seconds, 1e-8 * found.seconds);
  }
  EXPECT_GE(feasible, 40);
}

}  // namespace
}  // namespace tessera::planner
