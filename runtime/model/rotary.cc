#include "runtime/model/rotary.h"

#include <algorithm>
#include <numeric>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/rope/rope.h"

namespace tessera::runtime {
namespace {

// Rows per piece of work: a row is a few KiB, so a piece stays in the second-level cache.
constexpr std::int64_t kRowsPerPiece = 16;

/// body(row, token, count) for runs of rows that do not cross from one sequence to the next.
template <class Body>
void for_each_run(std::int64_t rows, std::int64_t tokens, const Body& body) {
  kernels::parallel_ranges(rows, kRowsPerPiece, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t token = begin % tokens;
      const std::int64_t count = std::min({end - begin, tokens - token, kRowsPerPiece});
      body(begin, token, count);
      begin += count;
    }
  });
}

}  // namespace

Rotary::Rotary(const planner::ModelSpec& spec, std::int64_t capacity)
    : heads_(spec.heads),
      kv_heads_(spec.kv_heads),
      head_dim_(spec.head_dim),
      inverse_frequencies_(spec.head_dim / 2),
      cos_(capacity * (spec.head_dim / 2)),
      sin_(capacity * (spec.head_dim / 2)),
      positions_(capacity) {
  TS_REQUIRE(spec.head_dim % 2 == 0, spec.head_dim);
  std::ranges::copy(planner::rope_inverse_frequencies(spec), inverse_frequencies_.data());
}

Rotary::Rotary(const planner::ModelSpec& spec, std::span<const std::int32_t> positions)
    : Rotary(spec, static_cast<std::int64_t>(positions.size())) {
  std::ranges::copy(positions, positions_.data());
  fill(positions_.span());
}

void Rotary::set_positions(std::int64_t first, std::int64_t count) {
  TS_REQUIRE(count <= positions_.size(), count, positions_.size());
  const auto positions = positions_.span().first(static_cast<std::size_t>(count));
  std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(first));
  fill(positions);
}

void Rotary::fill(std::span<const std::int32_t> positions) {
  tokens_ = static_cast<std::int64_t>(positions.size());
  kernels::rope_table(cos_.data(), sin_.data(), positions.data(), inverse_frequencies_.data(), tokens_,
                      head_dim_ / 2);
}

void Rotary::unpack(float* q, float* k, float* v, const float* qkv, std::int64_t rows) const {
  const std::int64_t q_width = std::int64_t{heads_} * head_dim_;
  const std::int64_t kv_width = std::int64_t{kv_heads_} * head_dim_;
  const std::int64_t width = q_width + 2 * kv_width;
  for_each_run(rows, tokens_, [&](std::int64_t row, std::int64_t token, std::int64_t count) {
    for (std::int64_t t = row; t < row + count; ++t) {
      const float* from = qkv + t * width;
      std::copy_n(from, q_width, q + t * q_width);
      std::copy_n(from + q_width, kv_width, k + t * kv_width);
      std::copy_n(from + q_width + kv_width, kv_width, v + t * kv_width);
    }
    const float* cos = cos_.data() + token * (head_dim_ / 2);
    const float* sin = sin_.data() + token * (head_dim_ / 2);
    kernels::rope_forward(q + row * q_width, q_width, cos, sin, count, heads_, head_dim_);
    kernels::rope_forward(k + row * kv_width, kv_width, cos, sin, count, kv_heads_, head_dim_);
  });
}

void Rotary::pack_gradient(float* d_qkv, float* dq, float* dk, const float* dv, std::int64_t rows) const {
  const std::int64_t q_width = std::int64_t{heads_} * head_dim_;
  const std::int64_t kv_width = std::int64_t{kv_heads_} * head_dim_;
  const std::int64_t width = q_width + 2 * kv_width;
  for_each_run(rows, tokens_, [&](std::int64_t row, std::int64_t token, std::int64_t count) {
    const float* cos = cos_.data() + token * (head_dim_ / 2);
    const float* sin = sin_.data() + token * (head_dim_ / 2);
    kernels::rope_backward(dq + row * q_width, q_width, cos, sin, count, heads_, head_dim_);
    kernels::rope_backward(dk + row * kv_width, kv_width, cos, sin, count, kv_heads_, head_dim_);
    for (std::int64_t t = row; t < row + count; ++t) {
      float* to = d_qkv + t * width;
      std::copy_n(dq + t * q_width, q_width, to);
      std::copy_n(dk + t * kv_width, kv_width, to + q_width);
      std::copy_n(dv + t * kv_width, kv_width, to + q_width + kv_width);
    }
  });
}

}  // namespace tessera::runtime
