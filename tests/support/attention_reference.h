/// Whole-sequence attention in double on one thread, forward and backward, with a bound on what rounding may
/// cost each element: the oracle of runtime/attention. Shares nothing with the kernels but the definition of
/// which probabilities are dropped.
///
/// Legend: B sequences of N tokens, H query and G key/value heads, D head width; u = 2^-24.
///
/// The bound. In single precision a score s is off by at most (D+2) u S, S = scale * sum |q_d k_d|, so a
/// probability p = exp(s - lse) by a factor 1 +- e, e = u (2 (D+2) S + N + 8 n + 4 |lse| + 16): both s and
/// lse carry the score's error, lse sums N terms, each of n ranks may merge once, exp and the rest are a few
/// u. A sum of m products is off by m u times the sum of absolute products; m <= r N for dk and dv, r = H /
/// G. So an element is off by at most (e + u (r N + 2 D)) times the sum of absolute terms it is made of, to
/// first order; that sum is kept beside each value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "algos/base/random.h"
#include "kernels/attention/dropout.h"
#include "runtime/attention/mesh_attention.h"

namespace tessera::support {

struct AttentionInput {
  runtime::AttentionDims dims;
  std::vector<float> q, k, v, d_o;          // [B, N, heads, D]
  std::vector<std::int32_t> documents;      // [B, N] or empty
  std::vector<std::uint64_t> dropout_keys;  // [B] or empty
};

inline AttentionInput random_attention(const runtime::AttentionDims& dims, std::uint64_t seed) {
  AttentionInput input;
  input.dims = dims;
  const auto fill = [&](std::vector<float>& to, int heads, std::uint64_t stream) {
    to.resize(static_cast<std::size_t>(dims.batch * dims.tokens * heads * dims.head_dim));
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<float>(normal(derive_key(seed, stream), i));
    }
  };
  fill(input.q, dims.heads, 1);
  fill(input.k, dims.kv_heads, 2);
  fill(input.v, dims.kv_heads, 3);
  fill(input.d_o, dims.heads, 4);
  return input;
}

/// A tensor with, for each element, the sum of the absolute values of its terms.
struct BoundedTensor {
  std::vector<double> value;
  std::vector<double> terms;
  void resize(std::size_t n) {
    value.assign(n, 0);
    terms.assign(n, 0);
  }
  void add(std::size_t i, double x, double bound) {
    value[i] += x;
    terms[i] += bound;
  }
};

struct AttentionAnswer {
  BoundedTensor o, dq, dk, dv;  // [B, N, heads, D]
  std::vector<double> lse;      // [B, H, N]
  double relative_bound = 0;    // e + u (r N + 2 D), the worst over rows
};

inline bool reference_allows(const runtime::AttentionConfig& config, const AttentionInput& input,
                             std::int64_t sequence, std::int64_t i, std::int64_t j) {
  if (config.causal && j > i) return false;
  if (config.window > 0 && std::abs(i - j) >= config.window) return false;
  if (input.documents.empty()) return true;
  const std::int32_t* const documents = input.documents.data() + sequence * input.dims.tokens;
  return documents[i] == documents[j];
}

/// `ranks`: how many partials a row is summed from, for the bound.
inline AttentionAnswer reference_attention(const runtime::AttentionConfig& config,
                                           const AttentionInput& input, int ranks) {
  const runtime::AttentionDims& d = input.dims;
  const std::int64_t N = d.tokens;
  const int H = d.heads;
  const int G = d.kv_heads;
  const int D = d.head_dim;
  const double u = std::ldexp(1.0, -24);
  const double scale = config.scale > 0 ? static_cast<double>(config.scale) : 1 / std::sqrt(double(D));
  const double kept = input.dropout_keys.empty() ? 1 : 1 / (1 - static_cast<double>(config.dropout));
  AttentionAnswer answer;
  answer.o.resize(input.q.size());
  answer.dq.resize(input.q.size());
  answer.dk.resize(input.k.size());
  answer.dv.resize(input.k.size());
  answer.lse.assign(static_cast<std::size_t>(d.batch * H * N), 0);
  double worst = 0;
  std::vector<double> p(static_cast<std::size_t>(N));
  std::vector<double> keep(static_cast<std::size_t>(N));
  for (std::int64_t b = 0; b < d.batch; ++b) {
    for (int h = 0; h < H; ++h) {
      const int g = h / (H / G);
      for (std::int64_t i = 0; i < N; ++i) {
        const auto qi = static_cast<std::size_t>(((b * N + i) * H + h) * D);
        const auto kv = [&](std::int64_t j) { return static_cast<std::size_t>(((b * N + j) * G + g) * D); };
        double top = -std::numeric_limits<double>::infinity();
        double largest_s = 0;
        for (std::int64_t j = 0; j < N; ++j) {
          const auto ju = static_cast<std::size_t>(j);
          p[ju] = -std::numeric_limits<double>::infinity();
          keep[ju] = 1;
          if (!reference_allows(config, input, b, i, j)) continue;
          double s = 0;
          double s_terms = 0;
          for (int x = 0; x < D; ++x) {
            const double term = double(input.q[qi + x]) * double(input.k[kv(j) + x]);
            s += term;
            s_terms += std::abs(term);
          }
          p[ju] = scale * s;
          top = std::max(top, p[ju]);
          largest_s = std::max(largest_s, scale * s_terms);
          if (!input.dropout_keys.empty()) {
            const auto seed = kernels::dropout_row_seed(input.dropout_keys[static_cast<std::size_t>(b)], h,
                                                        static_cast<std::int32_t>(i));
            keep[ju] = kernels::dropout_keep(seed, static_cast<std::int32_t>(j),
                                             kernels::dropout_threshold(config.dropout))
                           ? kept
                           : 0;
          }
        }
        double& lse = answer.lse[static_cast<std::size_t>((b * H + h) * N + i)];
        lse = top;
        if (top == -std::numeric_limits<double>::infinity()) continue;
        double sum = 0;
        for (const double s : p) sum += std::exp(s - top);
        lse = top + std::log(sum);
        for (double& s : p) s = std::exp(s - lse);
        worst = std::max(worst, 2 * (D + 2) * largest_s + 4 * std::abs(lse));

        double delta = 0;
        double delta_terms = 0;
        for (int x = 0; x < D; ++x) {
          for (std::int64_t j = 0; j < N; ++j) {
            const double term = p[static_cast<std::size_t>(j)] * keep[static_cast<std::size_t>(j)] *
                                double(input.v[kv(j) + x]);
            answer.o.add(qi + x, term, std::abs(term));
          }
          delta += double(input.d_o[qi + x]) * answer.o.value[qi + x];
          delta_terms += std::abs(double(input.d_o[qi + x])) * answer.o.terms[qi + x];
        }
        for (std::int64_t j = 0; j < N; ++j) {
          const double pj = p[static_cast<std::size_t>(j)];
          if (pj == 0) continue;
          const double kj = keep[static_cast<std::size_t>(j)];
          double dp = 0;
          double dp_terms = 0;
          for (int x = 0; x < D; ++x) {
            const double term = kj * double(input.d_o[qi + x]) * double(input.v[kv(j) + x]);
            dp += term;
            dp_terms += std::abs(term);
          }
          const double ds = scale * pj * (dp - delta);
          const double ds_terms = scale * pj * (dp_terms + delta_terms);
          for (int x = 0; x < D; ++x) {
            const double q = input.q[qi + x];
            const double k = input.k[kv(j) + x];
            const double grad = pj * kj * double(input.d_o[qi + x]);
            answer.dq.add(qi + x, ds * k, ds_terms * std::abs(k));
            answer.dk.add(kv(j) + x, ds * q, ds_terms * std::abs(q));
            answer.dv.add(kv(j) + x, grad, std::abs(grad));
          }
        }
      }
    }
  }
  const double r = static_cast<double>(H) / G;
  answer.relative_bound = u * (worst + double(N) + 8 * ranks + 16 + r * double(N) + 2 * D);
  return answer;
}

}  // namespace tessera::support
