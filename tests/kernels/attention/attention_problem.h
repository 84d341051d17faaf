/// A block of attention with seeded operands, and what the double oracle says about it: shared by the tests
/// of the CPU kernels and of the CUDA kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention/attention.h"
#include "tests/support/compare.h"

namespace tessera::testing_support {

using kernels::AttentionBackward;
using kernels::AttentionBlock;
using kernels::AttentionForward;
using testing::kFloatRounding;
using testing::normal_floats;

inline constexpr float kNone = -std::numeric_limits<float>::infinity();

enum class Layout { kInOrder, kZigzag, kStriped, kShuffled };

struct Case {
  std::string name{};
  std::int64_t q_tokens = 64;
  std::int64_t kv_tokens = 64;
  int heads = 2;
  int kv_heads = 1;
  int head_dim = 64;
  bool causal = true;
  int window = 0;
  int document_tokens = 0;  // 0: no documents
  Layout layout = Layout::kInOrder;
  std::int32_t q_offset = 0;  // of the first query position, relative to the first key position
  float dropout = 0;
  double logit_scale = 1;
  int padding = 0;  // floats between tokens beyond the heads
};

inline std::vector<std::int32_t> positions(std::int64_t count, Layout layout, std::int32_t offset) {
  std::vector<std::int32_t> p(static_cast<std::size_t>(count));
  std::iota(p.begin(), p.end(), 0);
  const auto n = static_cast<std::int32_t>(count);
  if (layout == Layout::kZigzag) {  // the first and the last part of a sequence twice as long
    for (std::int32_t i = n / 2; i < n; ++i) p[static_cast<std::size_t>(i)] = i + n;
  } else if (layout == Layout::kStriped) {
    for (std::int32_t i = 0; i < n; ++i) p[static_cast<std::size_t>(i)] = 3 * i;
  } else if (layout == Layout::kShuffled) {
    for (std::size_t i = p.size(); i > 1; --i) {
      std::swap(p[i - 1], p[mix64(i) % i]);
    }
  }
  for (std::int32_t& x : p) x += offset;
  return p;
}

/// Operands, their coordinates, and results with room for strides; the padding holds a sentinel.
struct Problem {
  static constexpr float kSentinel = 12345.0F;

  explicit Problem(const Case& c, std::uint64_t key = 1)
      : q_position(positions(c.q_tokens, c.layout, c.q_offset)),
        k_position(positions(c.kv_tokens, c.layout, 0)) {
    const std::int64_t q_stride = static_cast<std::int64_t>(c.heads) * c.head_dim + c.padding;
    const std::int64_t kv_stride = static_cast<std::int64_t>(c.kv_heads) * c.head_dim + c.padding;
    q = normal_floats(c.q_tokens * q_stride, derive_key(key, 1), std::sqrt(c.logit_scale));
    k = normal_floats(c.kv_tokens * kv_stride, derive_key(key, 2), std::sqrt(c.logit_scale));
    v = normal_floats(c.kv_tokens * kv_stride, derive_key(key, 3));
    d_o = normal_floats(c.q_tokens * q_stride, derive_key(key, 4));
    block.q = q.data();
    block.k = k.data();
    block.v = v.data();
    block.q_tokens = c.q_tokens;
    block.kv_tokens = c.kv_tokens;
    block.q_stride = q_stride;
    block.kv_stride = kv_stride;
    block.heads = c.heads;
    block.kv_heads = c.kv_heads;
    block.head_dim = c.head_dim;
    block.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
    block.mask.q_position = q_position.data();
    block.mask.k_position = k_position.data();
    block.mask.causal = c.causal;
    block.mask.window = c.window;
    if (c.document_tokens > 0) {
      for (std::int32_t p : q_position) q_document.push_back(p / c.document_tokens);
      for (std::int32_t p : k_position) k_document.push_back(p / c.document_tokens);
      block.mask.q_document = q_document.data();
      block.mask.k_document = k_document.data();
    }
    block.dropout = {c.dropout, 0x1234567890abcdefULL, 5};
    o.assign(q.size(), kSentinel);
    for (std::int64_t t = 0; t < c.q_tokens; ++t) {
      std::fill_n(o.begin() + t * q_stride, static_cast<std::int64_t>(c.heads) * c.head_dim, 0.0F);
    }
    lse.assign(static_cast<std::size_t>(c.q_tokens * c.heads), kNone);
    dq = o;
    dk.assign(k.size(), kSentinel);
    for (std::int64_t t = 0; t < c.kv_tokens; ++t) {
      std::fill_n(dk.begin() + t * kv_stride, static_cast<std::int64_t>(c.kv_heads) * c.head_dim, 0.0F);
    }
    dv = dk;
  }

  AttentionForward forward() { return {block, o.data(), block.q_stride, lse.data()}; }
  AttentionBackward backward(const float* lse_HT, const float* delta_HT) {
    return {block,     d_o.data(), block.q_stride, lse_HT,         delta_HT,
            dq.data(), dk.data(),  dv.data(),      block.q_stride, block.kv_stride};
  }

  std::vector<std::int32_t> q_position, k_position, q_document, k_document;
  std::vector<float> q, k, v, d_o, o, lse, dq, dk, dv;
  AttentionBlock block;
};

/// [tokens][width] out of a strided tensor; the padding must be untouched.
inline std::vector<float> unpadded(const std::vector<float>& from, std::int64_t tokens, std::int64_t stride,
                                   std::int64_t width) {
  std::vector<float> to;
  for (std::int64_t t = 0; t < tokens; ++t) {
    to.insert(to.end(), from.begin() + t * stride, from.begin() + t * stride + width);
    for (std::int64_t d = width; d < stride; ++d) {
      EXPECT_EQ(from[static_cast<std::size_t>(t * stride + d)], Problem::kSentinel)
          << "padding of token " << t;
    }
  }
  return to;
}

/// The oracle's results and, for each, the sum of the absolute values that went into it.
///
/// Error analysis, u = 2^-24. A dot product of D terms in float is off by at most D u sum|q||k|; rounding
/// errors being of either sign, 4 sqrt(D) u sum|q||k| holds but with probability 1e-4 an element (Higham &
/// Mary 2019). Scores also carry the roundings of the folded scale, of the subtraction of the maximum or lse
/// and of the change to base 2, each u |s|. A probability is therefore off by a factor of at most
///   1 + e,   e = u (4 sqrt(D) S + 8 S + 16),   S = scale * max_ij sum_d |q||k|, |s| <= S,
/// once more by as much through lse, and a sum of n weighted probabilities adds 4 sqrt(n) u. So every result
/// is within (2 e + (4 sqrt(n) + 8) u) times the sum of the absolute values of its terms.
struct Oracle {
  std::vector<double> o, lse, delta, dq, dk, dv;
  std::vector<double> o_size, dq_size, dk_size, dv_size;
  double relative = 0;

  explicit Oracle(const Problem& p) {
    const AttentionBlock& b = p.block;
    const int D = b.head_dim;
    const auto q_size = static_cast<std::size_t>(b.q_tokens * b.heads * D);
    const auto kv_size = static_cast<std::size_t>(b.kv_tokens * b.kv_heads * D);
    const auto rows = static_cast<std::size_t>(b.q_tokens * b.heads);
    for (auto* x : {&o, &dq, &o_size, &dq_size}) x->assign(q_size, 0.0);
    for (auto* x : {&dk, &dv, &dk_size, &dv_size}) x->assign(kv_size, 0.0);
    delta.assign(rows, 0.0);
    lse.assign(rows, -HUGE_VAL);
    kernels::attention_forward_ref(b, o.data(), lse.data());
    for (int h = 0; h < b.heads; ++h) {
      for (std::int64_t i = 0; i < b.q_tokens; ++i) {
        for (int d = 0; d < D; ++d) {
          delta[at(h * b.q_tokens + i)] +=
              static_cast<double>(p.d_o[at(i * b.q_stride + h * D + d)]) * o[at((i * b.heads + h) * D + d)];
        }
      }
    }
    kernels::attention_backward_ref(b, p.d_o.data(), b.q_stride, lse.data(), delta.data(), dq.data(),
                                    dk.data(), dv.data());
    double largest = 0;
    for (int h = 0; h < b.heads; ++h) {
      const int g = h / (b.heads / b.kv_heads);
      for (std::int64_t i = 0; i < b.q_tokens; ++i) {
        const float* q = b.q + i * b.q_stride + h * D;
        const float* grad = p.d_o.data() + i * b.q_stride + h * D;
        const double row_lse = lse[at(h * b.q_tokens + i)];
        double delta_size = 0;
        for (int d = 0; d < D; ++d) delta_size += std::abs(grad[d] * o[at((i * b.heads + h) * D + d)]);
        for (std::int64_t j = 0; j < b.kv_tokens; ++j) {
          if (!b.mask.allows(i, j)) continue;
          const float* k = b.k + j * b.kv_stride + g * D;
          const float* v = b.v + j * b.kv_stride + g * D;
          double s = 0, s_size = 0, dp_size = 0;
          for (int d = 0; d < D; ++d) {
            s += static_cast<double>(q[d]) * k[d];
            s_size += std::abs(static_cast<double>(q[d]) * k[d]);
            dp_size += std::abs(static_cast<double>(grad[d]) * v[d]);
          }
          largest = std::max(largest, b.scale * s_size);
          const double keep = 1.0 / (1.0 - b.dropout.probability);  // a dropped term only makes it smaller
          const double prob = std::exp(b.scale * s - row_lse);
          const double ds_size = b.scale * prob * (keep * dp_size + delta_size);
          for (int d = 0; d < D; ++d) {
            o_size[at((i * b.heads + h) * D + d)] += prob * keep * std::abs(v[d]);
            dv_size[at((j * b.kv_heads + g) * D + d)] += prob * keep * std::abs(grad[d]);
            dk_size[at((j * b.kv_heads + g) * D + d)] += ds_size * std::abs(q[d]);
            dq_size[at((i * b.heads + h) * D + d)] += ds_size * std::abs(k[d]);
          }
        }
      }
    }
    const double n = static_cast<double>(std::max(b.q_tokens * b.heads / b.kv_heads, b.kv_tokens));
    const double e = kFloatRounding * ((4 * std::sqrt(D) + 8) * largest + 16);
    relative = 2 * e + (4 * std::sqrt(n) + 8) * kFloatRounding;
  }

  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
};

}  // namespace tessera::testing_support
