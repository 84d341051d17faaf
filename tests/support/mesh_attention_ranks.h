/// Runs MeshAttention on ranks as threads and brings the pieces together in sequence order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "algos/base/clock.h"
#include "runtime/attention/mesh_attention.h"
#include "runtime/comm/local_comm.h"
#include "tests/support/attention_reference.h"

namespace tessera::support {

struct AttentionOutput {
  std::vector<float> o, lse, dq, dk, dv;  // [B, N, heads, D]; lse [B, H, N]
  bool operator==(const AttentionOutput& other) const {
    const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * 4) == 0);
    };
    return same(o, other.o) && same(lse, other.lse) && same(dq, other.dq) && same(dk, other.dk) &&
           same(dv, other.dv);
  }
};

/// Own tokens' part of [B, N, width], as [B, c, width]; and back.
inline std::vector<float> take_tokens(const std::vector<float>& all, std::int64_t sequences,
                                      std::int64_t tokens, std::span<const std::int32_t> positions) {
  const std::size_t width = all.size() / static_cast<std::size_t>(sequences * tokens);
  std::vector<float> mine;
  for (std::int64_t b = 0; b < sequences; ++b) {
    for (const std::int32_t t : positions) {
      const auto at =
          all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(b * tokens + t) * width);
      mine.insert(mine.end(), at, at + static_cast<std::ptrdiff_t>(width));
    }
  }
  return mine;
}
inline void put_tokens(std::vector<float>& all, const std::vector<float>& mine, std::int64_t sequences,
                       std::int64_t tokens, std::span<const std::int32_t> positions) {
  const std::size_t width = all.size() / static_cast<std::size_t>(sequences * tokens);
  std::size_t from = 0;
  for (std::int64_t b = 0; b < sequences; ++b) {
    for (const std::int32_t t : positions) {
      std::copy_n(
          mine.begin() + static_cast<std::ptrdiff_t>(from), width,
          all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(b * tokens + t) * width));
      from += width;
    }
  }
}

/// One rank's MeshAttention with its share of the input.
class AttentionRank {
 public:
  AttentionRank(runtime::Communicator& comm, const runtime::AttentionConfig& config,
                const AttentionInput& input)
      : input_(input) {
    auto made = runtime::MeshAttention::make(comm, config, clock_);
    if (!made.ok()) throw std::runtime_error(made.status().message());
    attention_ = std::move(made).value();
    const auto take = [&](const std::vector<float>& all) {
      return take_tokens(all, input.dims.batch, input.dims.tokens, attention_->positions());
    };
    q_ = take(input.q);
    k_ = take(input.k);
    v_ = take(input.v);
    d_o_ = take(input.d_o);
    // Results start as nonsense: whatever is not written shows.
    const float nonsense = std::nanf("");
    mine_.o.assign(q_.size(), nonsense);
    mine_.dq.assign(q_.size(), nonsense);
    mine_.dk.assign(k_.size(), nonsense);
    mine_.dv.assign(k_.size(), nonsense);
    mine_.lse.assign(q_.size() / static_cast<std::size_t>(input.dims.head_dim), nonsense);
    call_ = {input.documents, input.dropout_keys};
  }

  runtime::MeshAttention& attention() { return *attention_; }
  /// Of later calls; must outlive them.
  void set_documents(std::span<const std::int32_t> documents) { call_.documents = documents; }
  void forward() {
    attention_->forward(q_.data(), k_.data(), v_.data(), mine_.o.data(), mine_.lse.data(), call_);
  }
  void backward() {
    attention_->backward(q_.data(), k_.data(), v_.data(), mine_.o.data(), mine_.lse.data(), d_o_.data(),
                         mine_.dq.data(), mine_.dk.data(), mine_.dv.data(), call_);
  }
  /// Ranks write disjoint elements: no lock is needed.
  void put(AttentionOutput& whole) const {
    const runtime::AttentionDims& d = input_.dims;
    const auto positions = attention_->positions();
    const auto put = [&](std::vector<float>& all, const std::vector<float>& mine) {
      put_tokens(all, mine, d.batch, d.tokens, positions);
    };
    put(whole.o, mine_.o);
    put(whole.dq, mine_.dq);
    put(whole.dk, mine_.dk);
    put(whole.dv, mine_.dv);
    const auto c = static_cast<std::int64_t>(positions.size());
    for (std::int64_t bh = 0; bh < d.batch * d.heads; ++bh) {
      for (std::int64_t t = 0; t < c; ++t) {
        whole.lse[static_cast<std::size_t>(bh * d.tokens + positions[static_cast<std::size_t>(t)])] =
            mine_.lse[static_cast<std::size_t>(bh * c + t)];
      }
    }
  }

 private:
  const AttentionInput& input_;
  SystemClock clock_;
  std::unique_ptr<runtime::MeshAttention> attention_;
  std::vector<float> q_, k_, v_, d_o_;
  AttentionOutput mine_;
  runtime::AttentionCall call_;
};

inline AttentionOutput empty_output(const AttentionInput& input) {
  AttentionOutput output;
  output.o.resize(input.q.size());
  output.dq.resize(input.q.size());
  output.dk.resize(input.k.size());
  output.dv.resize(input.k.size());
  output.lse.resize(input.q.size() / static_cast<std::size_t>(input.dims.head_dim));
  return output;
}

inline AttentionOutput run_attention(const runtime::AttentionConfig& config, const AttentionInput& input) {
  AttentionOutput output = empty_output(input);
  runtime::run_local_ranks(config.shape.ranks(), [&](runtime::Communicator& comm) {
    AttentionRank rank(comm, config, input);
    rank.forward();
    rank.backward();
    rank.put(output);
  });
  return output;
}

/// Largest error over its bound (attention_reference.h); infinite if a value is no number.
inline double error_over_bound(const std::vector<float>& found, const BoundedTensor& expected, double bound) {
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(double(found[i]) - expected.value[i]);
    // A value made of no terms at all must be exactly 0.
    const double allowed = std::max(bound * expected.terms[i], std::numeric_limits<double>::denorm_min());
    if (!(error <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error / allowed);
  }
  return worst;
}

inline ::testing::AssertionResult within_bounds(const AttentionOutput& found,
                                                const AttentionAnswer& expected) {
  const auto check = [&](const char* name, const std::vector<float>& x, const BoundedTensor& y) {
    const double ratio = error_over_bound(x, y, expected.relative_bound);
    return ratio <= 1 ? std::string() : fmt::format(" {} is off by {} times its bound;", name, ratio);
  };
  std::string wrong = check("o", found.o, expected.o) + check("dq", found.dq, expected.dq) +
                      check("dk", found.dk, expected.dk) + check("dv", found.dv, expected.dv);
  for (std::size_t i = 0; i < expected.lse.size(); ++i) {
    const double x = found.lse[i];
    const double y = expected.lse[i];
    if (x == y) continue;  // also -inf
    if (!(std::abs(x - y) <= expected.relative_bound)) {
      wrong += fmt::format(" lse[{}] is {} instead of {};", i, x, y);
      break;
    }
  }
  if (wrong.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong;
}

/// Every published scheme on n ranks that the head counts allow.
inline std::vector<runtime::MeshShape> shapes_on(int n, int heads, int kv_heads) {
  std::vector<runtime::MeshShape> shapes;
  const auto rings = [](int size) {
    std::vector<runtime::RingShape> all;
    for (int outer = 1; outer <= size; ++outer) {
      // 1 x size and size x 1 are the same flat ring; keep the first, and the proper hierarchies.
      if (size % outer == 0 && (outer == 1 || outer < size)) all.push_back({outer, size / outer});
    }
    return all;
  };
  for (int u = 1; u <= n; ++u) {
    if (n % u != 0 || heads % u != 0 || kv_heads % u != 0) continue;
    for (int a = 1; a <= n / u; ++a) {
      if (n / u % a != 0) continue;
      for (const auto q : rings(a)) {
        for (const auto kv : rings(n / u / a)) shapes.push_back({u, q, kv});
      }
    }
  }
  return shapes;
}

}  // namespace tessera::support
