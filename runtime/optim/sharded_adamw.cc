#include "runtime/optim/sharded_adamw.h"

#include <algorithm>
#include <array>
#include <utility>

#include "algos/base/require.h"
#include "kernels/optim/adamw.h"

namespace tessera::runtime {
namespace {

std::span<float> piece(float* flat, FlatRange range) {
  return {flat + range.offset, static_cast<std::size_t>(range.count)};
}

}  // namespace

std::vector<FlatRange> bucket_ranges(FlatRange range, std::int64_t bucket_floats) {
  TS_REQUIRE(bucket_floats >= 1, bucket_floats);
  std::vector<FlatRange> buckets;
  const std::int64_t end = range.offset + range.count;
  for (std::int64_t begin = range.offset; begin < end; begin += bucket_floats) {
    buckets.push_back({begin, std::min(bucket_floats, end - begin)});
  }
  return buckets;
}

FlatRange shard_of(FlatRange bucket, int replicas, int replica) {
  const std::int64_t first = block_begin(bucket.count, replicas, replica);
  return {bucket.offset + first, block_begin(bucket.count, replicas, replica + 1) - first};
}

ShardedAdamw::ShardedAdamw(Communicator& replicas, const ParameterLayout& layout, const AdamwOptions& options,
                           std::int64_t bucket_floats)
    : ShardedAdamw(std::array{ReplicaRange{{0, layout.total()}, &replicas}}, nullptr, layout, options,
                   bucket_floats) {}

ShardedAdamw::ShardedAdamw(std::span<const ReplicaRange> ranges, Communicator* tensor,
                           const ParameterLayout& layout, const AdamwOptions& options,
                           std::int64_t bucket_floats)
    : tensor_(tensor != nullptr && tensor->size() > 1 ? tensor : nullptr), options_(options) {
  std::int64_t at = 0;
  for (const ReplicaRange& part : ranges) {
    TS_REQUIRE(part.range.offset == at, part.range.offset, at);
    at += part.range.count;
    for (const FlatRange& bucket : bucket_ranges(part.range, bucket_floats)) {
      add_bucket(bucket, *part.replicas, layout);
    }
  }
  TS_REQUIRE(at == layout.total(), at, layout.total());
  m_ = kernels::Buffer<float>(shard_floats_);
  v_ = kernels::Buffer<float>(shard_floats_);
  if (tensor_ == nullptr) return;
  for (const ParameterInfo& parameter : layout.parameters()) {
    if (parameter.cut_dim < 0) on_all_tensor_ranks_.push_back({parameter.offset, parameter.count});
  }
}

void ShardedAdamw::add_bucket(FlatRange range, Communicator& replicas, const ParameterLayout& layout) {
  Bucket bucket;
  bucket.range = range;
  bucket.replicas = &replicas;
  owned_.push_back(shard_of(range, replicas.size(), replicas.rank().value));
  const std::int64_t first = owned_.back().offset;
  const std::int64_t last = first + owned_.back().count;
  // A segment ends where the decay changes; the gap before a parameter belongs to it and stays zero.
  std::int64_t at = first;
  for (const ParameterInfo& parameter : layout.parameters()) {
    const std::int64_t end = std::min(last, parameter.offset + parameter.count);
    if (end <= at) continue;
    const bool on_all = tensor_ != nullptr && parameter.cut_dim < 0;
    if (!bucket.segments.empty() && bucket.segments.back().decay == parameter.decay &&
        bucket.segments.back().on_all_tensor_ranks == on_all) {
      bucket.segments.back().range.count += end - at;
    } else {
      bucket.segments.push_back({{at, end - at}, shard_floats_ + (at - first), parameter.decay, on_all});
    }
    at = end;
    if (at == last) break;
  }
  shard_floats_ += last - first;
  buckets_.push_back(std::move(bucket));
}

void ShardedAdamw::start(float* gradients) {
  gradients_ = gradients;
  for (Bucket& bucket : buckets_) {
    bucket.ready = 0;
    bucket.started = false;
  }
}

void ShardedAdamw::reduce(Bucket& bucket) {
  bucket.started = true;
  bucket.request = ireduce_scatter_sum(*bucket.replicas, piece(gradients_, bucket.range), Traffic::kGradient);
}

void ShardedAdamw::gradient_ready(std::int64_t offset, std::int64_t count) {
  TS_REQUIRE(gradients_ != nullptr, offset, count);
  const std::int64_t end = offset + count;
  for (const FlatRange& whole : on_all_tensor_ranks_) {
    if (offset <= whole.offset && whole.offset < end) {
      all_reduce_sum(*tensor_, piece(gradients_, whole), Traffic::kTensor);
    }
  }
  const auto behind = [](std::int64_t at, const Bucket& bucket) { return at < bucket.range.offset; };
  auto bucket = std::upper_bound(buckets_.begin(), buckets_.end(), offset, behind) - 1;
  for (; bucket != buckets_.end() && bucket->range.offset < end; ++bucket) {
    const std::int64_t first = std::max(offset, bucket->range.offset);
    const std::int64_t last = std::min(end, bucket->range.offset + bucket->range.count);
    bucket->ready += last - first;
    TS_REQUIRE(bucket->ready <= bucket->range.count, bucket->range.offset, bucket->ready, offset, count);
    if (bucket->ready == bucket->range.count) reduce(*bucket);
  }
  buckets_.front().replicas->poll();  // all that were split from one communicator advance together
}

double ShardedAdamw::finish_reduction() {
  TS_REQUIRE(gradients_ != nullptr);
  for (Bucket& bucket : buckets_) {
    TS_REQUIRE(bucket.started || tensor_ == nullptr, bucket.range.offset, bucket.ready);
    if (!bucket.started) reduce(bucket);
  }
  double squares = 0;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    Bucket& bucket = buckets_[b];
    bucket.replicas->wait(bucket.request);
    squares += kernels::sum_of_squares(gradients_ + owned_[b].offset, owned_[b].count);
    for (const Segment& segment : bucket.segments) {
      if (!segment.on_all_tensor_ranks) continue;
      const double times = static_cast<double>(tensor_->size() - 1) / tensor_->size();  // too often
      squares -= times * kernels::sum_of_squares(gradients_ + segment.range.offset, segment.range.count);
    }
  }
  return squares;
}

void ShardedAdamw::update(float* parameters, std::int64_t step, double learning_rate, double gradient_scale) {
  std::vector<Request> gathers;
  gathers.reserve(buckets_.size());
  for (const Bucket& bucket : buckets_) {
    for (const Segment& segment : bucket.segments) {
      kernels::adamw(parameters + segment.range.offset, m_.data() + segment.shard_offset,
                     v_.data() + segment.shard_offset, gradients_ + segment.range.offset, segment.range.count,
                     {.learning_rate = learning_rate,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .eps = options_.eps,
                      .weight_decay = segment.decay ? options_.weight_decay : 0,
                      .step = step,
                      .gradient_scale = gradient_scale});
    }
    gathers.push_back(iall_gather(*bucket.replicas, piece(parameters, bucket.range), Traffic::kParameter));
    bucket.replicas->poll();
  }
  if (!buckets_.empty()) buckets_.front().replicas->wait_all(gathers);
  gradients_ = nullptr;
}

ShardedAdamw::StepBytes ShardedAdamw::step_bytes() const {
  StepBytes bytes;
  // Of a ring: a reduce-scatter keeps the own block, an all-gather that of the right neighbour.
  const auto add = [](const Communicator& ranks, std::int64_t count, std::int64_t& scatter,
                      std::int64_t& gather) {
    const int n = ranks.size();
    const int r = ranks.rank().value;
    const auto block = [&](int i) { return block_begin(count, n, i + 1) - block_begin(count, n, i); };
    scatter += 4 * (count - block(r));
    gather += 4 * (count - block((r + 1) % n));
  };
  for (const Bucket& bucket : buckets_) {
    add(*bucket.replicas, bucket.range.count, bytes.gradient, bytes.parameter);
  }
  for (const FlatRange& whole : on_all_tensor_ranks_) add(*tensor_, whole.count, bytes.tensor, bytes.tensor);
  return bytes;
}

}  // namespace tessera::runtime
