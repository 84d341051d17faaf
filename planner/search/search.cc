#include "planner/search/search.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "planner/cost/estimate.h"
#include "planner/search/node_mapping.h"
#include "planner/search/price_bound.h"
#include "planner/search/stage_choice.h"
#include "planner/search/unit_pool.h"

namespace tessera::planner {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr std::int64_t kLongContext = 16384;  // tokens from which context meshes are tried unasked
constexpr int kMostContext = 8;

std::vector<int> default_degrees(const CostModel& cost) {
  int most = 1;
  for (const NodeSpec& node : cost.cluster().nodes) most = std::max(most, node.devices);
  std::vector<int> degrees;
  for (int degree = 1; degree <= most; degree *= 2) degrees.push_back(degree);
  return degrees;
}

std::vector<MeshShape> default_contexts(const CostModel& cost) {
  std::vector<MeshShape> contexts{MeshShape{}};
  if (cost.train().sequence_length < kLongContext) return contexts;
  for (int ranks = 2; ranks <= kMostContext; ranks *= 2) {
    const auto meshes = runtime::all_meshes(ranks);
    contexts.insert(contexts.end(), meshes.begin(), meshes.end());
  }
  return contexts;
}

std::vector<std::int64_t> default_micro_batches(const CostModel& cost) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 1; size <= 16 && cost.train().global_batch % size == 0; size *= 2)
    sizes.push_back(size);
  return sizes;
}

/// The largest depth whose table is affordable.
int affordable_depth(const std::vector<int>& units, int layers, std::int64_t compositions) {
  const int all = std::min(std::accumulate(units.begin(), units.end(), 0), layers);
  int depth = 1;
  while (depth < all && count_compositions(units, depth + 1, compositions + 1) <= compositions) ++depth;
  return depth;
}

/// One (degree, mesh, micro-batch size): its units, and the grouping problem for a number of owners.
class Candidate {
 public:
  Candidate(const CostModel& cost, const StageShape& shape, const SearchOptions& options)
      : cost_(cost), options_(options), shape_(shape), classes_(unit_classes(cost, shape)) {
    for (const UnitClass& found : classes_) units_.push_back(static_cast<int>(found.units.size()));
    report_.shape = shape;
    micro_batches_ = cost.train().global_batch / shape.micro_batch;
    const int layers = cost.model().layers;
    // Up to about 30 units of 3 types every composition; in larger clusters groups of few stages.
    constexpr std::int64_t kAll = 1200;
    constexpr std::int64_t kLarge = 400;
    const int all = std::min(total_units(), layers);
    report_.max_depth = options.max_depth > 0 ? std::min(options.max_depth, all)
                        : count_compositions(units_, all, kAll + 1) <= kAll
                            ? all
                            : affordable_depth(units_, layers, kLarge);
  }
  [[nodiscard]] const CandidateReport& report() const { return report_; }
  [[nodiscard]] bool has_units() const { return !units_.empty(); }
  [[nodiscard]] int total_units() const { return std::accumulate(units_.begin(), units_.end(), 0); }
  [[nodiscard]] const std::vector<UnitClass>& classes() const { return classes_; }

  /// A bound that needs no search, with the least memory that any number of groups could have.
  [[nodiscard]] double quick_bound() {
    // Deeper groups hold more micro-batches and no less work, so two stages say the least of any.
    report_.seconds_bound_s = work_bound(problem(1, most_groups(), std::min(2, most_depth())));
    report_.lower_bound_s = report_.seconds_bound_s;
    return report_.lower_bound_s;
  }

  /// Raises the bound for groups of any depth towards `enough_s`, number of groups by number of groups.
  void tighten(double enough_s) {
    double bound = kInfinite;
    for (int least = 1; least <= most_groups() && report_.lower_bound_s < enough_s; least *= 2) {
      const int most = std::min(2 * least - 1, most_groups());
      const PipelineProblem numbers = problem(least, most, most_depth());
      // Only the least of the ranges counts.
      const PriceBoundOptions options{.most_groups = most, .enough_s = std::min(enough_s, bound)};
      bound = std::min(bound, price_bound(numbers, options, options_.cancelled));
      if (bound <= report_.lower_bound_s) return;
    }
    if (options_.cancelled && options_.cancelled()) return;
    report_.lower_bound_s = std::max(report_.lower_bound_s, bound);
  }

  /// The best plan of at most `give_up_s` seconds among those whose groups are all alike, so that few
  /// segments are reduced between many owners.
  [[nodiscard]] std::optional<Plan> solve_alike(double give_up_s, std::int64_t& evaluated) {
    std::optional<Plan> best;
    // 1, 2, 3, 4, 6, 8, 12, 16, ...
    for (int groups = 1; groups <= most_groups(); groups += groups < 4              ? 1
                                                            : groups & (groups - 1) ? groups / 3
                                                                                    : groups / 2) {
      for (const std::vector<int>& units : shares(groups)) {
        if (options_.cancelled && options_.cancelled()) return best;
        std::optional<Plan> plan = alike(groups, units, give_up_s, evaluated);
        if (!plan || plan->expected.iteration_s >= give_up_s) continue;
        give_up_s = plan->expected.iteration_s;
        best = std::move(plan);
      }
    }
    if (best) report_.iteration_s = best->expected.iteration_s;
    return best;
  }

  /// The best plan of at most `give_up_s` seconds of pipeline; its estimate is in the plan.
  [[nodiscard]] std::optional<Plan> solve(double give_up_s, std::int64_t& evaluated, bool& cancelled) {
    // Deeper groups where shallow ones do not fit.
    for (std::int64_t afford = 1000;; afford *= 4) {
      int solves = 8;
      report_.exact = true;
      const Answer answer = solve_range(1, most_groups(), give_up_s, solves, evaluated, cancelled);
      // What is said of groups up to a depth is no bound for deeper ones.
      if (report_.max_depth >= most_depth()) {
        report_.lower_bound_s = std::max(report_.lower_bound_s, answer.lower_bound);
      }
      if (answer.plan) report_.pipeline_s = answer.pipeline_s;
      const int deeper = affordable_depth(units_, cost_.model().layers, afford);
      const bool nothing = answer.lower_bound == kInfinite && !answer.plan;
      constexpr std::int64_t kMost = 16000;
      if (!nothing || options_.max_depth > 0 || cancelled || afford > kMost || deeper <= report_.max_depth) {
        if (answer.plan &&
            (report_.iteration_s == 0 || answer.plan->expected.iteration_s < report_.iteration_s)) {
          report_.iteration_s = answer.plan->expected.iteration_s;
        }
        return answer.plan;
      }
      report_.max_depth = deeper;
    }
  }

 private:
  struct Answer {
    std::optional<Plan> plan;
    double pipeline_s = kInfinite;  // the least found, in the form the bound is of
    double lower_bound = kInfinite;
  };

  [[nodiscard]] int most_depth() const { return std::min(total_units(), limit_depth()); }
  [[nodiscard]] int limit_depth() const {
    const int layers = cost_.model().layers;
    return options_.max_depth > 0 ? std::min(options_.max_depth, layers) : layers;
  }

  /// What each of so many groups gets when they are alike: of all types, of all but one, of one alone.
  [[nodiscard]] std::vector<std::vector<int>> shares(int groups) const {
    std::vector<std::vector<int>> found;
    const auto add = [&](const auto& used) {
      std::vector<int> units;
      for (std::size_t k = 0; k < units_.size(); ++k) units.push_back(used(k) ? units_[k] / groups : 0);
      const int depth = std::accumulate(units.begin(), units.end(), 0);
      const bool known = std::find(found.begin(), found.end(), units) != found.end();
      constexpr std::int64_t kAffordable = 1000;
      if (depth == 0 || depth > most_depth() || known) return;
      if (count_compositions(units, depth, kAffordable + 1) <= kAffordable) found.push_back(std::move(units));
    };
    add([](std::size_t) { return true; });
    for (std::size_t out = 0; out < units_.size(); ++out) add([&](std::size_t k) { return k != out; });
    for (std::size_t only = 0; only < units_.size(); ++only) add([&](std::size_t k) { return k == only; });
    return found;
  }

  [[nodiscard]] std::optional<Plan> alike(int groups, const std::vector<int>& units, double give_up_s,
                                          std::int64_t& evaluated) const {
    if (options_.mode == MicroBatchMode::kEqual && micro_batches_ % groups != 0) return std::nullopt;
    const std::int64_t each = (micro_batches_ + groups - 1) / groups;
    const int depth = std::accumulate(units.begin(), units.end(), 0);
    PipelineProblem numbers = problem(groups, groups, depth);
    numbers.units = units;
    numbers.micro_batches = each;
    const std::vector<double> least = least_layer_seconds(numbers);
    const double fill = numbers.stages.layers() * *std::min_element(least.begin(), least.end());
    const double period = least_slowest_stage(numbers);
    const double drain = static_cast<double>(each - 1) * period;
    if (period == kInfinite ||
        std::max(fill, numbers.floor_of(depth)) + drain + numbers.tail_of(depth) >= give_up_s)
      return std::nullopt;
    const std::optional<GroupChoice> choice = group_of_all_units(numbers, each);
    if (!choice) return std::nullopt;
    Grouping grouping;
    grouping.seconds = group_seconds(numbers, *choice);
    if (grouping.seconds >= give_up_s) return std::nullopt;
    for (int g = 0; g < groups; ++g) {
      grouping.groups.push_back(
          {choice->stages, micro_batches_ / groups + (g < micro_batches_ % groups ? 1 : 0)});
    }
    double pipeline_s = kInfinite;
    return plan_of(grouping, numbers, pipeline_s, 0, evaluated);  // both starts, no swaps
  }

  [[nodiscard]] int most_groups() const {
    return static_cast<int>(std::min<std::int64_t>(total_units(), micro_batches_));
  }

  [[nodiscard]] StageChooser chooser(std::size_t type, int groups) const {
    return {cost_, shape_, classes_[type].device, std::int64_t{groups} * shape_.context.ranks(),
            options_.recompute};
  }

  /// For `least` to `most` groups of at most `depth` stages.
  [[nodiscard]] PipelineProblem problem(int least, int most, int depth) const {
    PipelineProblem found;
    found.units = units_;
    found.max_depth = depth;
    found.micro_batches = micro_batches_;
    const int layers = cost_.model().layers;
    const bool alike = cost_.identical_layers();
    found.stages = StageTable(static_cast<int>(units_.size()), found.max_depth, layers, alike);
    for (std::size_t type = 0; type < units_.size(); ++type) {
      const StageChooser stages = chooser(type, most);
      for (int r = 1; r <= found.max_depth; ++r) {
        const std::int64_t in_flight = std::min<std::int64_t>(r, micro_batches_);
        for (int begin = 0; begin < layers; ++begin) {
          if (alike && begin > 1) break;
          for (int end = begin + 1; end <= layers; ++end) {
            const auto fit = stages.fit(begin, end - begin, begin == 0, r == 1, in_flight);
            if (!fit && alike) break;  // a longer stage of the same kind needs more
            if (fit) found.stages.set(static_cast<int>(type), r, begin, end, fit->seconds);
          }
        }
      }
    }
    const double bytes = cost_.boundary_bytes(shape_);
    found.round_trip_s.assign(units_.size(), std::vector<double>(units_.size(), 0));
    for (std::size_t a = 0; a < units_.size(); ++a) {
      for (std::size_t b = 0; b < units_.size(); ++b) {
        found.round_trip_s[a][b] = cost_.least_send_s(bytes, classes_[a].device, classes_[b].device, shape_) +
                                   cost_.least_send_s(bytes, classes_[b].device, classes_[a].device, shape_);
        if (!(found.round_trip_s[a][b] < kInfinite)) found.round_trip_s[a][b] = 0;  // a class of one unit
      }
    }
    add_communication(found, least, most);
    return found;
  }

  /// What estimate() adds at least to the pipeline of a group of P stages, one of which has ceil(L / P)
  /// layers.
  ///
  ///   gather, update   a stage takes part in the gathers of all its segments one after another, and updates
  ///                    its share of all its layers; both come after the slowest pipeline and reduction:
  ///                    tail_P
  ///   reduction        no segment of stage s starts before that stage's last backward, that is before
  ///                    T_j - sum_{s' <= s} (backward + gradient sent) >= sum of forwards + (m_j - 1)
  ///                    period_j, and they end one after another: the first micro-batch counts at least sum
  ///                    of forwards + reduction of the stage: floor_P
  void add_communication(PipelineProblem& found, int least, int most) const {
    const int layers = cost_.model().layers;
    double parameters = kInfinite;
    double update_s = kInfinite;
    double forward_s = kInfinite;
    for (const UnitClass& type : classes_) {
      for (int layer = 0; layer < (cost_.identical_layers() ? 1 : layers); ++layer) {
        const LayerCost cost = cost_.decoder(type.device, shape_, layer, Recompute::kNone);
        parameters = std::min(parameters, cost.parameters);
        update_s = std::min(update_s, cost.update_s);
        forward_s = std::min(forward_s, cost.forward_s);
      }
    }
    const int cells = shape_.context.ranks();
    const double s_per_byte = cost_.least_ring_s_per_byte(least * cells, shape_.tensor_parallel);
    const double reduce_s = parameters * cost_.gradient_bytes() * s_per_byte;
    const double tail_s = parameters * cost_.parameter_bytes() * s_per_byte +
                          update_s / (static_cast<double>(most) * static_cast<double>(cells));
    found.floor_s.push_back(0);
    found.tail_s.push_back(0);
    for (int depth = 1; depth <= found.max_depth; ++depth) {
      const int largest = (layers + depth - 1) / depth;
      found.floor_s.push_back(layers * forward_s + largest * reduce_s);
      found.tail_s.push_back(largest * tail_s);
    }
  }

  /// The best plan with `least` to `most` groups. The optimizer shard, and with it memory and recomputation,
  /// depends on their number: the table takes it for `most` groups, and the range is split where an answer
  /// with fewer does not keep its promise.
  [[nodiscard]] Answer solve_range(int least, int most, double give_up_s, int& solves,
                                   std::int64_t& evaluated, bool& cancelled) {
    const PipelineProblem numbers = problem(least, most, report_.max_depth);
    GroupingOptions options;
    options.mode = options_.mode;
    options.give_up_s = give_up_s;
    if (least > 1 || most < most_groups()) options.count = {least, most};
    const Grouping grouping = solve_grouping(numbers, options, options_.cancelled);
    --solves;
    cancelled = cancelled || grouping.cancelled;
    report_.exact = report_.exact && grouping.exact;
    Answer answer;
    answer.lower_bound = grouping.lower_bound;
    if (grouping.groups.empty()) return answer;
    const int groups = static_cast<int>(grouping.groups.size());
    answer.pipeline_s = kInfinite;
    answer.plan = plan_of(grouping, numbers, answer.pipeline_s, options_.mapping_evaluations, evaluated);
    constexpr double kRounding = 1e-9;
    const bool kept = answer.plan && answer.pipeline_s <= grouping.seconds * (1 + kRounding);
    if (kept || cancelled || groups >= most || solves <= 0) return answer;
    // What takes longer than the plan in hand is of no interest in either half.
    give_up_s = std::min(give_up_s, answer.pipeline_s);
    const Answer fewer = solve_range(least, groups, give_up_s, solves, evaluated, cancelled);
    keep_better(answer, fewer);
    // A packer that is not exact ignores the range, so there the bound for all stands for the rest.
    if (!grouping.exact || cancelled || solves <= 0) return answer;
    give_up_s = std::min(give_up_s, answer.pipeline_s);
    const Answer more = solve_range(groups + 1, most, give_up_s, solves, evaluated, cancelled);
    keep_better(answer, more);
    answer.lower_bound = std::max(answer.lower_bound, std::min(fewer.lower_bound, more.lower_bound));
    return answer;
  }

  static void keep_better(Answer& answer, const Answer& other) {
    answer.pipeline_s = std::min(answer.pipeline_s, other.pipeline_s);
    if (other.plan &&
        (!answer.plan || other.plan->expected.iteration_s < answer.plan->expected.iteration_s)) {
      answer.plan = other.plan;
    }
  }

  /// Nullopt where a stage does not fit with the optimizer spread over these groups only. `pipeline_s`: the
  /// slowest group with the recomputation that fits.
  [[nodiscard]] std::optional<Plan> plan_of(const Grouping& grouping, const PipelineProblem& numbers,
                                            double& pipeline_s, std::int64_t most_evaluations,
                                            std::int64_t& evaluated) const {
    const ModelSpec& model = cost_.model();
    Plan plan;
    plan.layers = model.layers;
    plan.tied_embeddings = model.tie_word_embeddings;
    plan.parameters = model.parameters();
    plan.sequence_length = cost_.train().sequence_length;
    plan.global_batch = cost_.train().global_batch;
    plan.precision = cost_.precision();
    plan.tensor_parallel = shape_.tensor_parallel;
    plan.context = shape_.context;
    plan.micro_batch = shape_.micro_batch;
    for (const NodeSpec& node : cost_.cluster().nodes) {
      plan.nodes.push_back({node.name, cost_.cluster().type_of(node).name, node.devices});
    }
    std::vector<StageChooser> choosers;
    for (std::size_t type = 0; type < units_.size(); ++type) {
      choosers.push_back(chooser(type, static_cast<int>(grouping.groups.size())));
    }
    std::vector<std::vector<int>> types;
    double slowest = 0;
    for (const GroupChoice& chosen : grouping.groups) {
      DeviceGroup group;
      group.micro_batches = chosen.micro_batches;
      auto& row = types.emplace_back();
      const int depth = static_cast<int>(chosen.stages.size());
      double sum = 0;
      double most = 0;
      for (int s = 0; s < depth; ++s) {
        const StageChoice& stage = chosen.stages[static_cast<std::size_t>(s)];
        const auto fit = choosers[static_cast<std::size_t>(stage.type)].fit(
            stage.first_layer, stage.layers, s == 0, s + 1 == depth,
            std::min<std::int64_t>(depth - s, chosen.micro_batches));
        if (!fit) return std::nullopt;
        group.stages.push_back({{}, stage.first_layer, stage.layers, fit->recompute, {}});
        if (!row.empty()) {
          sum +=
              numbers
                  .round_trip_s[static_cast<std::size_t>(row.back())][static_cast<std::size_t>(stage.type)];
        }
        sum += fit->seconds;
        most = std::max(most, fit->seconds);
        row.push_back(stage.type);
      }
      slowest = std::max(slowest, std::max(sum, numbers.floor_of(depth)) +
                                      static_cast<double>(chosen.micro_batches - 1) * most +
                                      numbers.tail_of(depth));
      plan.groups.push_back(std::move(group));
    }
    // An estimate takes time in proportion to the stages: large plans get fewer.
    const std::int64_t stages = std::max(1, plan.ranks() / plan.stage_devices());
    constexpr std::int64_t kMostStages = 20000;
    const std::int64_t evaluations = std::min(most_evaluations, kMostStages / stages);
    const Mapping mapping = map_units(plan, types, classes_, cost_, evaluations, options_.cancelled);
    evaluated += mapping.evaluated;
    set_expectations(plan, mapping.estimate);
    pipeline_s = slowest;
    return plan;
  }

  const CostModel& cost_;
  const SearchOptions& options_;
  StageShape shape_;
  std::vector<UnitClass> classes_;
  std::vector<int> units_;  // of each class
  std::int64_t micro_batches_ = 0;
  CandidateReport report_;
};

/// Why nothing fits: the smallest piece of the model on the largest device.
Status explain_no_plan(const CostModel& cost, const SearchOptions& options,
                       const std::vector<std::unique_ptr<Candidate>>& candidates) {
  if (candidates.empty()) {
    return bad_input({"search", "tensor_parallel, context, micro_batch",
                      "no combination that suits the model",
                      "a degree that divides the heads and fits a node, a micro-batch that divides the batch",
                      "leave the options out"});
  }
  // The candidate with the most devices per unit and the smallest micro-batch is the last hope.
  double least = kInfinite;
  double largest = 0;
  double with_none = 0;
  std::string where;
  int worst = 0;
  for (const auto& candidate : candidates) {
    for (const UnitClass& found : candidate->classes()) {
      const StageShape& shape = candidate->report().shape;
      const std::int64_t owners = std::int64_t{candidate->total_units()} * shape.context.ranks();
      const StageChooser stages(cost, shape, found.device, owners, options.recompute);
      largest = std::max(largest, stages.capacity());
      for (int layer = 0; layer < cost.model().layers; ++layer) {
        const bool last = layer + 1 == cost.model().layers;
        const double bytes = stages.bytes(layer, 1, layer == 0, last, 1, options.recompute.back());
        if (layer == 0 || bytes > least) worst = layer;
        if (bytes - stages.capacity() < least - largest) {
          least = bytes;
          with_none = stages.bytes(layer, 1, layer == 0, last, 1, Recompute::kNone);
          where = fmt::format("tensor parallel {}, context {}, micro-batch {}", shape.tensor_parallel,
                              to_string(shape.context), shape.micro_batch);
          worst = layer;
        }
        if (!(layer == 0 || last))
          layer = std::max(layer, cost.model().layers - 2);  // interior ones are alike
      }
    }
  }
  return bad_input(
      {"search", "memory",
       fmt::format("layer {} alone needs {:.2f} GiB of a device ({:.2f} GiB with recomputation) at {}", worst,
                   with_none / kGiB, least / kGiB, where),
       fmt::format("stages within {:.2f} GiB, the largest free device, and enough devices for all layers",
                   largest / kGiB),
       "add devices, raise the tensor-parallel degree, shorten the sequence, or lower the micro-batch"},
      Code::kFailedPrecondition);
}

class Search {
 public:
  Search(const CostModel& cost, const SearchOptions& options) : cost_(cost), options_(options) {}

  Result<SearchResult> run() {
    TS_TRY(make_candidates());
    // Plans of groups alike first: they are quick, and what beats none of them need not be solved.
    sort_candidates();
    for (const auto& candidate : candidates_) {
      if (stop() || beaten(*candidate)) break;
      tell();
      keep(candidate->solve_alike(best_s(), evaluated_));
    }
    for (const auto& candidate : candidates_) {
      if (!best_ || stop() || beaten(*candidate)) break;
      tell();
      candidate->tighten(best_s());
    }
    sort_candidates();
    for (; done_ < static_cast<int>(candidates_.size()) && !stop(); ++done_) {
      Candidate& candidate = *candidates_[static_cast<std::size_t>(done_)];
      if (beaten(candidate)) break;
      tell();
      const bool first = !best_;
      keep(candidate.solve(best_s(), evaluated_, cancelled_));
      if (first && best_) candidate.tighten(best_s());
    }
    if (!best_) {
      if (cancelled_) {
        return Status(Code::kFailedPrecondition,
                      "search: stopped before a plan was found; let it run longer");
      }
      return explain_no_plan(cost_, options_, candidates_);
    }
    SearchResult result;
    result.cancelled = cancelled_;
    best_->expected.lower_bound_s = std::min(lower_bound(), best_->expected.iteration_s);
    best_->expected.gap =
        (best_->expected.iteration_s - best_->expected.lower_bound_s) / best_->expected.iteration_s;
    best_->expected.evaluated = evaluated_;
    for (const auto& candidate : candidates_) result.candidates.push_back(candidate->report());
    done_ = static_cast<int>(candidates_.size());
    tell();
    result.plan = std::move(*best_);
    return result;
  }

 private:
  Status make_candidates() {
    const auto degrees = options_.tensor_parallel.empty() ? default_degrees(cost_) : options_.tensor_parallel;
    const auto contexts = options_.contexts.empty() ? default_contexts(cost_) : options_.contexts;
    const auto sizes = options_.micro_batches.empty() ? default_micro_batches(cost_) : options_.micro_batches;
    if (options_.recompute.empty()) {
      return bad_input(
          {"search", "recompute", "nothing allowed", "at least one of none, selective, full", ""});
    }
    for (const int degree : degrees) {
      for (const MeshShape& context : contexts) {
        for (const std::int64_t size : sizes) {
          if (degree < 1 || size < 1 || cost_.train().global_batch % size != 0) continue;
          const StageShape shape{degree, context, size};
          if (!cost_.check_shape(shape).ok()) continue;
          auto candidate = std::make_unique<Candidate>(cost_, shape, options_);
          if (!candidate->has_units()) continue;
          (void)candidate->quick_bound();
          candidates_.push_back(std::move(candidate));
        }
      }
    }
    return {};
  }

  void sort_candidates() {
    std::stable_sort(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) {
      return a->report().lower_bound_s < b->report().lower_bound_s;
    });
  }
  [[nodiscard]] double best_s() const { return best_ ? best_->expected.iteration_s : kInfinite; }
  [[nodiscard]] bool beaten(const Candidate& candidate) const {
    return candidate.report().lower_bound_s >= best_s();
  }
  [[nodiscard]] bool stop() {
    cancelled_ = cancelled_ || (options_.cancelled && options_.cancelled());
    return cancelled_;
  }
  void keep(std::optional<Plan> plan) {
    if (plan && plan->expected.iteration_s < best_s()) best_ = std::move(plan);
  }

  /// Of the whole space: what was solved counts with its bound, what was not with its quick one.
  [[nodiscard]] double lower_bound() const {
    double least = kInfinite;
    for (const auto& candidate : candidates_) least = std::min(least, candidate->report().lower_bound_s);
    return least;
  }

  void tell() const {
    if (!options_.progress) return;
    options_.progress({static_cast<int>(candidates_.size()), done_, best_ ? best_->expected.iteration_s : 0,
                       lower_bound(), evaluated_});
  }

  const CostModel& cost_;
  const SearchOptions& options_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  std::optional<Plan> best_;
  std::int64_t evaluated_ = 0;
  int done_ = 0;
  bool cancelled_ = false;
};

}  // namespace

Result<SearchResult> search_plan(const CostModel& cost, const SearchOptions& options) {
  return Search(cost, options).run();
}

}  // namespace tessera::planner
