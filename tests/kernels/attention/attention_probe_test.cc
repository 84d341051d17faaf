// One small problem through one forward and two backward tiles. Run as it is, and over kernels with planted
// defects (CMakeLists.txt): those must be caught, by the interpreter or by this comparison.
#include "tests/kernels/attention/attention_probe.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/cuda_test.h"

namespace tessera::kernels {
namespace {

using testing_support::floats;
using testing_support::OnDevice;
using testing_support::stored;

constexpr int kTokens = 145;  // three tiles of keys, the last one ragged
constexpr int kWidth = 64;

std::vector<float> values(int seed) {
  std::vector<float> x(kTokens * kWidth);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = std::sin(static_cast<float>(i * 7 + static_cast<std::size_t>(seed) * 31));
  return floats(stored<Bf16>(x));
}

/// The bound is far above what rounding to bf16 costs here, some 0.01, far below what a wrong tile does.
void expect_near(const char* what, const std::vector<float>& got, const std::vector<double>& want) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) most = std::fmax(most, std::abs(got[i] - want[i]));
  EXPECT_LT(most, 0.05) << what << " differs from the oracle";
}

TEST(AttentionProbe, EqualsTheOracle) {
  const std::vector<float> q = values(1), k = values(2), v = values(3), d_o = values(4);
  std::vector<std::int32_t> position(kTokens);
  for (int i = 0; i < kTokens; ++i) position[static_cast<std::size_t>(i)] = i;
  AttentionBlock host;
  host.q = q.data();
  host.k = k.data();
  host.v = v.data();
  host.q_tokens = host.kv_tokens = kTokens;
  host.q_stride = host.kv_stride = host.head_dim = kWidth;
  host.heads = host.kv_heads = 1;
  host.scale = 0.125F;
  host.mask.q_position = host.mask.k_position = position.data();
  std::vector<double> o(q.size()), lse(kTokens, -HUGE_VAL), delta(kTokens), dq(q.size()), dk(q.size()),
      dv(q.size());
  attention_forward_ref(host, o.data(), lse.data());
  for (std::size_t i = 0; i < o.size(); ++i) delta[i / kWidth] += static_cast<double>(d_o[i]) * o[i];
  attention_backward_ref(host, d_o.data(), kWidth, lse.data(), delta.data(), dq.data(), dk.data(), dv.data());

  const OnDevice<Bf16> on_q(stored<Bf16>(q)), on_k(stored<Bf16>(k)), on_v(stored<Bf16>(v)),
      on_d_o(stored<Bf16>(d_o));
  const OnDevice<std::int32_t> on_position(position);
  const OnDevice<TokenRange> range((kTokens + 31) / 32);
  token_ranges_cuda(range.get(), on_position.get(), nullptr, kTokens, nullptr);
  const std::vector<float> zeros(q.size(), 0.0F);
  const OnDevice<float> on_o(zeros), on_dq(zeros), on_dk(zeros), on_dv(zeros);
  const OnDevice<float> on_lse(std::vector<float>(kTokens, -std::numeric_limits<float>::infinity()));
  const OnDevice<float> final_lse(std::vector<float>(lse.begin(), lse.end()));
  const OnDevice<float> on_delta(std::vector<float>(delta.begin(), delta.end()));

  CudaAttentionBlock<Bf16> block;
  block.q = on_q.get();
  block.k = on_k.get();
  block.v = on_v.get();
  block.q_tokens = block.kv_tokens = kTokens;
  block.q_stride = block.kv_stride = block.head_dim = kWidth;
  block.heads = block.kv_heads = 1;
  block.scale = host.scale;
  block.mask.q = block.mask.k = {on_position.get(), nullptr, range.get()};
  const CudaAttentionForward<Bf16> forward{block, on_o.get(), kWidth, on_lse.get()};
  const CudaAttentionBackward<Bf16> backward{block,          on_d_o.get(), kWidth,      final_lse.get(),
                                             on_delta.get(), on_dq.get(),  on_dk.get(), on_dv.get(),
                                             kWidth,         kWidth};
  probe_forward(forward);
  probe_backward(backward);
  TS_CUDA(cudaDeviceSynchronize());
  expect_near("o", on_o.download(), o);
  expect_near("dq", on_dq.download(), dq);
  expect_near("dk", on_dk.download(), dk);
  expect_near("dv", on_dv.download(), dv);
}

}  // namespace
}  // namespace tessera::kernels
