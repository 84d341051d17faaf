#include "runtime/train/atom_layout.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/train/plan_shards.h"
#include "tests/runtime/train/plan_job.h"

namespace tessera::runtime {
namespace {

planner::ModelSpec model(int layers, int heads, int kv_heads, bool tied) {
  planner::ModelSpec spec;
  spec.layers = layers;
  spec.heads = heads;
  spec.kv_heads = kv_heads;
  spec.head_dim = 4;
  spec.hidden_size = 12;
  spec.intermediate_size = 22;  // divides by no degree but 1, 2
  spec.vocab_size = 37;
  spec.tie_word_embeddings = tied;
  return spec;
}

std::vector<planner::ModelSpec> models() {
  return {model(3, 4, 1, false), model(2, 6, 3, true),   model(3, 8, 4, false),
          model(2, 6, 6, true),  model(1, 16, 8, false), model(2, 12, 12, true)};
}

/// Every element of every tensor has a value of its own, whatever the slice: the float's bits are a hash of
/// name and place.
std::vector<float> numbered(const ParameterLayout& layout) {
  std::vector<float> flat(static_cast<std::size_t>(layout.total()), -1.0F);
  for (const ParameterInfo& info : layout.parameters()) {
    const std::size_t key = std::hash<std::string>()(info.name);
    for (const ParameterInfo::Run& run : info.runs()) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        const std::size_t mixed = (key ^ static_cast<std::size_t>(run.full_index + i)) * 0x9e3779b97f4a7c15U;
        flat[static_cast<std::size_t>(run.offset + i)] = std::ldexp(static_cast<float>(mixed >> 40), -24);
      }
    }
  }
  return flat;
}

/// Atoms by block, as the contract says: the flat order of tensor rank `slice` of A, without gaps.
std::vector<std::vector<float>> expected_atoms(const planner::ModelSpec& spec) {
  const int slices = recovery::atom_slices(spec.kv_heads);
  std::vector<std::vector<float>> atoms(static_cast<std::size_t>((spec.layers + 2) * slices));
  for (int s = 0; s < slices; ++s) {
    ModelSlice slice = whole_model(spec);
    slice.tensor_rank = s;
    slice.tensor_ranks = slices;
    const ParameterLayout layout(spec, slice);
    const std::vector<float> flat = numbered(layout);
    for (const ParameterInfo& info : layout.parameters()) {
      int layer = spec.layers + 1;
      if (info.name == "model.embed_tokens.weight") layer = 0;
      if (info.name.starts_with("model.layers.")) layer = 1 + std::stoi(info.name.substr(13));
      if (info.full_shape.size() == 1 && s > 0) continue;
      std::vector<float>& atom = atoms[static_cast<std::size_t>(layer * slices + s)];
      atom.insert(atom.end(), flat.begin() + info.offset, flat.begin() + info.offset + info.count);
    }
  }
  return atoms;
}

TEST(AtomLayoutTest, TheTableIsTheModels) {
  for (const planner::ModelSpec& spec : models()) {
    const recovery::AtomTable table = atom_table(spec);
    EXPECT_EQ(table.layers, spec.layers + 2);
    std::int64_t floats = 0;
    for (const std::int64_t count : table.floats) floats += count;
    EXPECT_EQ(floats, spec.parameters()) << "kv heads " << spec.kv_heads;
    EXPECT_EQ(table.total_bytes(), 12 * floats);
    const auto atoms = expected_atoms(spec);
    for (std::size_t b = 0; b < atoms.size(); ++b) EXPECT_EQ(table.floats[b], std::ssize(atoms[b]));
  }
}

TEST(AtomLayoutTest, EveryFloatButTheGapsIsInOneAtom) {
  for (const planner::ModelSpec& spec : models()) {
    const ParameterLayout layout(spec);
    std::vector<int> seen(static_cast<std::size_t>(layout.total()));
    for (const AtomRun& run : atom_runs(spec, whole_model(spec))) {
      for (std::int64_t i = 0; i < run.count; ++i) ++seen[static_cast<std::size_t>(run.offset + i)];
    }
    std::vector<int> expected(seen.size());
    for (const ParameterInfo& info : layout.parameters()) {
      std::fill_n(expected.begin() + info.offset, info.count, 1);
    }
    EXPECT_EQ(seen, expected);
  }
}

TEST(AtomLayoutTest, TheSameBytesFromEverySlice) {
  for (const planner::ModelSpec& spec : models()) {
    const auto atoms = expected_atoms(spec);
    const recovery::AtomTable table = atom_table(spec);
    int checked = 0;
    for (int t = 1; t <= table.slices; ++t) {
      if (table.slices % t != 0) continue;
      for (int first = 0; first < spec.layers; ++first) {
        for (int layers = 1; first + layers <= spec.layers; ++layers) {
          for (int r = 0; r < t; ++r) {
            const ModelSlice slice{first, layers, first == 0, first + layers == spec.layers, r, t};
            const ParameterLayout layout(spec, slice);
            const std::vector<float> flat = numbered(layout);
            std::vector<std::int64_t> have(atoms.size());
            for (const AtomRun& run : atom_runs(spec, slice)) {
              ASSERT_TRUE(std::equal(flat.begin() + run.offset, flat.begin() + run.offset + run.count,
                                     atoms[static_cast<std::size_t>(run.block)].begin() + run.in_atom));
              have[static_cast<std::size_t>(run.block)] += run.count;
              ++checked;
            }
            std::int64_t norms_of_others = 0;
            for (int block = 0; block < std::ssize(atoms); ++block) {
              const auto b = static_cast<std::size_t>(block);
              if (holds_block(table, slice, spec.tie_word_embeddings, block)) {
                EXPECT_EQ(have[b], table.floats[b]) << "block " << block << ", tensor rank " << r << "/" << t;
              } else {
                norms_of_others += have[b];
              }
            }
            const std::int64_t norms = (2 * layers + (slice.head ? 1 : 0)) * spec.hidden_size;
            EXPECT_EQ(norms_of_others, r == 0 ? 0 : norms);
          }
        }
      }
    }
    EXPECT_GT(checked, 0);
  }
}

class AtomsOfPlansTest : public testing::PlanJob {};

TEST_F(AtomsOfPlansTest, RanksTogetherSaveEachMomentOnce) {
  for (const testing::PlanCase& c : testing::plan_cases()) {
    SCOPED_TRACE(c.name);
    const std::string path = directory_ + "/plan.json";
    write(c, job(c.tied), path);
    const planner::Plan plan = planner::read_plan(path).value();
    const planner::ModelSpec spec = planner::read_model_spec(config(c.tied)).value();
    const recovery::AtomTable table = atom_table(spec);
    std::vector<std::vector<int>> saved;
    for (const std::int64_t floats : table.floats) saved.emplace_back(static_cast<std::size_t>(floats));
    for (const planner::RankPlace& place : planner::rank_places(plan)) {
      const RankState state = rank_state(spec, plan, place);
      for (const AtomRun& run : state.saved_moments) {
        for (std::int64_t i = 0; i < run.count; ++i) {
          ++saved[static_cast<std::size_t>(run.block)][static_cast<std::size_t>(run.in_atom + i)];
        }
      }
      EXPECT_TRUE(std::ranges::is_sorted(covered(state.weights),
                                         [](const AtomSpan& a, const AtomSpan& b) { return a < b; }));
    }
    for (const std::vector<int>& atom : saved) {
      EXPECT_TRUE(std::ranges::all_of(atom, [](int times) { return times == 1; }));
    }
  }
}

/// The pure function against the optimizer itself, on every rank of every plan.
TEST_F(AtomsOfPlansTest, OwnedRangesAreTheOptimizers) {
  for (const testing::PlanCase& c : testing::plan_cases()) {
    SCOPED_TRACE(c.name);
    planner::TrainSpec job = this->job(c.tied);
    job.plan = directory_ + "/plan.json";
    const int ranks = write(c, job, job.plan);
    run_local_ranks(ranks, [&](Communicator& world) {
      const SystemClock clock;
      const Result<TrainInputs> inputs = load_train_inputs(job, world.size());
      ASSERT_TRUE(inputs.ok()) << inputs.status().message();
      const auto trainer = Trainer::make(world, inputs.value(), clock);
      ASSERT_TRUE(trainer.ok());
      const std::span<const FlatRange> owned = trainer.value()->owned();
      EXPECT_EQ(owned_ranges(inputs.value().plan, trainer.value()->layout(), trainer.value()->place()),
                std::vector<FlatRange>(owned.begin(), owned.end()));
    });
  }
}

TEST(RunsWithinTest, CountsInTheRangesLaidEndToEnd) {
  const std::vector<AtomRun> runs = {{0, 0, 10, 20}, {1, 5, 40, 4}};
  const std::vector<FlatRange> ranges = {{0, 12}, {12, 0}, {15, 5}, {25, 17}};
  EXPECT_EQ(runs_within(runs, ranges),
            (std::vector<AtomRun>{{0, 0, 10, 2}, {0, 5, 12, 5}, {0, 15, 17, 5}, {1, 5, 32, 2}}));
}

}  // namespace
}  // namespace tessera::runtime
