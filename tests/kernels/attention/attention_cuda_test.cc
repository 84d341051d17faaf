// Every path of the CUDA kernels against the double oracle on the stored (rounded) operands.
//
// Error analysis, continuing that of attention_problem.h, u = 2^-24 and r half a unit of the storage type,
// 2^-8 or 2^-11. Tensor cores and the plain path form scores and sums in fp32 as the CPU kernels do; exp2 in
// one instruction adds 2^-22 = 4 u, with a second one for the running maximum, so e grows by 8 u. What is
// peculiar to 16 bits is that P (before dV and O) and dS (before dQ and dK) are rounded to storage: at most r
// of each term, hence r times the sum of the absolute values of the terms. binary16 also loses what lies
// below its normal range: 2^-25 a term, of terms that are P <= 1 or dS, times a value of v, d_o, q or k.
#include "kernels/attention/attention_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/attention/attention_problem.h"
#include "tests/support/cuda_test.h"

namespace tessera::kernels {
namespace {

using testing::kFloatRounding;
using testing::normal_floats;
using testing::within;
using testing_support::Case;
using testing_support::floats;
using testing_support::kNone;
using testing_support::kRounding;
using testing_support::Layout;
using testing_support::OnDevice;
using testing_support::Oracle;
using testing_support::Problem;
using testing_support::stored;
using testing_support::unpadded;

constexpr int kSmall = 99 * 1024;  // shared memory of compute capability 8.6, 8.9, 12.x

/// Operands as the device stores them, so that the oracle and the kernels see the same values.
template <class T>
Problem rounded(const Case& c, std::uint64_t key = 1) {
  Problem p(c, key);
  for (std::vector<float>* x : {&p.q, &p.k, &p.v, &p.d_o}) {
    const std::vector<float> values = floats(stored<T>(*x));
    std::copy(values.begin(), values.end(), x->begin());  // block points into it
  }
  return p;
}

/// A problem on the device. `shift` elements before q, k, v, d_o and the outputs move them off 16 bytes.
template <class T>
class DeviceProblem {
 public:
  explicit DeviceProblem(const Problem& p, std::int64_t shift = 0)
      : p_(p),
        shift_(shift),
        q_(moved(stored<T>(p.q))),
        k_(moved(stored<T>(p.k))),
        v_(moved(stored<T>(p.v))),
        d_o_(moved(stored<T>(p.d_o))),
        o_(moved(p.o)),
        dq_(moved(p.dq)),
        dk_(moved(p.dk)),
        dv_(moved(p.dv)),
        lse_(p.lse),
        delta_(p.lse.size()),
        q_position_(p.q_position),
        k_position_(p.k_position),
        q_document_(p.q_document),
        k_document_(p.k_document),
        q_range_((p.q_position.size() + 31) / 32),
        k_range_((p.k_position.size() + 31) / 32) {
    token_ranges_cuda(q_range_.get(), q_position_.get(), q_document_.get(),
                      static_cast<std::int32_t>(p.block.q_tokens), nullptr);
    token_ranges_cuda(k_range_.get(), k_position_.get(), k_document_.get(),
                      static_cast<std::int32_t>(p.block.kv_tokens), nullptr);
    TS_CUDA(cudaDeviceSynchronize());
  }

  [[nodiscard]] CudaAttentionBlock<T> block() const {
    const AttentionBlock& b = p_.block;
    CudaAttentionBlock<T> block;
    block.q = q_.get() + shift_;
    block.k = k_.get() + shift_;
    block.v = v_.get() + shift_;
    block.q_tokens = static_cast<std::int32_t>(b.q_tokens);
    block.kv_tokens = static_cast<std::int32_t>(b.kv_tokens);
    block.q_stride = b.q_stride;
    block.kv_stride = b.kv_stride;
    block.heads = b.heads;
    block.kv_heads = b.kv_heads;
    block.head_dim = b.head_dim;
    block.scale = b.scale;
    block.mask = {{q_position_.get(), q_document_.get(), q_range_.get()},
                  {k_position_.get(), k_document_.get(), k_range_.get()},
                  b.mask.causal,
                  b.mask.window};
    block.dropout = b.dropout;
    return block;
  }
  [[nodiscard]] CudaAttentionForward<T> forward() const {
    return {block(), o_.get() + shift_, p_.block.q_stride, lse_.get()};
  }
  [[nodiscard]] CudaAttentionBackward<T> backward() const {
    return {block(),           d_o_.get() + shift_, p_.block.q_stride,  lse_.get(),
            delta_.get(),      dq_.get() + shift_,  dk_.get() + shift_, dv_.get() + shift_,
            p_.block.q_stride, p_.block.kv_stride};
  }
  /// The final lse and delta, as the backward pass gets them.
  void set_statistics(const Oracle& oracle) {
    const std::vector<float> lse(oracle.lse.begin(), oracle.lse.end());
    const std::vector<float> delta(oracle.delta.begin(), oracle.delta.end());
    TS_CUDA(cudaMemcpy(lse_.get(), lse.data(), lse.size() * sizeof(float), cudaMemcpyHostToDevice));
    TS_CUDA(cudaMemcpy(delta_.get(), delta.data(), delta.size() * sizeof(float), cudaMemcpyHostToDevice));
  }
  /// The results, into a copy of the problem.
  [[nodiscard]] Problem results() const {
    TS_CUDA(cudaDeviceSynchronize());
    Problem out = p_;
    out.o = back(o_);
    out.dq = back(dq_);
    out.dk = back(dk_);
    out.dv = back(dv_);
    out.lse = lse_.download();
    return out;
  }

 private:
  template <class V>
  [[nodiscard]] std::vector<V> moved(const std::vector<V>& values) const {
    std::vector<V> out(static_cast<std::size_t>(shift_));
    out.insert(out.end(), values.begin(), values.end());
    return out;
  }
  [[nodiscard]] std::vector<float> back(const OnDevice<float>& from) const {
    const std::vector<float> all = from.download();
    return {all.begin() + shift_, all.end()};
  }

  const Problem& p_;
  std::int64_t shift_;
  OnDevice<T> q_, k_, v_, d_o_;
  OnDevice<float> o_, dq_, dk_, dv_, lse_, delta_;
  OnDevice<std::int32_t> q_position_, k_position_, q_document_, k_document_;
  OnDevice<TokenRange> q_range_, k_range_;
};

/// The interpreter's noise on approximate functions differs from call to call: no two results are bit-equal.
bool repeats_bits() { return std::getenv("PTXRUN_NOISE") == nullptr; }

double greatest(const std::vector<float>& x) {
  double most = 0;
  for (const float value : x) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}

template <class T>
struct Bounds {
  double relative;
  double o, dq, dk, dv;  // absolute: what binary16 loses below its normal range

  Bounds(const Problem& p, const Oracle& oracle) {
    relative = oracle.relative + 16 * kFloatRounding + (sizeof(T) == 2 ? kRounding<T> : 0);
    const AttentionBlock& b = p.block;
    const double lost = std::is_same_v<T, F16> ? 0x1p-25 : 0;
    const double keep = 1 / (1 - static_cast<double>(b.dropout.probability));
    const auto queries = static_cast<double>(b.q_tokens * b.heads / b.kv_heads);
    o = lost * static_cast<double>(b.kv_tokens) * keep * greatest(p.v) + 1e-30;
    dv = lost * queries * keep * greatest(p.d_o) + 1e-30;
    dk = lost * queries * b.scale * greatest(p.q) + 1e-30;
    dq = lost * static_cast<double>(b.kv_tokens) * b.scale * greatest(p.k) + 1e-30;
  }
  [[nodiscard]] auto of(const std::vector<double>& size, double lost) const {
    return [&size, lost, times = relative](std::size_t i) { return times * size[i] + lost; };
  }
};

template <class T>
void expect_forward(const Problem& got, const Problem& p, const Oracle& oracle) {
  const AttentionBlock& b = p.block;
  const Bounds<T> bounds(p, oracle);
  const auto o = unpadded(got.o, b.q_tokens, b.q_stride, static_cast<std::int64_t>(b.heads) * b.head_dim);
  EXPECT_TRUE(within(o, oracle.o, bounds.of(oracle.o_size, bounds.o)));
  // The sum of the probabilities is formed before they are rounded to storage.
  EXPECT_TRUE(within(got.lse, oracle.lse, [&](std::size_t i) {
    return oracle.relative + kFloatRounding * (16 + 4 * std::abs(oracle.lse[i]));
  }));
}

template <class T>
void expect_backward(const Problem& got, const Problem& p, const Oracle& oracle) {
  const AttentionBlock& b = p.block;
  const Bounds<T> bounds(p, oracle);
  const auto q_width = static_cast<std::int64_t>(b.heads) * b.head_dim;
  const auto kv_width = static_cast<std::int64_t>(b.kv_heads) * b.head_dim;
  EXPECT_TRUE(within(unpadded(got.dq, b.q_tokens, b.q_stride, q_width), oracle.dq,
                     bounds.of(oracle.dq_size, bounds.dq)))
      << "dq";
  EXPECT_TRUE(within(unpadded(got.dk, b.kv_tokens, b.kv_stride, kv_width), oracle.dk,
                     bounds.of(oracle.dk_size, bounds.dk)))
      << "dk";
  EXPECT_TRUE(within(unpadded(got.dv, b.kv_tokens, b.kv_stride, kv_width), oracle.dv,
                     bounds.of(oracle.dv_size, bounds.dv)))
      << "dv";
}

template <class T>
void forward(const CudaAttentionForward<T>& work, CudaAttentionLimits limits = {},
             CudaStream stream = nullptr) {
  attention_forward_cuda<T>({&work, 1}, stream, limits);
}
template <class T>
void backward(const CudaAttentionBackward<T>& work, CudaAttentionLimits limits = {},
              CudaStream stream = nullptr) {
  attention_backward_cuda<T>({&work, 1}, stream, limits);
}

template <class T>
void expect_right(const Case& c, CudaAttentionLimits limits = {}, std::int64_t shift = 0) {
  SCOPED_TRACE(::testing::Message() << c.name << ": " << c.q_tokens << " x " << c.kv_tokens << ", width "
                                    << c.head_dim << ", shared " << limits.shared_bytes << ", tensor cores "
                                    << limits.tensor_cores << ", shift " << shift);
  const Problem p = rounded<T>(c);
  const Oracle oracle(p);
  DeviceProblem<T> on_device(p, shift);
  forward(on_device.forward(), limits);
  expect_forward<T>(on_device.results(), p, oracle);
  on_device.set_statistics(oracle);
  backward(on_device.backward(), limits);
  expect_backward<T>(on_device.results(), p, oracle);
}

/// Each row of the dispatch tables: own width and padded, tiles of large and of small shared memory. Lengths
/// leave a ragged tile on both sides; positions are offset, so that whole tiles see all, part, or nothing.
template <class T>
void every_tile() {
  for (const int width : {8, 64, 72, 96, 104, 128, 136, 256}) {
    for (const int shared : {0, kSmall}) {
      if (shared != 0 && width <= 96) continue;  // one tile for all devices
      expect_right<T>({.name = "tile",
                       .q_tokens = 150,
                       .kv_tokens = 139,
                       .heads = 2,
                       .kv_heads = 1,
                       .head_dim = width,
                       .q_offset = -9,
                       .padding = width == 64 ? 8 : 0},
                      {.shared_bytes = shared});
    }
  }
}
TEST(AttentionCuda, Bf16EveryTile) { every_tile<Bf16>(); }
TEST(AttentionCuda, F16EveryTile) { every_tile<F16>(); }

/// The plain path by storage type, by width and by what the tensor-core path cannot read.
TEST(AttentionCuda, PlainPath) {
  for (const int width : {1, 33, 64, 65, 256}) {
    expect_right<float>({.name = "fp32", .q_tokens = 70, .kv_tokens = 45, .head_dim = width, .q_offset = -9});
  }
  const Case c{.name = "16 bits", .q_tokens = 40, .kv_tokens = 70, .q_offset = 20};
  expect_right<Bf16>(c, {.tensor_cores = false});
  expect_right<F16>(c, {.tensor_cores = false});
  Case odd = c;
  odd.head_dim = 20;
  expect_right<Bf16>(odd);
  odd = c;
  odd.padding = 3;
  expect_right<Bf16>(odd);
  expect_right<Bf16>(c, {}, 1);
  expect_right<F16>(c, {.shared_bytes = 40 * 1024});  // no tile fits
}

std::vector<Case> masks() {
  std::vector<Case> all;
  for (const bool causal : {true, false}) {
    const std::string kind = causal ? "causal " : "full ";
    Case plain{.q_tokens = 200, .kv_tokens = 200, .heads = 1, .kv_heads = 1, .causal = causal};
    all.push_back(plain);
    all.back().name = kind;
    for (const int window : {1, 40, 100}) {
      all.push_back(plain);
      all.back().name = kind + "window";
      all.back().window = window;
    }
    for (const int documents : {1, 50}) {
      all.push_back(plain);
      all.back().name = kind + "documents";
      all.back().document_tokens = documents;
    }
    for (const Layout layout : {Layout::kZigzag, Layout::kStriped, Layout::kShuffled}) {
      all.push_back(plain);
      all.back().name = kind + "layout";
      all.back().layout = layout;
      all.back().document_tokens = layout == Layout::kZigzag ? 130 : 0;
    }
    all.push_back(plain);
    all.back().name = kind + "dropout";
    all.back().dropout = 0.3F;
    all.back().layout = Layout::kZigzag;
    all.push_back(plain);
    all.back().name = kind + "large logits";
    all.back().logit_scale = 300;
    for (const int kv_heads : {1, 3, 6}) {
      all.push_back({.name = kind + "grouped",
                     .q_tokens = 70,
                     .kv_tokens = 70,
                     .heads = 6,
                     .kv_heads = kv_heads,
                     .causal = causal,
                     .dropout = kv_heads == 3 ? 0.2F : 0});
    }
    for (const std::int64_t tokens : {1, 15, 16, 17, 63, 64, 65, 128, 129}) {
      all.push_back(
          {.name = kind + "length", .q_tokens = tokens, .kv_tokens = tokens, .heads = 1, .causal = causal});
    }
  }
  all.push_back({.name = "one query", .q_tokens = 1, .kv_tokens = 300, .heads = 4, .q_offset = 299});
  all.push_back({.name = "nothing visible", .q_tokens = 40, .kv_tokens = 70, .q_offset = -1000});
  all.push_back({.name = "first rows see nothing", .q_tokens = 80, .kv_tokens = 70, .q_offset = -33});
  // More than 32 tiles of keys, the first of which no query sees: two turns of judging tiles.
  all.push_back(
      {.name = "long keys", .q_tokens = 40, .kv_tokens = 2200, .heads = 1, .window = 70, .q_offset = 2160});
  all.push_back({.name = "long queries", .q_tokens = 2200, .kv_tokens = 40, .heads = 1, .window = 70});
  return all;
}

TEST(AttentionCuda, Bf16Masks) {
  for (const Case& c : masks()) expect_right<Bf16>(c);
}
TEST(AttentionCuda, F16Masks) {
  for (const Case& c : masks()) {
    if (c.q_tokens <= 200) expect_right<F16>(c);
  }
}
TEST(AttentionCuda, PlainMasks) {
  for (Case c : masks()) {
    c.head_dim = 24;
    c.q_tokens = std::min<std::int64_t>(c.q_tokens, 75);
    c.kv_tokens = std::min<std::int64_t>(c.kv_tokens, c.q_offset > 2000 ? 2200 : 75);
    expect_right<float>(c);
  }
}
/// The tiles of D = 128 and 256 have other shapes, the latter with two warps to a row.
TEST(AttentionCuda, WideMasks) {
  for (Case c : masks()) {
    if (c.name != "full dropout" && c.name != "causal window" && c.name != "causal grouped") continue;
    c.q_tokens = c.kv_tokens = 100;
    for (const int width : {128, 256}) {
      c.head_dim = width;
      expect_right<Bf16>(c, {.shared_bytes = kSmall});
    }
  }
}

/// Keys in blocks of odd sizes, folded one after the other; the last is not seen by the first queries at all.
TEST(AttentionCuda, SeveralBlocksEqualOne) {
  const Case c{.q_tokens = 160, .kv_tokens = 160, .heads = 4, .kv_heads = 2, .dropout = 0.1F};
  const Problem p = rounded<Bf16>(c);
  const Oracle oracle(p);
  DeviceProblem<Bf16> on_device(p);
  const OnDevice<TokenRange> ranges(8);
  const auto each_block = [&](auto run) {
    for (const auto& [begin, end] : {std::pair{0, 37}, {37, 101}, {101, 160}}) {
      CudaAttentionBlock<Bf16> block = on_device.block();
      block.k += begin * block.kv_stride;
      block.v += begin * block.kv_stride;
      block.kv_tokens = end - begin;
      block.mask.k.position += begin;
      token_ranges_cuda(ranges.get(), block.mask.k.position, nullptr, block.kv_tokens, nullptr);
      block.mask.k.range = ranges.get();
      run(block, begin);
    }
  };
  each_block([&](const CudaAttentionBlock<Bf16>& block, int /*begin*/) {
    CudaAttentionForward<Bf16> work = on_device.forward();
    work.block = block;
    forward(work);
  });
  expect_forward<Bf16>(on_device.results(), p, oracle);
  on_device.set_statistics(oracle);
  each_block([&](const CudaAttentionBlock<Bf16>& block, int begin) {
    CudaAttentionBackward<Bf16> work = on_device.backward();
    work.block = block;
    work.dk += begin * work.dkv_stride;
    work.dv += begin * work.dkv_stride;
    backward(work);
  });
  expect_backward<Bf16>(on_device.results(), p, oracle);
}

TEST(AttentionCuda, BlockThatIsNotSeenChangesNoBit) {
  const Problem p = rounded<Bf16>({.q_tokens = 100, .kv_tokens = 100});
  for (const bool tensor_cores : {true, false}) {
    DeviceProblem<Bf16> on_device(p);
    forward(on_device.forward(), {.tensor_cores = tensor_cores});
    const Problem before = on_device.results();
    std::vector<std::int32_t> future(p.k_position);
    for (std::int32_t& x : future) x += 60;  // seen by the last 40 rows alone
    const OnDevice<std::int32_t> position(future);
    const OnDevice<TokenRange> range(4);
    token_ranges_cuda(range.get(), position.get(), nullptr, 100, nullptr);
    CudaAttentionForward<Bf16> later = on_device.forward();
    later.block.mask.k = {position.get(), nullptr, range.get()};
    forward(later, {.tensor_cores = tensor_cores});
    const Problem after = on_device.results();
    const auto unseen = static_cast<std::int64_t>(60) * p.block.q_stride;
    EXPECT_TRUE(std::equal(before.o.begin(), before.o.begin() + unseen, after.o.begin()));
    EXPECT_TRUE(std::equal(before.lse.begin(), before.lse.begin() + 60, after.lse.begin()));
    EXPECT_NE(before.lse[60], after.lse[60]);
  }
}

TEST(AttentionCuda, BackwardAddsToGradientsAlreadyThere) {
  if (!repeats_bits()) GTEST_SKIP() << "noise is on";
  const Problem p = rounded<Bf16>({.q_tokens = 40, .kv_tokens = 40});
  const Oracle oracle(p);
  for (const bool tensor_cores : {true, false}) {
    DeviceProblem<Bf16> on_device(p);
    on_device.set_statistics(oracle);
    backward(on_device.backward(), {.tensor_cores = tensor_cores});
    const Problem once = on_device.results();
    backward(on_device.backward(), {.tensor_cores = tensor_cores});
    const Problem twice = on_device.results();
    // Each gradient is one addition to what is there, so that doing it twice doubles exactly.
    for (std::size_t i = 0; i < once.dq.size(); ++i) ASSERT_EQ(twice.dq[i], 2 * once.dq[i]);
    for (std::size_t i = 0; i < once.dk.size(); ++i) {
      ASSERT_EQ(twice.dk[i], 2 * once.dk[i]);
      ASSERT_EQ(twice.dv[i], 2 * once.dv[i]);
    }
  }
}

/// A work list longer than a launch holds, of unequal blocks, with empty ones and both paths in between, on a
/// stream of its own; twice, for the same bits.
TEST(AttentionCuda, RunsAListOfBlocks) {
  std::vector<Problem> problems;
  for (int i = 0; i < 26; ++i) {
    Case c{.q_tokens = 10 + 7 * i % 40,
           .kv_tokens = 20 + 11 * i % 50,
           .heads = i % 3 == 0 ? 4 : 2,
           .head_dim = 16};
    c.causal = i % 2 == 0;
    c.q_offset = 10;
    if (i == 3) c.q_tokens = 0;
    if (i == 4) c.kv_tokens = 0;
    if (i == 9 || i == 10) c.head_dim = 12;
    problems.push_back(rounded<Bf16>(c, 100 + static_cast<std::uint64_t>(i)));
  }
  std::vector<Problem> first;
  for (int turn = 0; turn < 2; ++turn) {
    std::vector<DeviceProblem<Bf16>> on_device;
    on_device.reserve(problems.size());
    std::vector<CudaAttentionForward<Bf16>> work;
    std::vector<CudaAttentionBackward<Bf16>> back;
    for (const Problem& p : problems) {
      on_device.emplace_back(p);
      work.push_back(on_device.back().forward());
      back.push_back(on_device.back().backward());
    }
    cudaStream_t stream = nullptr;
    TS_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    attention_forward_cuda<Bf16>(work, stream);
    TS_CUDA(cudaStreamSynchronize(stream));
    for (std::size_t i = 0; i < problems.size(); ++i) {
      SCOPED_TRACE(i);
      const Oracle oracle(problems[i]);
      const Problem got = on_device[i].results();
      expect_forward<Bf16>(got, problems[i], oracle);
      on_device[i].set_statistics(oracle);
      if (turn == 0) {
        first.push_back(got);
      } else if (repeats_bits()) {
        EXPECT_EQ(got.o, first[i].o);
      }
    }
    attention_backward_cuda<Bf16>(back, stream);
    TS_CUDA(cudaStreamSynchronize(stream));
    for (std::size_t i = 0; i < problems.size(); ++i) {
      SCOPED_TRACE(i);
      const Problem got = on_device[i].results();
      if (turn == 0) {
        expect_backward<Bf16>(got, problems[i], Oracle(problems[i]));
        first[i] = got;
      } else if (repeats_bits()) {
        EXPECT_EQ(got.dq, first[i].dq);
        EXPECT_EQ(got.dk, first[i].dk);
        EXPECT_EQ(got.dv, first[i].dv);
      }
    }
    TS_CUDA(cudaStreamDestroy(stream));
  }
}

/// Root mean square of the difference.
double rms(const std::vector<float>& got, const std::vector<double>& want) {
  double sum = 0;
  for (std::size_t i = 0; i < want.size(); ++i) sum += (got[i] - want[i]) * (got[i] - want[i]);
  return std::sqrt(sum / static_cast<double>(want.size()));
}

/// The error of bf16 attention is at most twice that of a double computation whose only flaw is that the
/// probabilities, relative to the row's greatest, are rounded to bf16; and it does not grow with the number
/// of blocks that are merged, though each has its own maximum.
TEST(AttentionCuda, ErrorIsThatOfRoundedProbabilitiesHoweverManyBlocks) {
  const Case c{.q_tokens = 64, .kv_tokens = 512, .heads = 1, .causal = false};
  const Problem p = rounded<Bf16>(c);
  const Oracle oracle(p);
  const AttentionBlock& b = p.block;
  std::vector<float> reference(oracle.o.size());
  for (std::int64_t i = 0; i < b.q_tokens; ++i) {
    std::vector<double> score;
    for (std::int64_t j = 0; j < b.kv_tokens; ++j) {
      double s = 0;
      for (int d = 0; d < b.head_dim; ++d) {
        s += static_cast<double>(b.q[i * b.q_stride + d]) * b.k[j * b.kv_stride + d];
      }
      score.push_back(b.scale * s);
    }
    const double top = *std::max_element(score.begin(), score.end());
    for (int d = 0; d < b.head_dim; ++d) {
      double sum = 0;
      for (std::size_t j = 0; j < score.size(); ++j) {
        const auto prob = static_cast<float>(std::exp(score[j] - top));
        sum += static_cast<double>(testing_support::to_float(testing_support::to_bf16(prob))) *
               b.v[static_cast<std::int64_t>(j) * b.kv_stride + d];
      }
      reference[static_cast<std::size_t>(i * b.head_dim + d)] =
          static_cast<float>(sum * std::exp(top - oracle.lse[static_cast<std::size_t>(i)]));
    }
  }
  const double flaw = rms(reference, oracle.o);
  for (const int blocks : {1, 4, 16}) {
    DeviceProblem<Bf16> on_device(p);
    for (int n = 0; n < blocks; ++n) {
      CudaAttentionForward<Bf16> work = on_device.forward();
      const int keys = 512 / blocks;
      work.block.kv_tokens = keys;
      work.block.k += n * keys * work.block.kv_stride;
      work.block.v += n * keys * work.block.kv_stride;
      work.block.mask.k.position += n * keys;
      work.block.mask.k.range += n * keys / 32;
      forward(work);
    }
    const double error = rms(on_device.results().o, oracle.o);
    EXPECT_LE(error, 2 * flaw) << blocks << " blocks";
    RecordProperty("error_over_reference_" + std::to_string(blocks), std::to_string(error / flaw));
  }
}

TEST(AttentionPartialsCuda, DeltaSumsEachHead) {
  const auto d_o = stored<Bf16>(normal_floats(5 * 150, 1));
  const auto o = normal_floats(5 * 144, 2);
  const OnDevice<Bf16> on_d_o(d_o);
  const OnDevice<float> on_o(o);
  const OnDevice<float> delta(10);
  attention_delta_cuda<Bf16>(delta.get(), on_d_o.get(), 150, on_o.get(), 144, 5, 2, 70, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> got = delta.download();
  const std::vector<float> grad = floats(d_o);
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t t = 0; t < 5; ++t) {
      double sum = 0;
      double size = 0;
      for (std::size_t d = 0; d < 70; ++d) {
        const double term = static_cast<double>(grad[t * 150 + h * 70 + d]) * o[t * 144 + h * 70 + d];
        sum += term;
        size += std::abs(term);
      }
      // Three terms to a lane, then five additions of a butterfly.
      EXPECT_NEAR(got[h * 5 + t], sum, 9 * kFloatRounding * size);
    }
  }
}

TEST(AttentionPartialsCuda, MergeEqualsTheCpuKernel) {
  const std::int64_t tokens = 37;
  const int heads = 3;
  const int width = 40;
  const std::int64_t rows = tokens * heads;
  std::vector<float> o1 = normal_floats(rows * width, 1);
  const std::vector<float> o2 = normal_floats(rows * width, 2);
  std::vector<float> lse1 = normal_floats(rows, 3, 5);
  std::vector<float> lse2 = normal_floats(rows, 4, 5);
  lse1[4] = lse2[7] = lse1[9] = lse2[9] = kNone;
  lse1[11] = 200;
  lse2[11] = -200;
  const OnDevice<float> d_o1(o1), d_lse1(lse1), d_o2(o2), d_lse2(lse2);
  merge_partials_cuda(d_o1.get(), d_lse1.get(), d_o2.get(), d_lse2.get(), tokens, heads, width, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> before = o1;
  const std::vector<float> lse_before = lse1;
  merge_partials(o1.data(), lse1.data(), o2.data(), lse2.data(), tokens, heads, width);
  const std::vector<float> o = d_o1.download();
  const std::vector<float> lse = d_lse1.download();
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    if (std::isinf(lse1[r])) {
      EXPECT_EQ(lse[r], lse1[r]);
    } else {
      EXPECT_NEAR(lse[r], lse1[r], 4 * kFloatRounding * (std::abs(lse1[r]) + 1));
    }
    const std::size_t t = r % static_cast<std::size_t>(tokens);
    const std::size_t h = r / static_cast<std::size_t>(tokens);
    for (std::size_t d = 0; d < static_cast<std::size_t>(width); ++d) {
      const std::size_t at = (t * static_cast<std::size_t>(heads) + h) * static_cast<std::size_t>(width) + d;
      // exp of a difference of lse: its rounding, at most |lse| u, is that of the weight.
      const double size = std::abs(before[at]) + std::abs(o2[at]);
      EXPECT_NEAR(o[at], o1[at], kFloatRounding * (4 * std::abs(lse1[r] == kNone ? 0 : lse1[r]) + 12) * size);
      if (lse_before[r] == kNone) {
        EXPECT_EQ(o[at], lse2[r] == kNone ? before[at] : o2[at]);
      }
      if (lse2[r] == kNone) {
        EXPECT_EQ(o[at], before[at]);
      }
    }
  }
}

TEST(AttentionPartialsCuda, RangesHoldEveryToken) {
  for (const std::int32_t tokens : {1, 31, 32, 33, 300}) {
    const std::vector<std::int32_t> position = testing_support::positions(tokens, Layout::kShuffled, -7);
    std::vector<std::int32_t> document;
    for (const std::int32_t p : position) document.push_back(p % 5);
    const OnDevice<std::int32_t> d_position(position), d_document(document);
    const auto count = static_cast<std::size_t>((tokens + 31) / 32);
    const OnDevice<TokenRange> range(count);
    token_ranges_cuda(range.get(), d_position.get(), d_document.get(), tokens, nullptr);
    TS_CUDA(cudaDeviceSynchronize());
    const std::vector<TokenRange> got = range.download();
    for (std::size_t i = 0; i < count; ++i) {
      const auto begin = static_cast<std::int64_t>(32 * i);
      const std::int64_t end = std::min<std::int64_t>(tokens, begin + 32);
      const auto [low, high] = std::minmax_element(position.begin() + begin, position.begin() + end);
      const auto [first, last] = std::minmax_element(document.begin() + begin, document.begin() + end);
      EXPECT_EQ(got[i].position_min, *low);
      EXPECT_EQ(got[i].position_max, *high);
      EXPECT_EQ(got[i].document_min, *first);
      EXPECT_EQ(got[i].document_max, *last);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
