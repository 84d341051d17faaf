#include "runtime/optim/sharded_adamw.h"

#include <algorithm>

#include "algos/base/require.h"
#include "kernels/optim/adamw.h"

namespace tessera::runtime {
namespace {

std::span<float> piece(float* flat, FlatRange range) {
  return {flat + range.offset, static_cast<std::size_t>(range.count)};
}

}  // namespace

ShardedAdamw::ShardedAdamw(Communicator& replicas, const ParameterLayout& layout, const AdamwOptions& options,
                           std::int64_t bucket_floats)
    : replicas_(replicas), options_(options), bucket_floats_(bucket_floats) {
  TS_REQUIRE(bucket_floats >= 1, bucket_floats);
  const int n = replicas.size();
  const int r = replicas.rank().value;
  std::int64_t shard = 0;
  for (std::int64_t begin = 0; begin < layout.total(); begin += bucket_floats) {
    Bucket bucket;
    bucket.range = {begin, std::min(bucket_floats, layout.total() - begin)};
    const std::int64_t first = begin + block_begin(bucket.range.count, n, r);
    const std::int64_t last = begin + block_begin(bucket.range.count, n, r + 1);
    owned_.push_back({first, last - first});
    // A segment ends where the decay changes; the gap before a parameter belongs to it and stays zero.
    std::int64_t at = first;
    for (const ParameterInfo& parameter : layout.parameters()) {
      const std::int64_t end = std::min(last, parameter.offset + parameter.count);
      if (end <= at) continue;
      if (!bucket.segments.empty() && bucket.segments.back().decay == parameter.decay) {
        bucket.segments.back().range.count += end - at;
      } else {
        bucket.segments.push_back({{at, end - at}, shard + (at - first), parameter.decay});
      }
      at = end;
      if (at == last) break;
    }
    shard += last - first;
    buckets_.push_back(std::move(bucket));
  }
  m_ = kernels::Buffer<float>(shard);
  v_ = kernels::Buffer<float>(shard);
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
  bucket.request = ireduce_scatter_sum(replicas_, piece(gradients_, bucket.range), Traffic::kGradient);
}

void ShardedAdamw::gradient_ready(std::int64_t offset, std::int64_t count) {
  TS_REQUIRE(gradients_ != nullptr, offset, count);
  const std::int64_t end = offset + count;
  for (std::int64_t b = offset / bucket_floats_; b * bucket_floats_ < end; ++b) {
    Bucket& bucket = buckets_.at(static_cast<std::size_t>(b));
    const std::int64_t first = std::max(offset, bucket.range.offset);
    const std::int64_t last = std::min(end, bucket.range.offset + bucket.range.count);
    bucket.ready += last - first;
    TS_REQUIRE(bucket.ready <= bucket.range.count, b, bucket.ready, offset, count);
    if (bucket.ready == bucket.range.count) reduce(bucket);
  }
  replicas_.poll();
}

double ShardedAdamw::finish_reduction() {
  TS_REQUIRE(gradients_ != nullptr);
  for (Bucket& bucket : buckets_) {
    if (!bucket.started) reduce(bucket);
  }
  double squares = 0;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    replicas_.wait(buckets_[b].request);
    squares += kernels::sum_of_squares(gradients_ + owned_[b].offset, owned_[b].count);
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
    gathers.push_back(iall_gather(replicas_, piece(parameters, bucket.range), Traffic::kParameter));
    replicas_.poll();
  }
  replicas_.wait_all(gathers);
  gradients_ = nullptr;
}

ShardedAdamw::StepBytes ShardedAdamw::step_bytes() const {
  const int n = replicas_.size();
  const int r = replicas_.rank().value;
  StepBytes bytes;
  for (const Bucket& bucket : buckets_) {
    const auto block = [&](int i) {
      return block_begin(bucket.range.count, n, i + 1) - block_begin(bucket.range.count, n, i);
    };
    bytes.gradient += 4 * (bucket.range.count - block(r));             // its own block stays
    bytes.parameter += 4 * (bucket.range.count - block((r + 1) % n));  // the right neighbour has that one
  }
  return bytes;
}

}  // namespace tessera::runtime
