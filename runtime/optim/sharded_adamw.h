/// AdamW whose moments are spread over all replicas of the parameters. Rajbhandari et al. 2020,
/// arXiv:1910.02054, stage 1.
///
/// The flat buffers (parameters.h) are cut into buckets of `bucket_floats`. A bucket's gradients are
/// reduce-scattered as soon as the backward pass has finished them, while it goes on with earlier layers;
/// each rank updates its block of every bucket; the block's all-gather runs while the next is updated.
///
/// Worked example, n = 2 ranks, N = 10 floats, buckets of 4: [0,4) [4,8) [8,10).
///   rank 0 owns [0,2) [4,6) [8,9), rank 1 owns [2,4) [6,8) [9,10); m and v hold those 5 floats, in order.
///
/// In a pipeline whose groups are cut differently, layers have different replicas: the flat buffer is then
/// several ranges, each with the communicator of its owners, and no bucket crosses a range.
/// Tensor parallel, the replicas are those of the rank's own block; the norms, which every tensor rank holds
/// whole, are summed over the tensor ranks first and count once in the norm of the gradient.
///
/// Order of use in a step:
///   start(gradients)  gradient_ready(...)*  finish_reduction()  update(parameters, ...)
///
/// Memory    2 * 4 * N / n bytes of moments.
/// Traffic   per rank and step about (n-1)/n * 4N bytes sent of kGradient, as many of kParameter.
/// Result    the same on every rank, bit for bit, and from run to run on the same number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/device/buffer.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/communicator.h"
#include "runtime/model/parameters.h"

namespace tessera::runtime {

struct AdamwOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // of matrices; vectors do not decay
};

/// A piece of the flat buffer.
struct FlatRange {
  std::int64_t offset = 0;
  std::int64_t count = 0;
  bool operator==(const FlatRange&) const = default;
};

/// The buckets a range is cut into, and what one of `replicas` owns of a bucket.
[[nodiscard]] std::vector<FlatRange> bucket_ranges(FlatRange range, std::int64_t bucket_floats);
[[nodiscard]] FlatRange shard_of(FlatRange bucket, int replicas, int replica);

/// Who else holds a range of this rank's flat buffer. `replicas` must outlive the optimizer.
struct ReplicaRange {
  FlatRange range;
  Communicator* replicas = nullptr;
};

class ShardedAdamw {
 public:
  static constexpr std::int64_t kBucketFloats = std::int64_t{1} << 20;

  /// `replicas`: every rank that holds these parameters; must outlive this.
  ShardedAdamw(Communicator& replicas, const ParameterLayout& layout, const AdamwOptions& options,
               std::int64_t bucket_floats = kBucketFloats);
  /// `ranges` rise and are together the whole buffer. Their communicators are splits of one. `tensor`: the
  /// tensor-parallel ranks, must outlive this; null: one.
  ShardedAdamw(std::span<const ReplicaRange> ranges, Communicator* tensor, const ParameterLayout& layout,
               const AdamwOptions& options, std::int64_t bucket_floats = kBucketFloats);

  /// Gradients of this step will arrive in `gradients`, flat.
  void start(float* gradients);
  /// [offset, offset + count) is final; the same calls in the same order on every rank that shares the range
  /// (and, tensor parallel, naming whole parameters). Ranges of a step must be disjoint; what was never named
  /// is taken as final by finish_reduction, which several tensor ranks do not allow.
  void gradient_ready(std::int64_t offset, std::int64_t count);
  /// Waits for the sums. Returns the sum of squares over this rank's shard: their sum over all ranks,
  /// replicas or not, is the square of the global norm.
  [[nodiscard]] double finish_reduction();
  /// Updates this rank's shard and gathers everyone's. `step` counts from 1.
  void update(float* parameters, std::int64_t step, double learning_rate, double gradient_scale);

  /// The pieces of the flat buffer this rank updates, increasing; moments lie one after the other.
  [[nodiscard]] std::span<const FlatRange> owned() const { return owned_; }
  /// Bytes this rank sends in a step: all blocks but one of every bucket, twice; of the norms, all blocks but
  /// one twice to the tensor ranks.
  struct StepBytes {
    std::int64_t gradient = 0;
    std::int64_t parameter = 0;
    std::int64_t tensor = 0;
  };
  [[nodiscard]] StepBytes step_bytes() const;

  [[nodiscard]] std::span<float> first_moment() { return m_.span(); }
  [[nodiscard]] std::span<float> second_moment() { return v_.span(); }

 private:
  /// Neighbours in the shard with the same decay, updated by one kernel call.
  struct Segment {
    FlatRange range;
    std::int64_t shard_offset = 0;
    bool decay = true;
    bool on_all_tensor_ranks = false;
  };
  struct Bucket {
    FlatRange range;
    Communicator* replicas = nullptr;
    std::int64_t ready = 0;  // floats
    bool started = false;
    Request request;
    std::vector<Segment> segments;
  };
  void add_bucket(FlatRange range, Communicator& replicas, const ParameterLayout& layout);
  void reduce(Bucket& bucket);

  Communicator* tensor_;
  AdamwOptions options_;
  std::vector<FlatRange> on_all_tensor_ranks_;  // parameters to sum over the tensor ranks, rising
  std::vector<Bucket> buckets_;
  std::vector<FlatRange> owned_;
  std::int64_t shard_floats_ = 0;
  kernels::Buffer<float> m_;
  kernels::Buffer<float> v_;
  float* gradients_ = nullptr;
};

}  // namespace tessera::runtime
