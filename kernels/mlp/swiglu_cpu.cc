#include <cstdint>

#include "algos/base/require.h"
#include "kernels/device/thread_pool.h"
#include "kernels/mlp/swiglu.h"

// simd_targets.h comes before Highway, whose headers have an order of their own.
// clang-format off
#include "kernels/device/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mlp/swiglu_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/device/exp-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// 1 / (1 + exp(-z)), as exp(z) / (1 + exp(z)) for negative z, so that no exponential overflows.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V z) {
  const V one = hn::Set(d, 1.0F);
  const V e = exp_of_nonpositive(d, hn::Neg(hn::Abs(z)));
  return hn::Div(hn::IfThenElse(hn::Lt(z, hn::Zero(d)), e, one), hn::Add(one, e));
}

template <class D>
HWY_INLINE void forward_at(D d, float* y, const float* gate_p, const float* up) {
  const auto gate = hn::LoadU(d, gate_p);
  hn::StoreU(hn::Mul(hn::Mul(gate, sigmoid(d, gate)), hn::LoadU(d, up)), d, y);
}

/// All reads come before the writes: d_gate, d_up may be gate, up.
template <class D>
HWY_INLINE void backward_at(D d, float* d_gate, float* d_up, float* y_out, const float* dy_p,
                            const float* gate_p, const float* up_p) {
  const auto gate = hn::LoadU(d, gate_p);
  const auto up = hn::LoadU(d, up_p);
  const auto dy = hn::LoadU(d, dy_p);
  const auto one = hn::Set(d, 1.0F);
  const auto s = sigmoid(d, gate);
  const auto silu = hn::Mul(gate, s);
  const auto slope = hn::Mul(s, hn::MulAdd(gate, hn::Sub(one, s), one));  // d silu / d gate
  hn::StoreU(hn::Mul(hn::Mul(dy, up), slope), d, d_gate);
  hn::StoreU(hn::Mul(dy, silu), d, d_up);
  if (y_out != nullptr) hn::StoreU(hn::Mul(silu, up), d, y_out);
}

void forward_rows(float* y_TF, const float* gate_up_T2F, std::int64_t begin, std::int64_t end,
                  std::int64_t width) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t t = begin; t < end; ++t) {
    float* y = y_TF + t * width;
    const float* gate = gate_up_T2F + t * 2 * width;
    const float* up = gate + width;
    std::int64_t i = 0;
    for (; i + lanes <= width; i += lanes) forward_at(d, y + i, gate + i, up + i);
    for (; i < width; ++i) forward_at(one, y + i, gate + i, up + i);
  }
}

void backward_rows(float* d_gate_up_T2F, float* y_out_TF, const float* dy_TF, const float* gate_up_T2F,
                   std::int64_t begin, std::int64_t end, std::int64_t width) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t t = begin; t < end; ++t) {
    float* d_gate = d_gate_up_T2F + t * 2 * width;
    float* d_up = d_gate + width;
    float* y = y_out_TF == nullptr ? nullptr : y_out_TF + t * width;
    const auto y_at = [&](std::int64_t i) { return y == nullptr ? nullptr : y + i; };
    const float* dy = dy_TF + t * width;
    const float* gate = gate_up_T2F + t * 2 * width;
    const float* up = gate + width;
    std::int64_t i = 0;
    for (; i + lanes <= width; i += lanes) {
      backward_at(d, d_gate + i, d_up + i, y_at(i), dy + i, gate + i, up + i);
    }
    for (; i < width; ++i) backward_at(one, d_gate + i, d_up + i, y_at(i), dy + i, gate + i, up + i);
  }
}

}  // namespace
}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

std::int64_t token_grain(std::int64_t width) { return 1 + 8192 / (1 + width); }

}  // namespace

void swiglu_forward(float* y_TF, const float* gate_up_T2F, std::int64_t tokens, std::int64_t width) {
  TS_REQUIRE(tokens >= 0 && width >= 0, tokens, width);
  parallel_ranges(tokens, token_grain(width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)(y_TF, gate_up_T2F, begin, end, width);
  });
}

void swiglu_backward(float* d_gate_up_T2F, float* y_out_TF, const float* dy_TF, const float* gate_up_T2F,
                     std::int64_t tokens, std::int64_t width) {
  TS_REQUIRE(tokens >= 0 && width >= 0, tokens, width);
  parallel_ranges(tokens, token_grain(width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_rows)(d_gate_up_T2F, y_out_TF, dy_TF, gate_up_T2F, begin, end, width);
  });
}

}  // namespace tessera::kernels
#endif  // HWY_ONCE
