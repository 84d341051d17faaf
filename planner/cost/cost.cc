#include "planner/cost/cost.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::planner {
namespace {

// What of a memory's or a product's rate is reached besides the achievable share of large products: streaming
// kernels reach about 0.85 of a GPU memory's rate; fused attention about 0.75 of what products reach
// (FlashAttention-2, arXiv:2307.08691, table 1 against cuBLAS).
constexpr double kStreamingShare = 0.85;
constexpr double kAttentionShare = 0.75;
// Backward of attention computes five products where forward computes two.
constexpr double kAttentionBackward = 2.5;

bool matches(const ProfileLayer& row, LayerKind kind, int layer, const StageShape& shape, std::int64_t tokens,
             const std::string& context, const char* recompute) {
  return row.kind == kind && row.layer == layer && row.tensor_parallel == shape.tensor_parallel &&
         (row.sequence_length == 0 || row.sequence_length == tokens) && row.context == context &&
         row.recompute == recompute;
}

LayerCost blend(const ProfileLayer& low, const ProfileLayer& high, std::int64_t micro_batch) {
  const bool one = low.micro_batch == high.micro_batch;
  const double b = static_cast<double>(micro_batch);
  const double b0 = static_cast<double>(low.micro_batch);
  const double weight = one ? 0 : (b - b0) / static_cast<double>(high.micro_batch - low.micro_batch);
  const auto at = [&](double ProfileLayer::*member) {
    if (one) return low.*member * (b / b0);
    return std::max(0.0, low.*member + weight * (high.*member - low.*member));
  };
  LayerCost cost;
  cost.forward_s = at(&ProfileLayer::forward_s);
  cost.backward_s = at(&ProfileLayer::backward_s);
  cost.activation_bytes = at(&ProfileLayer::activation_bytes);
  cost.workspace_bytes = at(&ProfileLayer::workspace_bytes);
  cost.update_s = low.update_s;
  cost.parameters = low.parameter_bytes;  // in bytes; the caller knows the format
  return cost;
}

}  // namespace

Precision default_precision(const ClusterSpec& cluster) {
  bool bf16 = true;
  for (const NodeSpec& node : cluster.nodes) {
    const DeviceType& type = cluster.type_of(node);
    if (type.kind == DeviceKind::kCpu) return Precision::kFp32;
    bf16 = bf16 && type.bf16;
  }
  return bf16 ? Precision::kBf16 : Precision::kFp16;
}

Result<CostModel> CostModel::create(const ModelSpec& model, const ClusterSpec& cluster,
                                    const TrainSpec& train, const std::optional<Profile>& profile,
                                    std::optional<Precision> precision) {
  CostModel cost(model, cluster, train);
  cost.profile_ = profile;
  cost.precision_ = precision.value_or(default_precision(cluster));
  if (profile) {
    for (auto& [name, device] : cost.profile_->devices) {
      for (ProfileLayer& row : device.layers) {
        const auto mesh = runtime::parse_mesh_shape(row.context);
        if (!mesh.ok()) {
          return bad_input({"profile", fmt::format("devices.{}.layers.context", name), row.context,
                            "a mesh such as 1x1, 2x2 or u2:2x2", "measure again with tessera-profile"});
        }
        row.context = to_string(mesh.value());
        if (row.layer >= 0) cost.identical_layers_ = false;
      }
    }
  }
  for (std::size_t i = 0; i < cluster.nodes.size(); ++i) {
    const NodeSpec& node = cluster.nodes[i];
    const DeviceClass device{node.type, node.speed};
    cost.node_class_.push_back(device);
    auto at = std::find_if(cost.classes_.begin(), cost.classes_.end(),
                           [&](const ClassNodes& known) { return known.device == device; });
    if (at == cost.classes_.end()) {
      cost.classes_.push_back({device, static_cast<int>(i), node.devices, node.devices, 0});
      at = cost.classes_.end() - 1;
    }
    at->fewest_devices = std::min(at->fewest_devices, node.devices);
    at->most_devices = std::max(at->most_devices, node.devices);
    ++at->nodes;
  }
  return cost;
}

Status CostModel::check_shape(const StageShape& shape) const {
  const std::int64_t heads = std::int64_t{shape.tensor_parallel} * shape.context.heads;
  const bool divides = model_.heads % heads == 0 && model_.kv_heads % heads == 0 &&
                       shape.tensor_parallel <= std::min(model_.intermediate_size, model_.vocab_size);
  if (!divides) {
    return bad_input(
        {"plan", "tensor_parallel",
         fmt::format("{} x {} context heads", shape.tensor_parallel, shape.context.heads),
         fmt::format("a divisor of {} heads and {} key/value heads", model_.heads, model_.kv_heads),
         "choose a smaller degree"});
  }
  if (train_.sequence_length < shape.context.ranks()) {
    return bad_input({"plan", "context", to_string(shape.context),
                      fmt::format("at most one rank per token of {}", train_.sequence_length),
                      "choose a smaller mesh"});
  }
  return {};
}

DeviceClass CostModel::device_class(int node) const { return node_class_[static_cast<std::size_t>(node)]; }

const CostModel::ClassNodes& CostModel::nodes_of(DeviceClass device) const {
  const auto at = std::find_if(classes_.begin(), classes_.end(),
                               [&](const ClassNodes& known) { return known.device == device; });
  TS_REQUIRE(at != classes_.end(), device.type, device.speed);
  return *at;
}

double CostModel::device_product_s(DeviceClass device, double flops) const {
  const DeviceType& type = cluster_.types[static_cast<std::size_t>(device.type)];
  // fp32 products on a GPU run in TF32 at half the 16-bit rate.
  const double format = precision_ == Precision::kFp32 && type.kind == DeviceKind::kGpu ? 0.5 : 1;
  return flops / (type.peak_flops * type.achievable_share * format * device.speed);
}

double CostModel::device_memory_s(DeviceClass device, double bytes) const {
  const DeviceType& type = cluster_.types[static_cast<std::size_t>(device.type)];
  return bytes / (type.memory_bytes_per_s * kStreamingShare * device.speed);
}

double CostModel::update_s(DeviceClass device, double parameters) const {
  // AdamW reads weight, gradient and two moments and writes all but the gradient; with 16-bit weights the
  // master copy is read and written and the weight written. The gradient's norm reads it once more.
  const double bytes = precision_ == Precision::kFp32 ? 7 * 4 + 4 : 7 * 4 + 2 + 4;
  return device_memory_s(device, parameters * bytes);
}

double CostModel::capacity_bytes(DeviceClass device) const {
  const DeviceType& type = cluster_.types[static_cast<std::size_t>(device.type)];
  double reserved = type.reserved_bytes;
  if (profile_) {
    const auto at = profile_->devices.find(type.name);
    if (at != profile_->devices.end() && at->second.base_bytes > 0) reserved = at->second.base_bytes;
  }
  return std::max(0.0, type.memory_bytes - reserved);
}

double CostModel::state_bytes_per_parameter(std::int64_t owners) const {
  const double shared = 1.0 / static_cast<double>(owners);
  return precision_ == Precision::kFp32 ? 4 + 4 + 8 * shared : 2 + 4 + 12 * shared;
}
double CostModel::gradient_bytes() const { return 4; }
double CostModel::parameter_bytes() const { return element_bytes(); }

std::optional<LayerCost> CostModel::measured(LayerKind kind, int layer, DeviceClass device,
                                             const StageShape& shape, Recompute recompute) const {
  if (!profile_) return std::nullopt;
  const auto at = profile_->devices.find(cluster_.types[static_cast<std::size_t>(device.type)].name);
  if (at == profile_->devices.end()) return std::nullopt;
  const std::string context = to_string(shape.context);
  std::vector<const ProfileLayer*> rows;
  for (const int wanted : {layer, -1}) {  // the layer's own rows before everyone's
    for (const ProfileLayer& row : at->second.layers) {
      if (matches(row, kind, wanted, shape, train_.sequence_length, context, recompute_name(recompute))) {
        rows.push_back(&row);
      }
    }
    if (!rows.empty() || wanted == -1) break;
  }
  if (rows.empty()) return std::nullopt;
  std::sort(rows.begin(), rows.end(), [](const ProfileLayer* a, const ProfileLayer* b) {
    return std::pair(a->micro_batch, a->sequence_length) < std::pair(b->micro_batch, b->sequence_length);
  });
  // The two sizes around the wanted one, or the two nearest on its side.
  std::size_t high = 0;
  while (high + 1 < rows.size() && rows[high]->micro_batch < shape.micro_batch) ++high;
  const bool exact = rows[high]->micro_batch == shape.micro_batch;
  if (!exact && high == 0 && rows.size() > 1) high = 1;
  const std::size_t low = exact || high == 0 ? high : high - 1;
  LayerCost cost = blend(*rows[low], *rows[high], shape.micro_batch);
  cost.parameters /= parameter_bytes();
  cost.forward_s /= device.speed;
  cost.backward_s /= device.speed;
  cost.update_s /= device.speed;
  if (cost.update_s == 0) cost.update_s = update_s(device, cost.parameters);
  return cost;
}

double CostModel::tensor_ring_s(DeviceClass device, int ranks, double bytes) const {
  if (ranks == 1) return 0;
  const double chunk = bytes / ranks;
  return (ranks - 1) * intra(nodes_of(device).example).seconds(chunk);
}

double CostModel::context_link_s(DeviceClass device, const StageShape& shape, double bytes) const {
  const ClassNodes& nodes = nodes_of(device);
  const bool inside = nodes.fewest_devices >= shape.tensor_parallel * shape.context.ranks();
  return inside ? intra(nodes.example).seconds(bytes)
                : inter(nodes.example).seconds(bytes * shape.tensor_parallel);
}

LayerCost CostModel::analytic_decoder(DeviceClass device, const StageShape& shape,
                                      Recompute recompute) const {
  // T rows of the cell, S of them this rank's own; widths of this tensor rank (runtime/model/activations.h).
  const double e = element_bytes();
  const double t = shape.tensor_parallel;
  const double ranks = shape.context.ranks();
  const double b = static_cast<double>(shape.micro_batch);
  const double s = static_cast<double>(train_.sequence_length);
  const double T = b * s / ranks;
  const double S = T / t;
  const double D = static_cast<double>(model_.hidden_size);
  const double F = static_cast<double>(model_.intermediate_size) / t;
  const double H = model_.heads / t;
  const double q = H * model_.head_dim;
  const double kv = model_.kv_heads / t * model_.head_dim;

  LayerCost cost;
  const double weights = D * (q + 2 * kv) + q * D + 3 * D * F;
  cost.parameters = weights + 2 * D;
  cost.update_s = update_s(device, cost.parameters);

  const double products = device_product_s(device, 2 * T * weights);
  const double operands = device_memory_s(device, e * (weights + T * (4 * D + 2 * q + 2 * kv + 3 * F)));
  const double product_s = std::max(products, operands);
  // Two norms, two additions, rotation, SwiGLU: each reads and writes what it touches.
  const double streaming_s = device_memory_s(device, e * (10 * S * D + 2 * T * (q + kv) + 3 * T * F));

  const double window = train_.window > 0 ? std::min(static_cast<double>(train_.window), s) : s;
  const double pairs = window * s - window * (window - 1) / 2;
  const double attention_s = device_product_s(device, 4 * q * pairs * b / ranks) / kAttentionShare;

  // Mesh-Attention's messages run while it computes; the exchange of heads does not.
  const MeshShape& mesh = shape.context;
  const double query = e * T * q;  // = A of volume.h: u * c_rank tokens of H / u heads
  const double rows = 4 * T * H;   // L
  const double key_value = e * T * kv;
  const double forward_bytes = (mesh.a() - 1) * (2 * query + rows) + (mesh.b() - 1) * 2 * key_value;
  const double backward_bytes = (mesh.a() - 1) * (3 * query + 2 * rows) + (mesh.b() - 1) * 4 * key_value;
  const double heads_away = (mesh.heads - 1.0) / mesh.heads;
  const double exchange_forward =
      mesh.heads > 1 ? context_link_s(device, shape, heads_away * (2 * query + 2 * key_value + rows)) : 0;
  const double exchange_backward =
      mesh.heads > 1 ? context_link_s(device, shape, heads_away * (3 * query + 4 * key_value + 2 * rows)) : 0;
  const double attention_forward =
      std::max(attention_s, context_link_s(device, shape, forward_bytes)) + exchange_forward;
  const double attention_backward =
      std::max(kAttentionBackward * attention_s, context_link_s(device, shape, backward_bytes)) +
      exchange_backward;

  const double ring = tensor_ring_s(device, shape.tensor_parallel, e * T * D);
  cost.forward_s = product_s + streaming_s + attention_forward + 4 * ring;
  cost.backward_s = 2 * (product_s + streaming_s) + attention_backward + 4 * ring;

  const double everything =
      e * (2 * S * D + 2 * T * D + T * (2 * q + 2 * kv) + 2 * T * F) + 4 * (T * H + 2 * S);
  cost.activation_bytes = everything;
  if (recompute == Recompute::kSelective) {
    cost.activation_bytes = e * (S * D + T * q) + 4 * T * H;
    const double down = D * F / weights;  // the last product's result is not needed again
    cost.backward_s += product_s * (1 - down) + streaming_s + 3 * ring;
  } else if (recompute == Recompute::kFull) {
    cost.activation_bytes = e * S * D;
    cost.backward_s += cost.forward_s;
  }
  cost.workspace_bytes = e * (T * D + S * D + T * (3 * q + 4 * kv) + 2 * T * F + (t > 1 ? T * D : 0));
  return cost;
}

LayerCost CostModel::decoder(DeviceClass device, const StageShape& shape, int layer,
                             Recompute recompute) const {
  if (const auto row = measured(LayerKind::kDecoder, layer, device, shape, recompute)) return *row;
  const LayerCost analytic = analytic_decoder(device, shape, recompute);
  if (recompute == Recompute::kNone) return analytic;
  auto row = measured(LayerKind::kDecoder, layer, device, shape, Recompute::kNone);
  if (!row) return analytic;
  // Only the layer that keeps everything was measured: what is computed again and what is kept in proportion.
  const LayerCost keeps = analytic_decoder(device, shape, Recompute::kNone);
  row->backward_s += row->forward_s * (analytic.backward_s - keeps.backward_s) / keeps.forward_s;
  row->activation_bytes *= analytic.activation_bytes / keeps.activation_bytes;
  return *row;
}

LayerCost CostModel::analytic_embedding(DeviceClass device, const StageShape& shape) const {
  const double e = element_bytes();
  const double rows = static_cast<double>(shape.micro_batch * train_.sequence_length) / shape.context.ranks();
  const double width = static_cast<double>(model_.hidden_size);
  LayerCost cost;
  cost.parameters = static_cast<double>(model_.vocab_size) * width / shape.tensor_parallel;
  cost.update_s = update_s(device, cost.parameters);
  const double ring = tensor_ring_s(device, shape.tensor_parallel, e * rows * width);
  cost.forward_s = device_memory_s(device, 2 * e * rows * width) + ring;
  cost.backward_s = device_memory_s(device, 3 * e * rows * width) + ring;
  return cost;
}

LayerCost CostModel::analytic_head(DeviceClass device, const StageShape& shape) const {
  const double e = element_bytes();
  const double t = shape.tensor_parallel;
  const double rows = static_cast<double>(shape.micro_batch * train_.sequence_length) / shape.context.ranks();
  const double width = static_cast<double>(model_.hidden_size);
  const double vocabulary = static_cast<double>(model_.vocab_size) / t;
  LayerCost cost;
  cost.parameters = vocabulary * width + width;
  cost.update_s = update_s(device, cost.parameters);
  const double ring = tensor_ring_s(device, shape.tensor_parallel, e * rows * width);
  const double product = device_product_s(device, 2 * rows * vocabulary * width);
  // Logits, their maximum, sum and gradient pass through memory in fp32.
  const double streaming = device_memory_s(device, 4 * 4 * rows * vocabulary + 3 * e * rows * width / t);
  cost.forward_s = product + streaming / 2 + ring;
  cost.backward_s = 2 * product + streaming / 2 + ring;
  constexpr double kRowsAtOnce = 1024;  // runtime/model/lm_head.h
  cost.workspace_bytes = 4 * std::min(rows, kRowsAtOnce) * vocabulary;
  return cost;
}

LayerCost CostModel::embedding(DeviceClass device, const StageShape& shape) const {
  const auto row = measured(LayerKind::kEmbedding, -1, device, shape, Recompute::kNone);
  return row ? *row : analytic_embedding(device, shape);
}

LayerCost CostModel::head(DeviceClass device, const StageShape& shape, bool only_stage) const {
  const auto row = measured(LayerKind::kHead, -1, device, shape, Recompute::kNone);
  LayerCost cost = row ? *row : analytic_head(device, shape);
  if (model_.tie_word_embeddings && only_stage && cost.parameters > 0) {
    const double norm = std::min(cost.parameters, static_cast<double>(model_.hidden_size));
    cost.update_s *= norm / cost.parameters;
    cost.parameters = norm;
  }
  return cost;
}

double CostModel::edge_activation_bytes(const StageShape& shape, bool first, bool last) const {
  // A measured profile has no row for the edges; these are the runtime's buffers
  // (runtime/model/activations.h).
  const double e = element_bytes();
  const double rows = static_cast<double>(shape.micro_batch * train_.sequence_length) / shape.context.ranks();
  const double width = static_cast<double>(model_.hidden_size);
  const double own = rows / shape.tensor_parallel * width;
  return e * ((last ? own + rows * width : 2 * own) + (first ? 0 : own));
}

const LinkCurve& CostModel::intra(int node) const {
  const NodeSpec& spec = cluster_.nodes[static_cast<std::size_t>(node)];
  if (profile_) {
    const auto at = profile_->links.find(cluster_.type_of(spec).name);
    if (at != profile_->links.end() && !at->second.intra.empty()) return at->second.intra;
  }
  return spec.intra;
}

const LinkCurve& CostModel::inter(int node) const {
  const NodeSpec& spec = cluster_.nodes[static_cast<std::size_t>(node)];
  if (profile_) {
    const auto at = profile_->links.find(cluster_.type_of(spec).name);
    if (at != profile_->links.end() && !at->second.inter.empty()) return at->second.inter;
  }
  return spec.inter;
}

double CostModel::between_s(double bytes, int from, int to) const {
  double slowest = std::max(inter(from).seconds(bytes), inter(to).seconds(bytes));
  const NodeSpec& a = cluster_.nodes[static_cast<std::size_t>(from)];
  const NodeSpec& b = cluster_.nodes[static_cast<std::size_t>(to)];
  if (a.region != b.region && !cluster_.between_regions.empty()) {
    slowest = std::max(slowest, cluster_.between_regions.seconds(bytes));
  }
  return slowest;
}

double CostModel::boundary_bytes(const StageShape& shape) const {
  const double rows = static_cast<double>(shape.micro_batch * train_.sequence_length) / shape.context.ranks();
  return element_bytes() * rows / shape.tensor_parallel * static_cast<double>(model_.hidden_size);
}

double CostModel::send_s(double bytes, DeviceSlot from, DeviceSlot to, int concurrent) const {
  if (from.node == to.node) return intra(from.node).seconds(bytes);
  return between_s(bytes * concurrent, from.node, to.node);
}

double CostModel::least_send_s(double bytes, DeviceClass from, DeviceClass to,
                               const StageShape& shape) const {
  const int cell = shape.tensor_parallel;
  double least = std::numeric_limits<double>::infinity();
  // Equal links are the rule: each distinct pair of curves is looked at once.
  std::vector<int> starts;
  std::vector<int> ends;
  const auto add = [&](std::vector<int>& list, int node) {
    const NodeSpec& spec = cluster_.nodes[static_cast<std::size_t>(node)];
    for (const int known : list) {
      const NodeSpec& other = cluster_.nodes[static_cast<std::size_t>(known)];
      if (other.inter == spec.inter && other.intra == spec.intra && other.region == spec.region) return;
    }
    list.push_back(node);
  };
  for (std::size_t i = 0; i < cluster_.nodes.size(); ++i) {
    const int node = static_cast<int>(i);
    if (node_class_[i] == from) {
      add(starts, node);
      if (from == to && cluster_.nodes[i].devices >= 2 * cell) {
        least = std::min(least, intra(node).seconds(bytes));
      }
    }
    if (node_class_[i] == to) add(ends, node);
  }
  for (const int start : starts) {
    for (const int end : ends) least = std::min(least, between_s(bytes * cell, start, end));
  }
  return least;
}

double CostModel::ring_s(CollectiveKind kind, double bytes, const CollectiveGroup& group) const {
  const int ranks = static_cast<int>(group.members.size());
  if (ranks <= 1 || !(bytes > 0)) return 0;
  std::vector<int> nodes;
  for (const DeviceSlot slot : group.members) nodes.push_back(slot.node);
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  const bool inside = nodes.size() == 1;
  const double shared = inside ? bytes : bytes * group.concurrent;
  const auto ring_share = [](double n) { return (n - 1) / n; };

  // A measured collective of the slowest device counts: of the nearest size, inside one node or across.
  double measured = 0;
  if (profile_) {
    for (const int node : nodes) {
      const std::string& device = cluster_.type_of(cluster_.nodes[static_cast<std::size_t>(node)]).name;
      const CollectiveProfile* best = nullptr;
      double best_distance = 0;
      for (const CollectiveProfile& row : profile_->collectives) {
        if (row.kind != kind || row.device != device || (row.nodes == 1) != inside) continue;
        const double distance = std::abs(std::log2(static_cast<double>(row.ranks) / ranks)) +
                                0.1 * std::abs(std::log2(static_cast<double>(row.nodes) / nodes.size()));
        if (best == nullptr || distance < best_distance) {
          best = &row;
          best_distance = distance;
        }
      }
      if (best == nullptr) continue;
      measured =
          std::max(measured, best->curve.seconds(shared) * ring_share(ranks) / ring_share(best->ranks));
    }
  }
  if (measured > 0) return measured;

  const int steps = kind == CollectiveKind::kAllReduce ? 2 * (ranks - 1) : ranks - 1;
  const double chunk = shared / ranks;
  double slowest = 0;
  if (inside) {
    slowest = intra(nodes.front()).seconds(chunk);
  } else {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      slowest = std::max(slowest, between_s(chunk, nodes[i], nodes[(i + 1) % nodes.size()]));
    }
  }
  return steps * slowest;
}

namespace {
bool has_kind(const std::optional<Profile>& profile, CollectiveKind kind) {
  return profile && std::any_of(profile->collectives.begin(), profile->collectives.end(),
                                [&](const CollectiveProfile& row) { return row.kind == kind; });
}
}  // namespace

double CostModel::reduce_scatter_s(double bytes, const CollectiveGroup& group) const {
  const bool halve =
      !has_kind(profile_, CollectiveKind::kReduceScatter) && has_kind(profile_, CollectiveKind::kAllReduce);
  return halve ? ring_s(CollectiveKind::kAllReduce, bytes, group) / 2
               : ring_s(CollectiveKind::kReduceScatter, bytes, group);
}

double CostModel::all_gather_s(double bytes, const CollectiveGroup& group) const {
  const bool halve =
      !has_kind(profile_, CollectiveKind::kAllGather) && has_kind(profile_, CollectiveKind::kAllReduce);
  return halve ? ring_s(CollectiveKind::kAllReduce, bytes, group) / 2
               : ring_s(CollectiveKind::kAllGather, bytes, group);
}

double CostModel::least_ring_s_per_byte(int members, int concurrent) const {
  // ring_s is (n - 1) seconds(shared / n) on the slowest link of those it uses, or a measured curve's seconds
  // of `shared` times (n - 1) / n over the same of the ranks measured, which is below 1; both are at least
  // (n - 1) / n * shared times the least quotient of any curve it may use, and (n - 1) / n rises with n.
  if (members <= 1) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t n = 0; n < cluster_.nodes.size(); ++n) {
    const int node = static_cast<int>(n);
    if (cluster_.nodes[n].devices >= members * concurrent) {
      least = std::min(least, intra(node).least_seconds_per_byte());
    }
    least = std::min(least, concurrent * inter(node).least_seconds_per_byte());
  }
  if (profile_) {
    for (const CollectiveProfile& row : profile_->collectives) {
      // Half an all-reduce stands for a part that was not measured.
      const double part = row.kind == CollectiveKind::kAllReduce ? 0.5 : 1;
      least = std::min(least, part * row.curve.least_seconds_per_byte());
    }
  }
  if (!(least < std::numeric_limits<double>::infinity())) return 0;  // nothing can be sent at all
  return least * (members - 1) / members;
}

double CostModel::all_reduce_s(double bytes, const CollectiveGroup& group) const {
  return ring_s(CollectiveKind::kAllReduce, bytes, group);
}

}  // namespace tessera::planner
