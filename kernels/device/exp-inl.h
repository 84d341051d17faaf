/// The exponential function of a vector, shared by the kernels with a softmax or a sigmoid.
///
/// Highway's own Exp covers the whole line, turns NaN into 0 and takes twice as long.
/// Included once per target, after Highway.
#if defined(TESSERA_KERNELS_DEVICE_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DEVICE_EXP_INL_H_
#undef TESSERA_KERNELS_DEVICE_EXP_INL_H_
#else
#define TESSERA_KERNELS_DEVICE_EXP_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {

/// exp(x) for x <= 0, within 1 ulp: 2^k exp(r) with |r| <= ln(2) / 2, Cody & Waite's reduction, and
///   exp(r) = 1 + r + r^2 q(r),   q a minimax polynomial: error 0.06 * 2^-24 relatively, coefficients
///   rounded.
/// Below -87.34, where the result would be subnormal, exactly 0 (so for -infinity); NaN stays NaN.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V exp_of_nonpositive(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const auto vanishes = hn::Lt(x, hn::Set(d, -87.33654F));
  const V z = hn::IfThenZeroElse(vanishes, x);
  // The sum's last bits are round(z / ln 2) + 127: shifted up, the exponent field of 2^k.
  const V magic = hn::Set(d, 0x1.8p23F + 127.0F);
  const V shifted = hn::MulAdd(z, hn::Set(d, 1.44269504088896340736F), magic);
  const V k = hn::Sub(shifted, magic);
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  V r = hn::NegMulAdd(k, hn::Set(d, 0.693359375F), z);
  r = hn::NegMulAdd(k, hn::Set(d, -2.12194440e-4F), r);
  const V one = hn::Set(d, 1.0F);
  V p = hn::Set(d, 0x1.6a23d0p-10F);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.123a20p-7F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f2p-5F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555492p-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2F));
  p = hn::MulAdd(p, r, one);
  p = hn::MulAdd(p, r, one);
  return hn::IfThenZeroElse(vanishes, hn::Mul(p, power));
}

}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // TESSERA_KERNELS_DEVICE_EXP_INL_H_
