// Arithmetic, logic, comparison, conversion, moves, warp votes and shuffles.
#include <algorithm>

#include "machine.h"

namespace ptxrun {
namespace {

// ---- value types in register slots: 16-bit values live in 32-bit slots
struct F16 {
  double v;
};
struct BF16 {
  double v;
};
struct F16X2 {
  double a, b;
};
struct BF16X2 {
  double a, b;
};
struct F32X2 {
  float a, b;
};

inline float odd_f(double d) {  // double -> float, round to odd, so that a later rounding is exact
  float f = (float)d;
  if ((double)f != d && !std::isnan(d)) {
    uint32_t u = b32(f);
    if (std::isinf(f)) return f;
    if (std::fabs((double)f) > std::fabs(d)) u--;
    f = f32(u | 1);
  }
  return f;
}
inline uint32_t to_h(double d) { return f2h_f(odd_f(d)); }
inline uint32_t to_bf(double d) { return f2bf(odd_f(d)); }

template <class T>
struct St {
  using S = T;
  static T in(S s) { return s; }
  static S out(T t) { return t; }
};
template <>
struct St<uint16_t> {
  using S = uint32_t;
  static uint16_t in(S s) { return (uint16_t)s; }
  static S out(uint16_t t) { return t; }
};
template <>
struct St<int16_t> {
  using S = uint32_t;
  static int16_t in(S s) { return (int16_t)s; }
  static S out(int16_t t) { return (uint16_t)t; }
};
template <>
struct St<F16> {
  using S = uint32_t;
  static F16 in(S s) { return {h2f(s)}; }
  static S out(F16 t) { return to_h(t.v); }
};
template <>
struct St<BF16> {
  using S = uint32_t;
  static BF16 in(S s) { return {bf2f(s)}; }
  static S out(BF16 t) { return to_bf(t.v); }
};
template <>
struct St<F16X2> {
  using S = uint32_t;
  static F16X2 in(S s) { return {h2f(s), h2f(s >> 16)}; }
  static S out(F16X2 t) { return to_h(t.a) | to_h(t.b) << 16; }
};
template <>
struct St<BF16X2> {
  using S = uint32_t;
  static BF16X2 in(S s) { return {bf2f(s), bf2f(s >> 16)}; }
  static S out(BF16X2 t) { return to_bf(t.a) | to_bf(t.b) << 16; }
};
template <>
struct St<F32X2> {
  using S = uint64_t;
  static F32X2 in(S s) { return {f32((uint32_t)s), f32((uint32_t)(s >> 32))}; }
  static S out(F32X2 t) { return b32(t.a) | (uint64_t)b32(t.b) << 32; }
};

#define LOOP(m, ...)                                                    \
  do {                                                                  \
    if ((m) == FULL) {                                                  \
      _Pragma("GCC ivdep") for (int l = 0; l < W; l++) { __VA_ARGS__; } \
    } else {                                                            \
      for (int l = 0; l < W; l++)                                       \
        if ((m) >> l & 1) {                                             \
          __VA_ARGS__;                                                  \
        }                                                               \
    }                                                                   \
  } while (0)

template <class R, class A, class F>
void X1(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<typename St<R>::S>(c, I.d);
  auto* a = src<typename St<A>::S>(c, I.a);
  LOOP(m, d[l] = St<R>::out(F::f(St<A>::in(a[l]))));
}
template <class R, class A, class B, class F>
void X2(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<typename St<R>::S>(c, I.d);
  auto* a = src<typename St<A>::S>(c, I.a);
  auto* b = src<typename St<B>::S>(c, I.b);
  LOOP(m, d[l] = St<R>::out(F::f(St<A>::in(a[l]), St<B>::in(b[l]))));
}
template <class R, class A, class B, class C, class F>
void X3(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<typename St<R>::S>(c, I.d);
  auto* a = src<typename St<A>::S>(c, I.a);
  auto* b = src<typename St<B>::S>(c, I.b);
  auto* e = src<typename St<C>::S>(c, I.c);
  LOOP(m, d[l] = St<R>::out(F::f(St<A>::in(a[l]), St<B>::in(b[l]), St<C>::in(e[l]))));
}
template <class R, class A, class B, class C, class E, class F>
void X4(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<typename St<R>::S>(c, I.d);
  auto* a = src<typename St<A>::S>(c, I.a);
  auto* b = src<typename St<B>::S>(c, I.b);
  auto* e = src<typename St<C>::S>(c, I.c);
  auto* g = src<typename St<E>::S>(c, I.e);
  LOOP(m, d[l] = St<R>::out(F::f(St<A>::in(a[l]), St<B>::in(b[l]), St<C>::in(e[l]), St<E>::in(g[l]))));
}

// ---- integer functors
template <class T>
struct IAdd {
  static T f(T a, T b) { return (T)(a + b); }
};
template <class T>
struct ISub {
  static T f(T a, T b) { return (T)(a - b); }
};
template <class T>
struct IMul {
  static T f(T a, T b) { return (T)((uint64_t)a * (uint64_t)b); }
};
template <class T>
struct IMad {
  static T f(T a, T b, T c) { return (T)((uint64_t)a * (uint64_t)b + (uint64_t)c); }
};
template <class T>
struct Wide2;
template <>
struct Wide2<uint16_t> {
  using t = uint32_t;
};
template <>
struct Wide2<int16_t> {
  using t = int32_t;
};
template <>
struct Wide2<uint32_t> {
  using t = uint64_t;
};
template <>
struct Wide2<int32_t> {
  using t = int64_t;
};
template <>
struct Wide2<uint64_t> {
  using t = unsigned __int128;
};
template <>
struct Wide2<int64_t> {
  using t = __int128;
};
template <class T>
struct IHi {
  static T f(T a, T b) {
    using Q = typename Wide2<T>::t;
    return (T)(((Q)a * (Q)b) >> (sizeof(T) * 8));
  }
};
template <class T>
struct IMadHi {
  static T f(T a, T b, T c) { return (T)(IHi<T>::f(a, b) + c); }
};
template <class T>
struct IWide {
  using Q = typename Wide2<T>::t;
  static Q f(T a, T b) { return (Q)a * (Q)b; }
};
template <class T>
struct IMadWide {
  using Q = typename Wide2<T>::t;
  using U = typename std::make_unsigned<Q>::type;
  static Q f(T a, T b, Q c) { return (Q)((U)((Q)a * (Q)b) + (U)c); }
};
template <class T>
struct IDiv {
  static T f(T a, T b) {
    if (b == 0) return (T)-1;
    if (std::is_signed<T>::value && b == (T)-1) return (T)(0 - (typename std::make_unsigned<T>::type)a);
    return (T)(a / b);
  }
};
template <class T>
struct IRem {
  static T f(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed<T>::value && b == (T)-1) return 0;
    return (T)(a % b);
  }
};
template <class T>
struct IMin {
  static T f(T a, T b) { return a < b ? a : b; }
};
template <class T>
struct IMax {
  static T f(T a, T b) { return a > b ? a : b; }
};
template <class T>
struct IAbs {
  static T f(T a) { return a < 0 ? (T)(0 - (typename std::make_unsigned<T>::type)a) : a; }
};
template <class T>
struct INeg {
  static T f(T a) { return (T)(0 - (typename std::make_unsigned<T>::type)a); }
};
template <class T>
struct IAnd {
  static T f(T a, T b) { return a & b; }
};
template <class T>
struct IOr {
  static T f(T a, T b) { return a | b; }
};
template <class T>
struct IXor {
  static T f(T a, T b) { return a ^ b; }
};
template <class T>
struct INot {
  static T f(T a) { return (T)~a; }
};
template <class T>
struct ICnot {
  static T f(T a) { return a == 0 ? 1 : 0; }
};
template <class T>
struct IShl {
  static T f(T a, uint32_t b) {
    using U = typename std::make_unsigned<T>::type;
    return b >= sizeof(T) * 8 ? 0 : (T)(U)((U)a << b);
  }
};
template <class T>
struct IShr {
  static T f(T a, uint32_t b) {
    const uint32_t n = sizeof(T) * 8;
    return std::is_signed<T>::value ? (T)(a >> (b >= n ? n - 1 : b)) : b >= n ? 0 : (T)(a >> b);
  }
};
template <class T>
struct ISad {
  static T f(T a, T b, T c) {
    using U = typename std::make_unsigned<T>::type;
    return (T)(U)((U)c + (a < b ? (U)((U)b - (U)a) : (U)((U)a - (U)b)));
  }
};
template <class T>
struct IMov {
  static T f(T a) { return a; }
};
template <class T>
struct IPopc {
  static uint32_t f(T a) { return (uint32_t)__builtin_popcountll(a); }
};
template <class T>
struct IClz {
  static uint32_t f(T a) {
    return a ? (uint32_t)(sizeof(T) == 8 ? __builtin_clzll(a) : __builtin_clz((uint32_t)a)) : sizeof(T) * 8;
  }
};
template <class T>
struct IBrev {
  static T f(T a) {
    T r = 0;
    for (unsigned i = 0; i < sizeof(T) * 8; i++) r |= (T)((a >> i & 1) << (sizeof(T) * 8 - 1 - i));
    return r;
  }
};
template <class T, bool SH>
struct IBfind {
  static uint32_t f(T a) {
    using U = typename std::make_unsigned<T>::type;
    U u = std::is_signed<T>::value && a < 0 ? (U)~a : (U)a;
    if (!u) return FULL;
    uint32_t p = (uint32_t)(63 - __builtin_clzll((uint64_t)u));
    return SH ? sizeof(T) * 8 - 1 - p : p;
  }
};
template <class T>
struct IBfe {
  static T f(T a, uint32_t pos, uint32_t len) {
    const uint32_t n = sizeof(T) * 8;
    using U = typename std::make_unsigned<T>::type;
    pos &= 255;
    len &= 255;
    U r = 0;
    bool sg = std::is_signed<T>::value;
    U u = (U)a;
    bool sb = false;
    if (sg && len) {
      uint32_t hi = std::min<uint64_t>((uint64_t)pos + len - 1, n - 1);
      sb = u >> hi & 1;
    }
    for (uint32_t i = 0; i < n; i++) {
      bool bit = i < len && (uint64_t)pos + i < n ? (u >> (pos + i) & 1) : sb;
      if (bit) r |= (U)1 << i;
    }
    return (T)r;
  }
};
template <class T>
struct IBfi {
  static T f(T a, T b, uint32_t pos, uint32_t len) {
    const uint32_t n = sizeof(T) * 8;
    pos &= 255;
    len &= 255;
    if (pos >= n || !len) return b;
    uint32_t k = std::min(len, n - pos);
    T mask = (k >= n ? (T) ~(T)0 : (T)((((T)1) << k) - 1)) << pos;
    return (T)((b & ~mask) | ((T)(a << pos) & mask));
  }
};
struct Bmsk {
  static uint32_t f(uint32_t a, uint32_t b) {
    if (a >= 32) return 0;
    if (b > 32) b = 32;
    uint64_t m = ((1ull << b) - 1) << a;
    return (uint32_t)m;
  }
};
struct BmskW {
  static uint32_t f(uint32_t a, uint32_t b) { return Bmsk::f(a & 31, b & 31); }
};
template <bool S, bool Wr>
struct Szext {
  static uint32_t f(uint32_t a, uint32_t b) {
    if (Wr) b &= 31;
    if (b >= 32) return a;
    if (!b) return 0;
    uint32_t m = (1u << b) - 1, r = a & m;
    if (S && (r >> (b - 1) & 1)) r |= ~m;
    return r;
  }
};
struct Fns {
  static uint32_t f(uint32_t mask, uint32_t base, uint32_t off) {
    int32_t o = (int32_t)off;
    int p = (int)(base & 31), step = o >= 0 ? 1 : -1, need = o >= 0 ? o : -o;
    if (o == 0) return mask >> p & 1 ? (uint32_t)p : FULL;
    for (; p >= 0 && p < 32; p += step)
      if ((mask >> p & 1) && --need == 0) return (uint32_t)p;
    return FULL;
  }
};
struct ShfL {
  static uint32_t f(uint32_t lo, uint32_t hi, uint32_t n) {
    n &= 31;
    return n ? hi << n | lo >> (32 - n) : hi;
  }
};
struct ShfR {
  static uint32_t f(uint32_t lo, uint32_t hi, uint32_t n) {
    n &= 31;
    return n ? lo >> n | hi << (32 - n) : lo;
  }
};
struct ShfLc {
  static uint32_t f(uint32_t lo, uint32_t hi, uint32_t n) { return n >= 32 ? lo : ShfL::f(lo, hi, n); }
};
struct ShfRc {
  static uint32_t f(uint32_t lo, uint32_t hi, uint32_t n) { return n >= 32 ? hi : ShfR::f(lo, hi, n); }
};
struct Prmt {
  static uint32_t f(uint32_t a, uint32_t b, uint32_t s) {
    uint64_t v = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
      uint32_t q = s >> (4 * i) & 15, by = (uint32_t)(v >> (8 * (q & 7))) & 255;
      if (q & 8) by = by & 128 ? 255 : 0;
      r |= by << (8 * i);
    }
    return r;
  }
};
void ex_prmt_mode(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<uint32_t>(c, I.d);
  auto* a = src<uint32_t>(c, I.a);
  auto* b = src<uint32_t>(c, I.b);
  auto* e = src<uint32_t>(c, I.c);
  FOR_LANES(l, m) {
    uint32_t k = e[l] & 3, s = 0;
    switch (I.sub) {
      case 1:
        for (int i = 0; i < 4; i++) s |= ((k + i) & 7) << (4 * i);
        break;  // f4e
      case 2:
        for (int i = 0; i < 4; i++) s |= ((k - i) & 7) << (4 * i);
        break;                        // b4e
      case 3: s = k * 0x1111; break;  // rc8
      case 4: {
        uint32_t t[4];
        for (uint32_t i = 0; i < 4; i++) t[i] = std::max(i, k);
        for (int i = 0; i < 4; i++) s |= t[i] << (4 * i);
        break;
      }  // ecl
      case 5: {
        uint32_t t[4];
        for (uint32_t i = 0; i < 4; i++) t[i] = std::min(i, k);
        for (int i = 0; i < 4; i++) s |= t[i] << (4 * i);
        break;
      }                                            // ecr
      case 6: s = k & 1 ? 0x3232 : 0x1010; break;  // rc16
    }
    d[l] = Prmt::f(a[l], b[l], s);
  }
}
void ex_lop3(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<uint32_t>(c, I.d);
  auto* a = src<uint32_t>(c, I.a);
  auto* b = src<uint32_t>(c, I.b);
  auto* e = src<uint32_t>(c, I.c);
  uint32_t q[8];
  for (int i = 0; i < 8; i++) q[i] = I.imm >> i & 1 ? FULL : 0;
  LOOP(m, {
    uint32_t x = a[l], y = b[l], z = e[l];
    d[l] = (q[0] & ~x & ~y & ~z) | (q[1] & ~x & ~y & z) | (q[2] & ~x & y & ~z) | (q[3] & ~x & y & z) |
           (q[4] & x & ~y & ~z) | (q[5] & x & ~y & z) | (q[6] & x & y & ~z) | (q[7] & x & y & z);
  });
}
// add/sub/mad with carry. sub: 0 add 1 sub 2 mad.lo 3 mad.hi; fl bit0 carry in, bit1 carry out
template <class T>
void ex_carry(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<T>(c, I.d);
  auto* a = src<T>(c, I.a);
  auto* b = src<T>(c, I.b);
  auto* e = src<T>(c, I.c);
  using Q = unsigned __int128;
  uint32_t& cc = c.w->cc[0];
  FOR_LANES(l, m) {
    Q ci = (I.fl & 1) && (cc >> l & 1) ? 1 : 0, r;
    const int n = sizeof(T) * 8;
    if (I.sub == 0)
      r = (Q)a[l] + b[l] + ci;
    else if (I.sub == 1)
      r = (Q)a[l] - b[l] - ci;
    else {
      Q p = (Q)a[l] * b[l];
      if (I.sub == 3 && I.sz)
        p = (Q)((__int128)(typename std::make_signed<T>::type)a[l] *
                (typename std::make_signed<T>::type)b[l]);
      T part = I.sub == 2 ? (T)p : (T)(p >> n);
      r = (Q)part + e[l] + ci;
    }
    if (I.fl & 2) {
      bool co = r >> n & 1;
      cc = (cc & ~(1u << l)) | (uint32_t)co << l;
    }
    d[l] = (T)r;
  }
}
struct AddSat {
  static int32_t f(int32_t a, int32_t b) {
    int64_t r = (int64_t)a + b;
    return (int32_t)std::max<int64_t>(INT32_MIN, std::min<int64_t>(INT32_MAX, r));
  }
};
struct SubSat {
  static int32_t f(int32_t a, int32_t b) {
    int64_t r = (int64_t)a - b;
    return (int32_t)std::max<int64_t>(INT32_MIN, std::min<int64_t>(INT32_MAX, r));
  }
};
template <bool S>
struct Mul24 {
  static uint32_t f(uint32_t a, uint32_t b) {
    if (S) {
      int32_t x = (int32_t)(a << 8) >> 8, y = (int32_t)(b << 8) >> 8;
      return (uint32_t)((int64_t)x * y);
    }
    return (uint32_t)((uint64_t)(a & 0xffffff) * (b & 0xffffff));
  }
};
template <class OP>
struct Pair16 {
  static uint32_t f(uint32_t a, uint32_t b) {
    return (OP::f((uint16_t)a, (uint16_t)b) & 0xffffu) |
           (uint32_t)(uint16_t)OP::f((uint16_t)(a >> 16), (uint16_t)(b >> 16)) << 16;
  }
};
template <class OP>
struct PairS16 {
  static uint32_t f(uint32_t a, uint32_t b) {
    return (uint16_t)OP::f((int16_t)a, (int16_t)b) |
           (uint32_t)(uint16_t)OP::f((int16_t)(a >> 16), (int16_t)(b >> 16)) << 16;
  }
};
void ex_dp(Ctx& c, const Inst& I,
           uint32_t m) {  // dp4a / dp2a: ty signed a, ty2 signed b, sub 0 dp4a 1 dp2a.lo 2 dp2a.hi
  auto* d = dst<uint32_t>(c, I.d);
  auto* a = src<uint32_t>(c, I.a);
  auto* b = src<uint32_t>(c, I.b);
  auto* e = src<uint32_t>(c, I.c);
  FOR_LANES(l, m) {
    int64_t s = 0;
    if (I.sub == 0)
      for (int i = 0; i < 4; i++) {
        int64_t x = I.ty ? (int8_t)(a[l] >> 8 * i) : (int64_t)(uint8_t)(a[l] >> 8 * i),
                y = I.ty2 ? (int8_t)(b[l] >> 8 * i) : (int64_t)(uint8_t)(b[l] >> 8 * i);
        s += x * y;
      }
    else
      for (int i = 0; i < 2; i++) {
        int k = i + (I.sub == 2 ? 2 : 0);
        int64_t x = I.ty ? (int16_t)(a[l] >> 16 * i) : (int64_t)(uint16_t)(a[l] >> 16 * i),
                y = I.ty2 ? (int8_t)(b[l] >> 8 * k) : (int64_t)(uint8_t)(b[l] >> 8 * k);
        s += x * y;
      }
    d[l] = (uint32_t)(s + e[l]);
  }
}

// ---- float functors
template <bool Z>
inline float z(float x) {
  return Z ? ftz(x) : x;
}
template <bool S>
inline float sat(float x) {
  if (!S) return x;
  return !(x > 0.f) ? 0.f : x > 1.f ? 1.f : x;
}
template <bool Z, bool S>
struct FAdd {
  static float f(float a, float b) { return sat<S>(z<Z>(z<Z>(a) + z<Z>(b))); }
};
template <bool Z, bool S>
struct FSub {
  static float f(float a, float b) { return sat<S>(z<Z>(z<Z>(a) - z<Z>(b))); }
};
template <bool Z, bool S>
struct FMul {
  static float f(float a, float b) { return sat<S>(z<Z>(z<Z>(a) * z<Z>(b))); }
};
template <bool Z, bool S>
struct FFma {
  static float f(float a, float b, float c) { return sat<S>(z<Z>(std::fma(z<Z>(a), z<Z>(b), z<Z>(c)))); }
};
template <bool Z, bool S>
struct FDiv {
  static float f(float a, float b) { return sat<S>(z<Z>(z<Z>(a) / z<Z>(b))); }
};
template <bool Z>
struct FNeg {
  static float f(float a) { return f32(b32(z<Z>(a)) ^ 0x80000000u); }
};
template <bool Z>
struct FAbs {
  static float f(float a) { return f32(b32(z<Z>(a)) & 0x7fffffffu); }
};
template <class T>
inline T fmin_(T a, T b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class T>
inline T fmax_(T a, T b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
inline float canon(float x) { return std::isnan(x) ? f32(0x7fffffffu) : x; }
template <bool Z>
struct FMin {
  static float f(float a, float b) { return canon(fmin_(z<Z>(a), z<Z>(b))); }
};
template <bool Z>
struct FMax {
  static float f(float a, float b) { return canon(fmax_(z<Z>(a), z<Z>(b))); }
};
template <bool Z>
struct FMinN {
  static float f(float a, float b) {
    return std::isnan(a) || std::isnan(b) ? f32(0x7fffffffu) : fmin_(z<Z>(a), z<Z>(b));
  }
};
template <bool Z>
struct FMaxN {
  static float f(float a, float b) {
    return std::isnan(a) || std::isnan(b) ? f32(0x7fffffffu) : fmax_(z<Z>(a), z<Z>(b));
  }
};
template <class OP>
struct Three {
  static float f(float a, float b, float c) { return OP::f(OP::f(a, b), c); }
};
template <class OP>
struct XorSign {
  static float f(float a, float b) {
    uint32_t s = (b32(a) ^ b32(b)) & 0x80000000u;
    return f32((b32(OP::f(std::fabs(a), std::fabs(b))) & 0x7fffffffu) | s);
  }
};
template <bool Z>
struct FSqrt {
  static float f(float a) { return z<Z>(std::sqrt(z<Z>(a))); }
};
template <bool Z>
struct FRcp {
  static float f(float a) { return z<Z>(1.0f / z<Z>(a)); }
};
struct Copysign {
  static uint32_t f(uint32_t a, uint32_t b) { return (a & 0x80000000u) | (b & 0x7fffffffu); }
};
struct Copysign64 {
  static uint64_t f(uint64_t a, uint64_t b) { return (a & (1ull << 63)) | (b & ~(1ull << 63)); }
};
struct DAdd {
  static double f(double a, double b) { return a + b; }
};
struct DSub {
  static double f(double a, double b) { return a - b; }
};
struct DMul {
  static double f(double a, double b) { return a * b; }
};
struct DDiv {
  static double f(double a, double b) { return a / b; }
};
struct DFma {
  static double f(double a, double b, double c) { return std::fma(a, b, c); }
};
struct DNeg {
  static double f(double a) { return f64(b64(a) ^ (1ull << 63)); }
};
struct DAbs {
  static double f(double a) { return std::fabs(a); }
};
struct DMin {
  static double f(double a, double b) { return fmin_(a, b); }
};
struct DMax {
  static double f(double a, double b) { return fmax_(a, b); }
};
struct DMinN {
  static double f(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : fmin_(a, b); }
};
struct DMaxN {
  static double f(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : fmax_(a, b); }
};
struct DSqrt {
  static double f(double a) { return std::sqrt(a); }
};
struct DRcp {
  static double f(double a) { return 1.0 / a; }
};
struct DRelu {
  static double f(double a, double b, double c) {
    double r = std::fma(a, b, c);
    return std::isnan(r) ? r : r > 0 ? r : 0;
  }
};
struct DFmaSat {
  static double f(double a, double b, double c) {
    double r = std::fma(a, b, c);
    return !(r > 0) ? 0 : r > 1 ? 1 : r;
  }
};
struct DEx2 {
  static double f(double a) { return std::exp2(a); }
};
struct DTanh {
  static double f(double a) { return std::tanh(a); }
};

// Lift double functors to half types
template <class T, class F>
struct H1 {
  static T f(T a) { return T{F::f(a.v)}; }
};
template <class T, class F>
struct H2 {
  static T f(T a, T b) { return T{F::f(a.v, b.v)}; }
};
template <class T, class F>
struct H3 {
  static T f(T a, T b, T c) { return T{F::f(a.v, b.v, c.v)}; }
};
template <class T, class F>
struct P1 {
  static T f(T a) { return T{F::f(a.a), F::f(a.b)}; }
};
template <class T, class F>
struct P2 {
  static T f(T a, T b) { return T{F::f(a.a, b.a), F::f(a.b, b.b)}; }
};
template <class T, class F>
struct P3 {
  static T f(T a, T b, T c) { return T{F::f(a.a, b.a, c.a), F::f(a.b, b.b, c.b)}; }
};
template <class F>
Fn half1(Ty t) {
  return t == T_F16      ? X1<F16, F16, H1<F16, F>>
         : t == T_BF16   ? X1<BF16, BF16, H1<BF16, F>>
         : t == T_F16X2  ? X1<F16X2, F16X2, P1<F16X2, F>>
         : t == T_BF16X2 ? X1<BF16X2, BF16X2, P1<BF16X2, F>>
                         : (Fn) nullptr;
}
template <class F>
Fn half2(Ty t) {
  return t == T_F16      ? X2<F16, F16, F16, H2<F16, F>>
         : t == T_BF16   ? X2<BF16, BF16, BF16, H2<BF16, F>>
         : t == T_F16X2  ? X2<F16X2, F16X2, F16X2, P2<F16X2, F>>
         : t == T_BF16X2 ? X2<BF16X2, BF16X2, BF16X2, P2<BF16X2, F>>
                         : (Fn) nullptr;
}
template <class F>
Fn half3(Ty t) {
  return t == T_F16      ? X3<F16, F16, F16, F16, H3<F16, F>>
         : t == T_BF16   ? X3<BF16, BF16, BF16, BF16, H3<BF16, F>>
         : t == T_F16X2  ? X3<F16X2, F16X2, F16X2, F16X2, P3<F16X2, F>>
         : t == T_BF16X2 ? X3<BF16X2, BF16X2, BF16X2, BF16X2, P3<BF16X2, F>>
                         : (Fn) nullptr;
}
// f32x2
struct F2Add {
  static F32X2 f(F32X2 a, F32X2 b) { return {a.a + b.a, a.b + b.b}; }
};
struct F2Sub {
  static F32X2 f(F32X2 a, F32X2 b) { return {a.a - b.a, a.b - b.b}; }
};
struct F2Mul {
  static F32X2 f(F32X2 a, F32X2 b) { return {a.a * b.a, a.b * b.b}; }
};
struct F2Fma {
  static F32X2 f(F32X2 a, F32X2 b, F32X2 c) { return {std::fma(a.a, b.a, c.a), std::fma(a.b, b.b, c.b)}; }
};

// ---- approximate functions: sub picks; fl bit0 ftz
inline float noisy(Machine* M, float r, int ulps) {
  if (!std::isfinite(r) || std::fabs(r) < 1e-36f) return r;
  M->noise = M->noise * 6364136223846793005ull + 1442695040888963407ull;
  int d = (int)((M->noise >> 33) % (uint64_t)(2 * ulps + 1)) - ulps;
  float q = f32(b32(r) + (uint32_t)d);
  return std::isfinite(q) && std::signbit(q) == std::signbit(r) ? q : r;
}
enum { A_EX2, A_LG2, A_SIN, A_COS, A_RSQRT, A_RCP, A_SQRT, A_TANH, A_DIV, A_DIVFULL };
const int kUlps[] = {2, 2, 8, 8, 2, 1, 2, 4096, 2, 2};
template <int OP>
void ex_approx(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<float>(c, I.d);
  auto* a = src<float>(c, I.a);
  const float* b = OP >= A_DIV ? src<float>(c, I.b) : a;
  const bool Z = I.fl & 1, N = c.M->opt.approx_noise;
  FOR_LANES(l, m) {
    float x = Z ? ftz(a[l]) : a[l], r;
    switch (OP) {
      case A_EX2: r = std::exp2(x); break;
      case A_LG2: r = std::log2(x); break;
      case A_SIN: r = std::sin(x); break;
      case A_COS: r = std::cos(x); break;
      case A_RSQRT: r = (float)(1.0 / std::sqrt((double)x)); break;
      case A_RCP: r = 1.0f / x; break;
      case A_SQRT: r = std::sqrt(x); break;
      case A_TANH: r = std::tanh(x); break;
      default: {
        float y = Z ? ftz(b[l]) : b[l];
        r = x / y;
        if (OP == A_DIV && std::fabs(y) > 8.507059173e37f && std::isfinite(y))
          r = std::isinf(x) ? NAN : std::copysign(0.f, r);
      }
    }
    if (N) r = noisy(c.M, r, kUlps[OP]);
    d[l] = canon(Z ? ftz(r) : r);
  }
}
void ex_d_approx(Ctx& c, const Inst& I, uint32_t m) {  // rcp/rsqrt.approx.ftz.f64
  auto* d = dst<double>(c, I.d);
  auto* a = src<double>(c, I.a);
  FOR_LANES(l, m) {
    double r = I.sub == 0 ? 1.0 / a[l] : 1.0 / std::sqrt(a[l]);
    d[l] = f64(b64(r) & ~0xffffffffull);
  }
}
// directed rounding. ty f32/f64, sub 0 add 1 sub 2 mul 3 fma 4 div 5 sqrt 6 rcp; sz rounding; fl bit0 ftz
// bit1 sat
template <class T>
void ex_rnd(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<T>(c, I.d);
  auto* a = src<T>(c, I.a);
  auto* b = src<T>(c, I.b);
  auto* e = src<T>(c, I.c);
  Rnd r = (Rnd)I.sz;
  auto q = [&](T x) -> T {
    if (sizeof(T) == 4 && (I.fl & 1)) return (T)ftz((float)x);
    return x;
  };
  FOR_LANES(l, m) {
    T x;
    switch (I.sub) {
      case 0: x = radd(q(a[l]), q(b[l]), r); break;
      case 1: x = radd(q(a[l]), -q(b[l]), r); break;
      case 2: x = rmul(q(a[l]), q(b[l]), r); break;
      case 3: x = rfma(q(a[l]), q(b[l]), q(e[l]), r); break;
      case 4: x = rdiv(q(a[l]), q(b[l]), r); break;
      case 5: x = rsqrt_(q(a[l]), r); break;
      default: x = rdiv((T)1, q(a[l]), r);
    }
    x = q(x);
    if (I.fl & 2) x = !(x > 0) ? 0 : x > 1 ? 1 : x;
    d[l] = x;
  }
}

// ---- comparisons
enum { EQ, NE, LT, LE, GT, GE, EQU, NEU, LTU, LEU, GTU, GEU, NUM, NAN_ };
template <int C, class T>
inline bool cmp(T a, T b) {
  switch (C) {
    case EQ: return a == b;
    case NE: return a != b;
    case LT: return a < b;
    case LE: return a <= b;
    case GT: return a > b;
    default: return a >= b;
  }
}
template <int C, class T>
inline bool fcmp(T a, T b) {
  bool u = a != a || b != b;
  switch (C) {
    case EQ: return a == b;
    case NE: return !u && a != b;
    case LT: return a < b;
    case LE: return a <= b;
    case GT: return a > b;
    case GE: return a >= b;
    case EQU: return u || a == b;
    case NEU: return u || a != b;
    case LTU: return u || a < b;
    case LEU: return u || a <= b;
    case GTU: return u || a > b;
    case GEU: return u || a >= b;
    case NUM: return !u;
    default: return u;
  }
}
struct ZF {
  float v;
};  // f32 with ftz
template <class T>
struct Cv {
  using S = typename St<T>::S;
  static T g(S s) { return St<T>::in(s); }
};
inline double val(F16 x) { return x.v; }
inline double val(BF16 x) { return x.v; }
template <class T>
inline T val(T x) {
  return x;
}

inline void put_setp(Ctx& c, const Inst& I, uint32_t m, uint32_t r) {
  uint32_t q = ~r;
  if (I.sub) {
    uint32_t k = c.pred[I.c];
    if (I.fl & 1) k = ~k;
    if (I.sub == 1) {
      r &= k;
      q &= k;
    } else if (I.sub == 2) {
      r |= k;
      q |= k;
    } else {
      r ^= k;
      q ^= k;
    }
  }
  if (I.d != NOPC) c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
  if (I.d2 != NOPC) c.pred[I.d2] = (c.pred[I.d2] & ~m) | (q & m);
}
template <class T, int C>
void ex_setp(Ctx& c, const Inst& I, uint32_t m) {
  auto* a = src<typename St<T>::S>(c, I.a);
  auto* b = src<typename St<T>::S>(c, I.b);
  uint32_t r = 0;
  for (int l = 0; l < W; l++) r |= cmp<C>(St<T>::in(a[l]), St<T>::in(b[l])) ? 1u << l : 0u;
  put_setp(c, I, m, r);
}
template <class T, int C>
void ex_setpf(Ctx& c, const Inst& I, uint32_t m) {
  auto* a = src<typename St<T>::S>(c, I.a);
  auto* b = src<typename St<T>::S>(c, I.b);
  uint32_t r = 0;
  if (std::is_same<T, float>::value && (I.fl & 2)) {
    for (int l = 0; l < W; l++)
      r |= fcmp<C>(ftz((float)val(St<T>::in(a[l]))), ftz((float)val(St<T>::in(b[l])))) ? 1u << l : 0u;
  } else
    for (int l = 0; l < W; l++) r |= fcmp<C>(val(St<T>::in(a[l])), val(St<T>::in(b[l]))) ? 1u << l : 0u;
  put_setp(c, I, m, r);
}
template <class T>
Fn setp_int(int C) {
  switch (C) {
    case EQ: return ex_setp<T, EQ>;
    case NE: return ex_setp<T, NE>;
    case LT: return ex_setp<T, LT>;
    case LE: return ex_setp<T, LE>;
    case GT: return ex_setp<T, GT>;
    case GE: return ex_setp<T, GE>;
  }
  return nullptr;
}
template <class T>
Fn setp_flt(int C) {
  static const Fn f[] = {ex_setpf<T, EQ>,  ex_setpf<T, NE>,  ex_setpf<T, LT>,  ex_setpf<T, LE>,
                         ex_setpf<T, GT>,  ex_setpf<T, GE>,  ex_setpf<T, EQU>, ex_setpf<T, NEU>,
                         ex_setpf<T, LTU>, ex_setpf<T, LEU>, ex_setpf<T, GTU>, ex_setpf<T, GEU>,
                         ex_setpf<T, NUM>, ex_setpf<T, NAN_>};
  return f[C];
}
bool fcmp_rt(int C, double a, double b) {
  switch (C) {
#define K(x) \
  case x: return fcmp<x>(a, b);
    K(EQ) K(NE) K(LT) K(LE) K(GT) K(GE) K(EQU) K(NEU) K(LTU) K(LEU) K(GTU) K(GEU) K(NUM) K(NAN_)
#undef K
  }
  return false;
}
int cmp_code(const std::string& s, bool& uns) {
  static const char* n[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                            "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
  for (int i = 0; i < 14; i++)
    if (s == n[i]) return i;
  uns = true;
  if (s == "lo") return LT;
  if (s == "ls") return LE;
  if (s == "hi") return GT;
  if (s == "hs") return GE;
  return -1;
}
// packed half compare: setp.x.f16x2 p|q (low half to p, high half to q)
void ex_setp2(Ctx& c, const Inst& I, uint32_t m) {
  auto* a = src<uint32_t>(c, I.a);
  auto* b = src<uint32_t>(c, I.b);
  bool h = I.ty == T_F16X2;
  uint32_t r = 0, q = 0;
  for (int l = 0; l < W; l++) {
    if (fcmp_rt(I.sz, h ? h2f(a[l]) : bf2f(a[l]), h ? h2f(b[l]) : bf2f(b[l]))) r |= 1u << l;
    if (fcmp_rt(I.sz, h ? h2f(a[l] >> 16) : bf2f(a[l] >> 16), h ? h2f(b[l] >> 16) : bf2f(b[l] >> 16)))
      q |= 1u << l;
  }
  uint32_t k = I.sub ? c.pred[I.c] : 0;
  if (I.fl & 1) k = ~k;
  if (I.sub == 1) {
    r &= k;
    q &= k;
  } else if (I.sub == 2) {
    r |= k;
    q |= k;
  } else if (I.sub == 3) {
    r ^= k;
    q ^= k;
  }
  if (I.d != NOPC) c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
  if (I.d2 != NOPC) c.pred[I.d2] = (c.pred[I.d2] & ~m) | (q & m);
}
// set.cmp.dtype.stype : goes through an inner setp on a scratch predicate held in I.d2 -> value
void ex_set(Ctx& c, const Inst& I, uint32_t m) {
  Inst J = I;
  J.d2 = NOPC;
  J.d = (uint32_t)I.imm;  // scratch predicate
  ((Fn)I.f1)(c, J, m);
  uint32_t r = c.pred[J.d];
  auto* d = dst<uint32_t>(c, I.d);
  FOR_LANES(l, m)
  d[l] = (r >> l & 1) ? (I.ty == T_F32                    ? 0x3f800000u
                         : I.ty == T_F16                  ? 0x3c00u
                         : I.ty == T_BF16                 ? 0x3f80u
                         : I.ty == T_U16 || I.ty == T_S16 ? 0xffffu
                                                          : FULL)
                      : 0;
}
void ex_set2(Ctx& c, const Inst& I, uint32_t m) {  // set on packed halves: ty2 source, ty dest
  auto* a = src<uint32_t>(c, I.a);
  auto* b = src<uint32_t>(c, I.b);
  auto* d = dst<uint32_t>(c, I.d);
  bool h = I.ty2 == T_F16X2;
  FOR_LANES(l, m) {
    bool r = fcmp_rt(I.sz, h ? h2f(a[l]) : bf2f(a[l]), h ? h2f(b[l]) : bf2f(b[l]));
    bool q = fcmp_rt(I.sz, h ? h2f(a[l] >> 16) : bf2f(a[l] >> 16), h ? h2f(b[l] >> 16) : bf2f(b[l] >> 16));
    uint32_t one = I.ty == T_F16X2 ? 0x3c00 : I.ty == T_BF16X2 ? 0x3f80 : 0xffff;
    d[l] = (r ? one : 0) | (q ? one << 16 : 0);
  }
}
template <class T>
void ex_selp(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<T>(c, I.d);
  auto* a = src<T>(c, I.a);
  auto* b = src<T>(c, I.b);
  uint32_t p = c.pred[I.c];
  if (I.fl & 1) p = ~p;
  LOOP(m, d[l] = (p >> l & 1) ? a[l] : b[l]);
}
template <class T>
void ex_slct(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<T>(c, I.d);
  auto* a = src<T>(c, I.a);
  auto* b = src<T>(c, I.b);
  auto* e = src<uint32_t>(c, I.c);
  FOR_LANES(l, m) d[l] = (I.fl ? f32(e[l]) >= 0.f : (int32_t)e[l] >= 0) ? a[l] : b[l];
}
// predicate logic: sub 0 and 1 or 2 xor 3 not 4 mov; imm: bit0 neg a bit1 neg b, bits 2/3 constants for mov
void ex_pred(Ctx& c, const Inst& I, uint32_t m) {
  uint32_t a = I.imm & 4 ? (I.imm & 8 ? FULL : 0) : c.pred[I.a], b = I.sub < 3 ? c.pred[I.b] : 0, r;
  if (I.imm & 1) a = ~a;
  if (I.imm & 2) b = ~b;
  switch (I.sub) {
    case 0: r = a & b; break;
    case 1: r = a | b; break;
    case 2: r = a ^ b; break;
    case 3: r = ~a; break;
    default: r = a;
  }
  c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
}
void ex_testp(Ctx& c, const Inst& I, uint32_t m) {
  uint32_t r = 0;
  for (int l = 0; l < W; l++) {
    int cl = I.ty == T_F32 ? std::fpclassify(src<float>(c, I.a)[l]) : std::fpclassify(src<double>(c, I.a)[l]);
    bool t = false;
    switch (I.sub) {
      case 0: t = cl != FP_INFINITE && cl != FP_NAN; break;
      case 1: t = cl == FP_INFINITE; break;
      case 2: t = cl != FP_NAN; break;
      case 3: t = cl == FP_NAN; break;
      case 4: t = cl == FP_NORMAL; break;
      case 5: t = cl == FP_SUBNORMAL; break;
    }
    if (t) r |= 1u << l;
  }
  c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
}

// ---- moves
void ex_clock(Ctx& c, const Inst& I, uint32_t m) {
  if (I.sz == 8) {
    auto* d = dst<uint64_t>(c, I.d);
    FOR_LANES(l, m) d[l] = c.M->seq;
  } else {
    auto* d = dst<uint32_t>(c, I.d);
    FOR_LANES(l, m) d[l] = (uint32_t)c.M->seq;
  }
}
// pack: sz = element bytes, nv elements from vpool, into d of nv*sz bytes.  unpack: reverse.
void ex_pack(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];
  FOR_LANES(l, m) {
    uint8_t t[16];
    for (int i = 0; i < I.nv; i++) {
      if (I.sz == 8)
        memcpy(t + 8 * i, src<uint64_t>(c, v[i]) + l, 8);
      else
        memcpy(t + I.sz * i, src<uint32_t>(c, v[i]) + l, I.sz);
    }
    int n = I.nv * I.sz;
    if (n <= 4) {
      uint32_t x = 0;
      memcpy(&x, t, n);
      dst<uint32_t>(c, I.d)[l] = x;
    } else
      memcpy(dst<uint8_t>(c, I.d) + (size_t)n * l, t, n);
  }
}
void ex_unpack(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];
  int n = I.nv * I.sz;
  FOR_LANES(l, m) {
    uint8_t t[16];
    memcpy(t, n <= 4 ? (const uint8_t*)(src<uint32_t>(c, I.a) + l) : src<uint8_t>(c, I.a) + (size_t)n * l, n);
    for (int i = 0; i < I.nv; i++) {
      if (v[i] == NOPC) continue;
      if (I.sz == 8)
        memcpy(dst<uint64_t>(c, v[i]) + l, t + 8 * i, 8);
      else {
        uint32_t x = 0;
        memcpy(&x, t + I.sz * i, I.sz);
        dst<uint32_t>(c, v[i])[l] = x;
      }
    }
  }
}
void ex_mov128(Ctx& c, const Inst& I, uint32_t m) {
  FOR_LANES(l, m) memcpy(dst<uint8_t>(c, I.d) + 16 * l, src<uint8_t>(c, I.a) + 16 * l, 16);
}
void ex_cvta(Ctx& c, const Inst& I, uint32_t m) {  // imm: window base; sub 0 to generic, 1 from generic
  auto* d = dst<uint64_t>(c, I.d);
  auto* a = src<uint64_t>(c, I.a);
  FOR_LANES(l, m) {
    if (I.sub == 0)
      d[l] = a[l] + (uint64_t)I.imm;
    else {
      if (I.imm && (a[l] < (uint64_t)I.imm || a[l] >= (uint64_t)I.imm + WIN_SIZE))
        c.M->fault(c, (int)l, "address",
                   "cvta.to: generic address " + c.M->describe(a[l]) + " is not in the target state space");
      d[l] = a[l] - (uint64_t)I.imm;
    }
  }
}
void ex_isspacep(Ctx& c, const Inst& I, uint32_t m) {
  auto* a = src<uint64_t>(c, I.a);
  uint32_t r = 0;
  FOR_LANES(l, m) {
    bool win = a[l] >= (uint64_t)I.imm && a[l] < (uint64_t)I.imm + WIN_SIZE;
    bool other = a[l] >= SHARED_WIN && a[l] < PARAM_WIN + WIN_SIZE;
    if (I.imm ? win : !other) r |= 1u << l;
  }
  c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
}

// ---- conversions
template <class T>
int64_t rdint(const Ctx& c, uint32_t o, int words, int l) {
  uint64_t v = words == 2 ? src<uint64_t>(c, o)[l] : src<uint32_t>(c, o)[l];
  return (int64_t)(T)v;
}
int64_t rd_int(const Ctx& c, Ty t, uint32_t o, int words, int l) {
  switch (t) {
    case T_U8:
    case T_B8: return rdint<uint8_t>(c, o, words, l);
    case T_S8: return rdint<int8_t>(c, o, words, l);
    case T_U16:
    case T_B16: return rdint<uint16_t>(c, o, words, l);
    case T_S16: return rdint<int16_t>(c, o, words, l);
    case T_U32:
    case T_B32: return rdint<uint32_t>(c, o, words, l);
    case T_S32: return rdint<int32_t>(c, o, words, l);
    default: return rdint<int64_t>(c, o, words, l);
  }
}
double rd_flt(const Ctx& c, Ty t, uint32_t o, int l) {
  switch (t) {
    case T_F16: return h2f(src<uint32_t>(c, o)[l]);
    case T_BF16: return bf2f(src<uint32_t>(c, o)[l]);
    case T_F64: return src<double>(c, o)[l];
    case T_TF32: return tf2f(src<uint32_t>(c, o)[l]);
    default: return src<float>(c, o)[l];
  }
}
void lim(Ty t, double& lo, double& hi) {
  switch (t) {
    case T_U8:
      lo = 0;
      hi = 255;
      break;
    case T_S8:
      lo = -128;
      hi = 127;
      break;
    case T_U16:
      lo = 0;
      hi = 65535;
      break;
    case T_S16:
      lo = -32768;
      hi = 32767;
      break;
    case T_U32:
      lo = 0;
      hi = 4294967295.0;
      break;
    case T_S32:
      lo = -2147483648.0;
      hi = 2147483647.0;
      break;
    case T_U64:
      lo = 0;
      hi = 18446744073709551615.0;
      break;
    default: lo = -9223372036854775808.0; hi = 9223372036854775807.0;
  }
}
double rint_mode(double x, Rnd r) {
  switch (r) {
    case RZ: return std::trunc(x);
    case RM: return std::floor(x);
    case RP: return std::ceil(x);
    default: return std::nearbyint(x);
  }
}
void wr_int(Ctx& c, Ty t, uint32_t o, int words, int l, int64_t v) {
  uint64_t u;
  switch (t) {
    case T_U8:
    case T_B8: u = (uint8_t)v; break;
    case T_S8: u = (uint64_t)(int64_t)(int8_t)v; break;
    case T_U16:
    case T_B16: u = (uint16_t)v; break;
    case T_S16: u = (uint64_t)(int64_t)(int16_t)v; break;
    case T_U32:
    case T_B32: u = (uint32_t)v; break;
    case T_S32: u = (uint64_t)(int64_t)(int32_t)v; break;
    default: u = (uint64_t)v;
  }
  if (words == 2)
    dst<uint64_t>(c, o)[l] = u;
  else
    dst<uint32_t>(c, o)[l] = (uint32_t)u;
}
uint32_t enc_small(Ty t, double x, Rnd r, bool satf) {
  switch (t) {
    case T_F16:
    case T_F16X2: return r == RN && !satf ? to_h(x) : d2small(x, 5, 10, r, satf);
    case T_BF16:
    case T_BF16X2: return r == RN && !satf ? to_bf(x) : d2small(x, 8, 7, r, satf);
    case T_TF32: return d2small(x, 8, 10, r, satf) << 13;
    case T_E4M3X2: return f_e4m3(x);
    case T_E5M2X2: return f_e5m2(x);
    default: return 0;
  }
}
enum { CF_FTZ = 1, CF_SAT = 2, CF_RELU = 4, CF_SATF = 8, CF_INT = 16 };
void ex_cvt(Ctx& c, const Inst& I, uint32_t m) {
  Ty dt = (Ty)I.ty, st = (Ty)I.ty2;
  Rnd r = (Rnd)I.sub;
  FOR_LANES(li, m) {
    int l = (int)li;
    if (ty_isint(st)) {
      int64_t v = rd_int(c, st, I.a, I.nv2, l);
      if (ty_isint(dt)) {
        if (I.fl & CF_SAT) {
          double lo, hi;
          lim(dt, lo, hi);
          __int128 q = st == T_U64 ? (__int128)(uint64_t)v : (__int128)v;
          __int128 a = (__int128)lo, b = dt == T_U64   ? (__int128)UINT64_MAX
                                         : dt == T_S64 ? (__int128)INT64_MAX
                                                       : (__int128)hi;
          q = q < a ? a : q > b ? b : q;
          v = (int64_t)q;
        }
        wr_int(c, dt, I.d, I.nv, l, v);
      } else if (dt == T_F32) {
        float f = r == RN       ? (st == T_U64 ? (float)(uint64_t)v : (float)v)
                  : st == T_U64 ? rcvt_f((uint64_t)v, r)
                                : rcvt_f(v, r);
        dst<float>(c, I.d)[l] = I.fl & CF_SAT ? sat<true>(f) : f;
      } else if (dt == T_F64) {
        dst<double>(c, I.d)[l] = r == RN       ? (st == T_U64 ? (double)(uint64_t)v : (double)v)
                                 : st == T_U64 ? rcvt_d((uint64_t)v, r)
                                               : rcvt_d(v, r);
      } else
        dst<uint32_t>(c, I.d)[l] = enc_small(dt, st == T_U64 ? (double)(uint64_t)v : (double)v, r, false);
      continue;
    }
    double x = rd_flt(c, st, I.a, l);
    if ((I.fl & CF_FTZ) && st == T_F32) x = ftz((float)x);
    if (ty_isint(dt)) {
      int64_t v;
      if (std::isnan(x))
        v = 0;
      else {
        double y = rint_mode(x, r), lo, hi;
        lim(dt, lo, hi);
        if (y <= lo)
          v = dt == T_S64 ? INT64_MIN : (int64_t)lo;
        else if (y >= hi)
          v = dt == T_U64 ? -1 : dt == T_S64 ? INT64_MAX : (int64_t)hi;
        else
          v = dt == T_U64 ? (int64_t)(uint64_t)y : (int64_t)y;
      }
      wr_int(c, dt, I.d, I.nv, l, v);
      continue;
    }
    if (I.fl & CF_INT) x = rint_mode(x, r);
    if (I.fl & CF_RELU) x = std::isnan(x) ? x : x > 0 ? x : 0;
    if (I.fl & CF_SAT) x = !(x > 0) ? 0 : x > 1 ? 1 : x;
    if (dt == T_F64)
      dst<double>(c, I.d)[l] = x;
    else if (dt == T_F32) {
      float f = (I.fl & CF_INT) || r == RN || st != T_F64 ? (float)x : rcvt_f(x, r);
      if (I.fl & CF_FTZ) f = ftz(f);
      dst<float>(c, I.d)[l] = canon(f);
    } else
      dst<uint32_t>(c, I.d)[l] = enc_small(dt, x, (I.fl & CF_INT) ? RN : r, I.fl & CF_SATF);
  }
}
// two f32 (or one f16x2 / fp8x2) to a packed pair: a is the high half, b the low half
void ex_cvt2(Ctx& c, const Inst& I, uint32_t m) {
  Ty dt = (Ty)I.ty, st = (Ty)I.ty2;
  auto* d = dst<uint32_t>(c, I.d);
  FOR_LANES(l, m) {
    double hi, lo;
    uint32_t a = src<uint32_t>(c, I.a)[l];
    if (st == T_F32) {
      hi = f32(a);
      lo = src<float>(c, I.b)[l];
    } else if (st == T_F16X2) {
      lo = h2f(a);
      hi = h2f(a >> 16);
    } else if (st == T_BF16X2) {
      lo = bf2f(a);
      hi = bf2f(a >> 16);
    } else if (st == T_E4M3X2) {
      lo = e4m3_f(a);
      hi = e4m3_f(a >> 8);
    } else {
      lo = e5m2_f(a);
      hi = e5m2_f(a >> 8);
    }
    if (I.fl & CF_RELU) {
      if (!(hi > 0) && !std::isnan(hi)) hi = 0;
      if (!(lo > 0) && !std::isnan(lo)) lo = 0;
    }
    int sh = dt == T_E4M3X2 || dt == T_E5M2X2 ? 8 : 16;
    d[l] = enc_small(dt, lo, (Rnd)I.sub, I.fl & CF_SATF) | enc_small(dt, hi, (Rnd)I.sub, I.fl & CF_SATF)
                                                               << sh;
  }
}
void ex_cvt_bf2(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<uint32_t>(c, I.d);
  auto* a = src<float>(c, I.a);
  auto* b = src<float>(c, I.b);
  LOOP(m, d[l] = f2bf(a[l]) << 16 | f2bf(b[l]));
}
struct CvIF {
  static float f(int32_t a) { return (float)a; }
};
struct CvUF {
  static float f(uint32_t a) { return (float)a; }
};
struct CvFI {
  static int32_t f(float a) {
    return a != a ? 0 : a >= 2147483648.f ? INT32_MAX : a <= -2147483648.f ? INT32_MIN : (int32_t)a;
  }
};
struct CvFD {
  static double f(float a) { return a; }
};
struct CvDF {
  static float f(double a) { return canon((float)a); }
};
struct CvFB {
  static uint32_t f(float a) { return f2bf(a); }
};
struct CvBF {
  static float f(uint32_t a) { return bf2f(a); }
};
struct CvFH {
  static uint32_t f(float a) { return f2h_f(a); }
};
struct CvHF {
  static float f(uint32_t a) { return h2f(a); }
};
struct CvS64 {
  static int64_t f(int32_t a) { return a; }
};
struct CvU64 {
  static uint64_t f(uint32_t a) { return a; }
};
struct CvU32 {
  static uint32_t f(uint64_t a) { return (uint32_t)a; }
};

// ---- warp-wide: shuffles, votes
enum { SH_UP, SH_DOWN, SH_BFLY, SH_IDX };
void ex_shfl(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t *a = src<uint32_t>(c, I.a), *b = src<uint32_t>(c, I.b), *cc = src<uint32_t>(c, I.c);
  uint32_t *d = I.d == NOPC ? nullptr : dst<uint32_t>(c, I.d), t[W], pr = 0;
  memcpy(t, a, sizeof t);
  FOR_LANES(l, m) {
    uint32_t bv = b[l] & 31, cv = cc[l] & 31, seg = cc[l] >> 8 & 31;
    int maxl = (int)((l & seg) | (cv & ~seg)), minl = (int)(l & seg), j = 0;
    bool ok = false;
    switch (I.sub) {
      case SH_UP:
        j = (int)l - (int)bv;
        ok = j >= maxl;
        break;
      case SH_DOWN:
        j = (int)l + (int)bv;
        ok = j <= maxl;
        break;
      case SH_BFLY:
        j = (int)(l ^ bv);
        ok = j <= maxl;
        break;
      default: j = (int)(minl | (bv & ~seg)); ok = j <= maxl;
    }
    if (!ok) j = (int)l;
    if (ok) pr |= 1u << l;
    if (!(m >> j & 1) && c.M->opt.shfl_inactive)
      c.M->find(c, (int)l, "shuffle",
                "reads lane " + std::to_string(j) +
                    ", which does not take part in the shuffle (its value is undefined)",
                "");
    if (d) d[l] = t[j];
  }
  if (I.d2 != NOPC) c.pred[I.d2] = (c.pred[I.d2] & ~m) | (pr & m);
}
void ex_vote(Ctx& c, const Inst& I, uint32_t m) {
  uint32_t p = c.pred[I.a];
  if (I.fl & 1) p = ~p;
  uint32_t k = p & m, r;
  switch (I.sub) {
    case 0: r = k ? FULL : 0; break;                 // any
    case 1: r = k == m ? FULL : 0; break;            // all
    case 2: r = k == m || k == 0 ? FULL : 0; break;  // uni
    default: {
      auto* d = dst<uint32_t>(c, I.d);
      FOR_LANES(l, m) d[l] = k;
      return;
    }
  }
  c.pred[I.d] = (c.pred[I.d] & ~m) | (r & m);
}
void ex_activemask(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<uint32_t>(c, I.d);
  FOR_LANES(l, m) d[l] = c.gmask;
}
void ex_match(Ctx& c, const Inst& I, uint32_t m) {
  auto* d = dst<uint32_t>(c, I.d);
  auto val = [&](uint32_t l) {
    return I.sz == 8 ? src<uint64_t>(c, I.a)[l] : (uint64_t)src<uint32_t>(c, I.a)[l];
  };
  if (I.sub == 0) {
    uint32_t r[W] = {};
    FOR_LANES(l, m) {
      uint32_t q = 0;
      uint64_t x = val(l);
      for (uint32_t j = 0; j < W; j++)
        if ((m >> j & 1) && val(j) == x) q |= 1u << j;
      r[l] = q;
    }
    FOR_LANES(l, m) d[l] = r[l];
    return;
  }
  bool all = true;
  uint64_t x = val((uint32_t)__builtin_ctz(m));
  FOR_LANES(l, m) all &= val(l) == x;
  FOR_LANES(l, m) d[l] = all ? m : 0;
  if (I.d2 != NOPC) c.pred[I.d2] = (c.pred[I.d2] & ~m) | (all ? m : 0);
}
void ex_redux(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* a = src<uint32_t>(c, I.a);
  uint32_t *d = dst<uint32_t>(c, I.d), r = 0;
  bool first = true;
  FOR_LANES(l, m) {
    uint32_t x = a[l];
    if (first) {
      r = x;
      first = false;
      continue;
    }
    switch (I.sub) {
      case 0: r += x; break;
      case 1:
        r = I.ty == T_F32   ? b32(fmin_(f32(r), f32(x)))
            : I.ty == T_S32 ? (uint32_t)std::min((int32_t)r, (int32_t)x)
                            : std::min(r, x);
        break;
      case 2:
        r = I.ty == T_F32   ? b32(fmax_(f32(r), f32(x)))
            : I.ty == T_S32 ? (uint32_t)std::max((int32_t)r, (int32_t)x)
                            : std::max(r, x);
        break;
      case 3: r &= x; break;
      case 4: r |= x; break;
      default: r ^= x;
    }
  }
  FOR_LANES(l, m) d[l] = r;
}
void ex_elect(Ctx& c, const Inst& I, uint32_t m) {
  uint32_t lead = (uint32_t)__builtin_ctz(m);
  if (I.d != NOPC) {
    auto* d = dst<uint32_t>(c, I.d);
    FOR_LANES(l, m) d[l] = lead;
  }
  c.pred[I.d2] = (c.pred[I.d2] & ~m) | (1u << lead);
}
void ex_nop(Ctx&, const Inst&, uint32_t) {}
void ex_syncwarp(Ctx& c, const Inst&, uint32_t) {
  if (!c.w->vc.empty()) c.w->vc[c.w->id]++;
}

template <template <class> class OP>
Fn int1(Ty t) {
  switch (t) {
    case T_B16:
    case T_U16: return X1<uint16_t, uint16_t, OP<uint16_t>>;
    case T_B32:
    case T_U32: return X1<uint32_t, uint32_t, OP<uint32_t>>;
    case T_B64:
    case T_U64: return X1<uint64_t, uint64_t, OP<uint64_t>>;
    default: return nullptr;
  }
}
template <template <class> class OP>
Fn sint1(Ty t) {
  switch (t) {
    case T_S16: return X1<int16_t, int16_t, OP<int16_t>>;
    case T_S32: return X1<int32_t, int32_t, OP<int32_t>>;
    case T_S64: return X1<int64_t, int64_t, OP<int64_t>>;
    default: return nullptr;
  }
}
template <template <class> class OP>
Fn uint2(Ty t) {  // sign does not matter
  switch (t) {
    case T_B16:
    case T_U16:
    case T_S16: return X2<uint16_t, uint16_t, uint16_t, OP<uint16_t>>;
    case T_B32:
    case T_U32:
    case T_S32: return X2<uint32_t, uint32_t, uint32_t, OP<uint32_t>>;
    case T_B64:
    case T_U64:
    case T_S64: return X2<uint64_t, uint64_t, uint64_t, OP<uint64_t>>;
    default: return nullptr;
  }
}
template <template <class> class OP>
Fn int2(Ty t) {
  switch (t) {
    case T_S16: return X2<int16_t, int16_t, int16_t, OP<int16_t>>;
    case T_S32: return X2<int32_t, int32_t, int32_t, OP<int32_t>>;
    case T_S64: return X2<int64_t, int64_t, int64_t, OP<int64_t>>;
    default: return uint2<OP>(t);
  }
}
template <template <class> class OP>
Fn int3(Ty t) {
  switch (t) {
    case T_B16:
    case T_U16: return X3<uint16_t, uint16_t, uint16_t, uint16_t, OP<uint16_t>>;
    case T_S16: return X3<int16_t, int16_t, int16_t, int16_t, OP<int16_t>>;
    case T_B32:
    case T_U32: return X3<uint32_t, uint32_t, uint32_t, uint32_t, OP<uint32_t>>;
    case T_S32: return X3<int32_t, int32_t, int32_t, int32_t, OP<int32_t>>;
    case T_B64:
    case T_U64: return X3<uint64_t, uint64_t, uint64_t, uint64_t, OP<uint64_t>>;
    case T_S64: return X3<int64_t, int64_t, int64_t, int64_t, OP<int64_t>>;
    default: return nullptr;
  }
}
template <template <class> class OP>
Fn sh2(Ty t) {
  switch (t) {
    case T_B16:
    case T_U16: return X2<uint16_t, uint16_t, uint32_t, OP<uint16_t>>;
    case T_S16: return X2<int16_t, int16_t, uint32_t, OP<int16_t>>;
    case T_B32:
    case T_U32: return X2<uint32_t, uint32_t, uint32_t, OP<uint32_t>>;
    case T_S32: return X2<int32_t, int32_t, uint32_t, OP<int32_t>>;
    case T_B64:
    case T_U64: return X2<uint64_t, uint64_t, uint32_t, OP<uint64_t>>;
    case T_S64: return X2<int64_t, int64_t, uint32_t, OP<int64_t>>;
    default: return nullptr;
  }
}
#define ZS(OP, n) \
  (ftzf ? (satf ? n<OP<true, true>> : n<OP<true, false>>) : (satf ? n<OP<false, true>> : n<OP<false, false>>))
template <class F>
void f2(Ctx& c, const Inst& I, uint32_t m) {
  X2<float, float, float, F>(c, I, m);
}
template <class F>
void f3(Ctx& c, const Inst& I, uint32_t m) {
  X3<float, float, float, float, F>(c, I, m);
}
template <class F>
void f1(Ctx& c, const Inst& I, uint32_t m) {
  X1<float, float, F>(c, I, m);
}
template <class F>
void d1(Ctx& c, const Inst& I, uint32_t m) {
  X1<double, double, F>(c, I, m);
}
template <class F>
void d2(Ctx& c, const Inst& I, uint32_t m) {
  X2<double, double, double, F>(c, I, m);
}
template <class F>
void d3(Ctx& c, const Inst& I, uint32_t m) {
  X3<double, double, double, double, F>(c, I, m);
}

}  // namespace

bool decode_alu(Dec& D, const Stmt& s, Inst& I) {
  const std::string& op = s.op[0];
  const bool ftzf = D.has("ftz"), satf = D.has("sat"), NaN = D.has("NaN");
  auto ops = [&](Ty t, int n) {
    I.d = D.out(D.o(0), t);
    I.a = D.in(D.o(1), t);
    if (n > 1) I.b = D.in(D.o(2), t);
    if (n > 2) I.c = D.in(D.o(3), t);
  };
  auto done = [&](Fn f) {
    if (!f) D.bad("no implementation for this type");
    I.fn = f;
    return true;
  };
  const bool half = false;
  (void)half;

  if (op == "mov") {
    Ty t = D.type();
    if (t == T_PRED) {
      I.d = D.pred(D.o(0));
      I.sub = 4;
      if (D.o(1).k == Opnd::IMM)
        I.imm = 4 | (D.o(1).imm ? 8 : 0);
      else {
        I.a = D.pred(D.o(1));
        I.imm = D.o(1).neg ? 1 : 0;
      }
      return done(ex_pred);
    }
    int tb = ty_bytes(t);
    if (D.o(1).k == Opnd::VEC) {  // pack
      I.nv = (uint8_t)D.o(1).v.size();
      I.sz = (uint8_t)(tb / I.nv);
      std::vector<uint32_t> v;
      for (auto& x : D.o(1).v) v.push_back(D.in_bits(x, I.sz <= 4 ? 32 : 64));
      I.vp = (uint32_t)D.P.vpool.size();
      D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
      I.d = D.out(D.o(0), t);
      return done(ex_pack);
    }
    if (D.o(0).k == Opnd::VEC) {  // unpack
      I.nv = (uint8_t)D.o(0).v.size();
      I.sz = (uint8_t)(tb / I.nv);
      std::vector<uint32_t> v;
      for (auto& x : D.o(0).v) v.push_back(x.k == Opnd::SINK ? NOPC : D.out(x, I.sz <= 4 ? T_B32 : T_B64));
      I.vp = (uint32_t)D.P.vpool.size();
      D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
      I.a = D.in(D.o(1), t);
      return done(ex_unpack);
    }
    I.d = D.out(D.o(0), t);
    if (D.o(1).k == Opnd::SREG) {
      const std::string& n = D.o(1).name;
      if (n == "%clock" || n == "%clock64" || n == "%globaltimer" || n == "%globaltimer_lo" ||
          n == "%clock_hi" || n == "%globaltimer_hi") {
        I.sz = (uint8_t)tb;
        return done(ex_clock);
      }
    }
    I.a = D.in(D.o(1), t);
    return done(tb == 16  ? ex_mov128
                : tb == 8 ? X1<uint64_t, uint64_t, IMov<uint64_t>>
                : tb == 2 ? X1<uint16_t, uint16_t, IMov<uint16_t>>
                          : X1<uint32_t, uint32_t, IMov<uint32_t>>);
  }
  if (op == "cvta") {
    Sp sp = D.has("shared") || D.has("shared::cta") ? Sp::Shared
            : D.has("local")                        ? Sp::Local
            : D.has("param")                        ? Sp::Param
                                                    : Sp::Global;
    I.imm = (int64_t)(sp == Sp::Shared  ? SHARED_WIN
                      : sp == Sp::Local ? LOCAL_WIN
                      : sp == Sp::Param ? PARAM_WIN
                                        : 0);
    I.sub = D.has("to") ? 1 : 0;
    I.d = D.out(D.o(0), T_U64);
    if (D.o(1).k == Opnd::SYM) {
      Sp q = Sp::None;
      I.a = D.konst(64, D.symaddr(D.o(1).name, q, D.o(1).imm));
      if (q == Sp::Local && sp == Sp::Param) I.imm = (int64_t)LOCAL_WIN;
    } else
      I.a = D.in(D.o(1), T_U64);
    return done(ex_cvta);
  }
  if (op == "isspacep") {
    I.imm = (int64_t)(D.has("shared") || D.has("shared::cta") || D.has("shared::cluster") ? SHARED_WIN
                      : D.has("local")                                                    ? LOCAL_WIN
                      : D.has("param")                                                    ? PARAM_WIN
                                                                                          : 0);
    I.d = D.pred(D.o(0));
    I.a = D.in(D.o(1), T_U64);
    return done(ex_isspacep);
  }
  if (op == "add" || op == "sub" || op == "mul" || op == "addc" || op == "subc" || op == "div" ||
      op == "rem" || op == "min" || op == "max" || op == "fma" || op == "mad" || op == "madc") {
    Ty t = D.type();
    const bool add = op == "add", sub = op == "sub", mul = op == "mul", div = op == "div",
               fma = op == "fma" || (op == "mad" && !ty_isint(t)), mn = op == "min", mx = op == "max";
    Rnd r = D.rnd();
    if (t == T_F32) {
      if (div) {
        ops(t, 2);
        I.fl = ftzf;
        if (D.has("approx")) return done(ex_approx<A_DIV>);
        if (D.has("full")) return done(ex_approx<A_DIVFULL>);
        if (r == RN) return done(ZS(FDiv, f2));
        I.sub = 4;
        I.sz = r;
        I.c = I.b;
        return done(ex_rnd<float>);
      }
      if (mn || mx) {
        bool three = s.o.size() == 4, xs = D.has("xorsign");
        ops(t, three ? 3 : 2);
        if (xs)
          return done(mn ? (NaN ? f2<XorSign<FMinN<false>>> : f2<XorSign<FMin<false>>>)
                         : (NaN ? f2<XorSign<FMaxN<false>>> : f2<XorSign<FMax<false>>>));
        if (three)
          return done(mn ? (NaN ? f3<Three<FMinN<false>>> : f3<Three<FMin<false>>>)
                         : (NaN ? f3<Three<FMaxN<false>>> : f3<Three<FMax<false>>>));
        if (mn)
          return done(
              NaN ? (ftzf ? f2<FMinN<true>> : f2<FMinN<false>>) : (ftzf ? f2<FMin<true>> : f2<FMin<false>>));
        return done(
            NaN ? (ftzf ? f2<FMaxN<true>> : f2<FMaxN<false>>) : (ftzf ? f2<FMax<true>> : f2<FMax<false>>));
      }
      auto ts = D.types();
      if (ts.size() == 2 && ts[0] == T_F32 && (ts[1] == T_F16 || ts[1] == T_BF16))
        D.bad("mixed-precision add");
      ops(t, fma ? 3 : 2);
      if (r != RN) {
        I.sub = add ? 0 : sub ? 1 : mul ? 2 : 3;
        I.sz = r;
        I.fl = (uint8_t)((ftzf ? 1 : 0) | (satf ? 2 : 0));
        if (!fma) I.c = I.b;
        return done(ex_rnd<float>);
      }
      return done(add ? ZS(FAdd, f2) : sub ? ZS(FSub, f2) : mul ? ZS(FMul, f2) : ZS(FFma, f3));
    }
    if (t == T_F64) {
      if (mn || mx) {
        ops(t, 2);
        return done(mn ? (NaN ? d2<DMinN> : d2<DMin>) : (NaN ? d2<DMaxN> : d2<DMax>));
      }
      ops(t, fma ? 3 : 2);
      if (r != RN) {
        I.sub = add ? 0 : sub ? 1 : mul ? 2 : div ? 4 : 3;
        I.sz = r;
        if (!fma) I.c = I.b;
        return done(ex_rnd<double>);
      }
      return done(add ? d2<DAdd> : sub ? d2<DSub> : mul ? d2<DMul> : div ? d2<DDiv> : d3<DFma>);
    }
    if (t == T_F32X2) {
      ops(t, fma ? 3 : 2);
      return done(add   ? X2<F32X2, F32X2, F32X2, F2Add>
                  : sub ? X2<F32X2, F32X2, F32X2, F2Sub>
                  : mul ? X2<F32X2, F32X2, F32X2, F2Mul>
                        : X3<F32X2, F32X2, F32X2, F32X2, F2Fma>);
    }
    if (ty_isfloat(t)) {
      ops(t, fma ? 3 : 2);
      if (D.has("xorsign") || (satf && !fma)) D.bad("modifier on half types");
      if (fma) return done(D.has("relu") ? half3<DRelu>(t) : satf ? half3<DFmaSat>(t) : half3<DFma>(t));
      return done(add   ? half2<DAdd>(t)
                  : sub ? half2<DSub>(t)
                  : mul ? half2<DMul>(t)
                  : mn  ? (NaN ? half2<DMinN>(t) : half2<DMin>(t))
                  : mx  ? (NaN ? half2<DMaxN>(t) : half2<DMax>(t))
                        : nullptr);
    }
    if (t == T_U16X2 || t == T_S16X2) {
      ops(t, 2);
      using u = uint32_t;
      if (add) return done(X2<u, u, u, Pair16<IAdd<uint16_t>>>);
      if (mn)
        return done(t == T_U16X2 ? X2<u, u, u, Pair16<IMin<uint16_t>>> : X2<u, u, u, PairS16<IMin<int16_t>>>);
      if (mx)
        return done(t == T_U16X2 ? X2<u, u, u, Pair16<IMax<uint16_t>>> : X2<u, u, u, PairS16<IMax<int16_t>>>);
      D.bad("packed 16-bit operation");
    }
    // integers
    const bool cc = D.has("cc"), c3 = op == "addc" || op == "subc" || op == "madc";
    if (cc || c3) {
      bool isub = op == "sub" || op == "subc", ismad = op == "mad" || op == "madc";
      ops(t, ismad ? 3 : 2);
      if (!ismad) I.c = I.b;
      I.sub = ismad ? (D.has("hi") ? 3 : 2) : isub ? 1 : 0;
      I.fl = (uint8_t)((c3 ? 1 : 0) | (cc ? 2 : 0));
      I.sz = ty_signed(t);
      return done(ty_bytes(t) == 8 ? ex_carry<uint64_t> : ex_carry<uint32_t>);
    }
    if (add) {
      ops(t, 2);
      return done(satf ? X2<int32_t, int32_t, int32_t, AddSat> : uint2<IAdd>(t));
    }
    if (sub) {
      ops(t, 2);
      return done(satf ? X2<int32_t, int32_t, int32_t, SubSat> : uint2<ISub>(t));
    }
    if (mul) {
      if (D.has("wide")) {
        I.d = D.out(D.o(0), ty_bytes(t) == 4 ? T_B64 : ty_bytes(t) == 2 ? T_B32 : T_B128);
        I.a = D.in(D.o(1), t);
        I.b = D.in(D.o(2), t);
        switch (t) {
          case T_U16: return done(X2<uint32_t, uint16_t, uint16_t, IWide<uint16_t>>);
          case T_S16: return done(X2<int32_t, int16_t, int16_t, IWide<int16_t>>);
          case T_U32: return done(X2<uint64_t, uint32_t, uint32_t, IWide<uint32_t>>);
          case T_S32: return done(X2<int64_t, int32_t, int32_t, IWide<int32_t>>);
          default: D.bad("mul.wide type");
        }
      }
      ops(t, 2);
      return done(D.has("hi") ? int2<IHi>(t) : uint2<IMul>(t));
    }
    if (op == "mad") {
      if (D.has("wide")) {
        Ty wt = ty_bytes(t) == 4 ? T_B64 : T_B32;
        I.d = D.out(D.o(0), wt);
        I.a = D.in(D.o(1), t);
        I.b = D.in(D.o(2), t);
        I.c = D.in(D.o(3), wt);
        switch (t) {
          case T_U16: return done(X3<uint32_t, uint16_t, uint16_t, uint32_t, IMadWide<uint16_t>>);
          case T_S16: return done(X3<int32_t, int16_t, int16_t, int32_t, IMadWide<int16_t>>);
          case T_U32: return done(X3<uint64_t, uint32_t, uint32_t, uint64_t, IMadWide<uint32_t>>);
          case T_S32: return done(X3<int64_t, int32_t, int32_t, int64_t, IMadWide<int32_t>>);
          default: D.bad("mad.wide type");
        }
      }
      ops(t, 3);
      return done(D.has("hi") ? int3<IMadHi>(t) : int3<IMad>(t));
    }
    ops(t, 2);
    return done(div           ? int2<IDiv>(t)
                : op == "rem" ? int2<IRem>(t)
                : mn          ? int2<IMin>(t)
                : mx          ? int2<IMax>(t)
                              : nullptr);
  }
  if (op == "and" || op == "or" || op == "xor" || op == "not") {
    Ty t = D.type();
    int k = op == "and" ? 0 : op == "or" ? 1 : op == "xor" ? 2 : 3;
    if (t == T_PRED) {
      I.d = D.pred(D.o(0));
      I.sub = (uint8_t)k;
      if (D.o(1).k == Opnd::IMM || (k < 3 && D.o(2).k == Opnd::IMM)) D.bad("predicate immediate");
      I.a = D.pred(D.o(1));
      I.imm = D.o(1).neg ? 1 : 0;
      if (k < 3) {
        I.b = D.pred(D.o(2));
        I.imm |= D.o(2).neg ? 2 : 0;
      }
      return done(ex_pred);
    }
    ops(t, k < 3 ? 2 : 1);
    return done(k == 0 ? uint2<IAnd>(t) : k == 1 ? uint2<IOr>(t) : k == 2 ? uint2<IXor>(t) : int1<INot>(t));
  }
  if (op == "shl" || op == "shr") {
    Ty t = D.type();
    I.d = D.out(D.o(0), t);
    I.a = D.in(D.o(1), t);
    I.b = D.in(D.o(2), T_U32);
    return done(op == "shl" ? sh2<IShl>(t) : sh2<IShr>(t));
  }
  if (op == "shf") {
    ops(T_B32, 3);
    bool L = D.has("l"), w = D.has("wrap");
    using u = uint32_t;
    return done(L ? (w ? X3<u, u, u, u, ShfL> : X3<u, u, u, u, ShfLc>)
                  : (w ? X3<u, u, u, u, ShfR> : X3<u, u, u, u, ShfRc>));
  }
  if (op == "lop3") {
    if (s.o.size() != 5 || D.o(4).k != Opnd::IMM) D.bad("lop3 form");
    ops(T_B32, 3);
    I.imm = D.o(4).imm;
    return done(ex_lop3);
  }
  if (op == "prmt") {
    ops(T_B32, 3);
    static const char* md[] = {"", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
    for (int i = 1; i < 7; i++)
      if (D.has(md[i])) {
        I.sub = (uint8_t)i;
        return done(ex_prmt_mode);
      }
    return done(X3<uint32_t, uint32_t, uint32_t, uint32_t, Prmt>);
  }
  if (op == "neg" || op == "abs") {
    Ty t = D.type();
    bool neg = op == "neg";
    ops(t, 1);
    if (t == T_F32)
      return done(
          neg ? (ftzf ? f1<FNeg<true>> : f1<FNeg<false>>) : (ftzf ? f1<FAbs<true>> : f1<FAbs<false>>));
    if (t == T_F64) return done(neg ? d1<DNeg> : d1<DAbs>);
    if (t == T_F32X2) D.bad("f32x2 neg/abs");
    if (ty_isfloat(t)) return done(neg ? half1<DNeg>(t) : half1<DAbs>(t));
    return done(neg ? sint1<INeg>(t) : sint1<IAbs>(t));
  }
  if (op == "sqrt" || op == "rsqrt" || op == "rcp" || op == "sin" || op == "cos" || op == "lg2" ||
      op == "ex2" || op == "tanh") {
    Ty t = D.type();
    ops(t, 1);
    I.fl = ftzf;
    if (t == T_F64) {
      I.sub = op == "rcp" ? 0 : 1;
      if (D.has("approx")) return done(ex_d_approx);
      if (D.rnd() != RN) {
        I.sub = op == "sqrt" ? 5 : 6;
        I.sz = D.rnd();
        I.b = I.c = I.a;
        I.fl = 0;
        return done(ex_rnd<double>);
      }
      return done(op == "sqrt" ? d1<DSqrt> : op == "rcp" ? d1<DRcp> : nullptr);
    }
    if (t != T_F32) return done(op == "ex2" ? half1<DEx2>(t) : op == "tanh" ? half1<DTanh>(t) : nullptr);
    if (D.has("approx")) {
      if (op == "sqrt") return done(ex_approx<A_SQRT>);
      if (op == "rsqrt") return done(ex_approx<A_RSQRT>);
      if (op == "rcp") return done(ex_approx<A_RCP>);
      if (op == "sin") return done(ex_approx<A_SIN>);
      if (op == "cos") return done(ex_approx<A_COS>);
      if (op == "lg2") return done(ex_approx<A_LG2>);
      if (op == "ex2") return done(ex_approx<A_EX2>);
      return done(ex_approx<A_TANH>);
    }
    if (D.rnd() != RN) {
      I.sub = op == "sqrt" ? 5 : 6;
      I.sz = D.rnd();
      I.b = I.c = I.a;
      return done(ex_rnd<float>);
    }
    if (op == "sqrt") return done(ftzf ? f1<FSqrt<true>> : f1<FSqrt<false>>);
    if (op == "rcp") return done(ftzf ? f1<FRcp<true>> : f1<FRcp<false>>);
    D.bad("needs .approx");
  }
  if (op == "copysign") {
    Ty t = D.type();
    ops(t, 2);
    return done(t == T_F32 ? X2<uint32_t, uint32_t, uint32_t, Copysign>
                           : X2<uint64_t, uint64_t, uint64_t, Copysign64>);
  }
  if (op == "testp") {
    static const char* k[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
    for (int i = 0; i < 6; i++)
      if (D.has(k[i])) I.sub = (uint8_t)i;
    I.ty = D.type();
    I.d = D.pred(D.o(0));
    I.a = D.in(D.o(1), (Ty)I.ty);
    return done(ex_testp);
  }
  if (op == "popc" || op == "clz" || op == "bfind") {
    Ty t = D.type();
    I.d = D.out(D.o(0), T_U32);
    I.a = D.in(D.o(1), t);
    bool q = ty_bytes(t) == 8;
    if (op == "popc")
      return done(q ? X1<uint32_t, uint64_t, IPopc<uint64_t>> : X1<uint32_t, uint32_t, IPopc<uint32_t>>);
    if (op == "clz")
      return done(q ? X1<uint32_t, uint64_t, IClz<uint64_t>> : X1<uint32_t, uint32_t, IClz<uint32_t>>);
    bool sh = D.has("shiftamt");
    switch (t) {
      case T_U32:
        return done(sh ? X1<uint32_t, uint32_t, IBfind<uint32_t, true>>
                       : X1<uint32_t, uint32_t, IBfind<uint32_t, false>>);
      case T_S32:
        return done(sh ? X1<uint32_t, int32_t, IBfind<int32_t, true>>
                       : X1<uint32_t, int32_t, IBfind<int32_t, false>>);
      case T_U64:
        return done(sh ? X1<uint32_t, uint64_t, IBfind<uint64_t, true>>
                       : X1<uint32_t, uint64_t, IBfind<uint64_t, false>>);
      default:
        return done(sh ? X1<uint32_t, int64_t, IBfind<int64_t, true>>
                       : X1<uint32_t, int64_t, IBfind<int64_t, false>>);
    }
  }
  if (op == "brev") {
    Ty t = D.type();
    ops(t, 1);
    return done(ty_bytes(t) == 8 ? X1<uint64_t, uint64_t, IBrev<uint64_t>>
                                 : X1<uint32_t, uint32_t, IBrev<uint32_t>>);
  }
  if (op == "cnot") {
    Ty t = D.type();
    ops(t, 1);
    return done(int1<ICnot>(t));
  }
  if (op == "bfe") {
    Ty t = D.type();
    I.d = D.out(D.o(0), t);
    I.a = D.in(D.o(1), t);
    I.b = D.in(D.o(2), T_U32);
    I.c = D.in(D.o(3), T_U32);
    switch (t) {
      case T_U32: return done(X3<uint32_t, uint32_t, uint32_t, uint32_t, IBfe<uint32_t>>);
      case T_S32: return done(X3<int32_t, int32_t, uint32_t, uint32_t, IBfe<int32_t>>);
      case T_U64: return done(X3<uint64_t, uint64_t, uint32_t, uint32_t, IBfe<uint64_t>>);
      default: return done(X3<int64_t, int64_t, uint32_t, uint32_t, IBfe<int64_t>>);
    }
  }
  if (op == "bfi") {
    Ty t = D.type();
    I.d = D.out(D.o(0), t);
    I.a = D.in(D.o(1), t);
    I.b = D.in(D.o(2), t);
    I.c = D.in(D.o(3), T_U32);
    I.e = D.in(D.o(4), T_U32);
    return done(ty_bytes(t) == 8 ? X4<uint64_t, uint64_t, uint64_t, uint32_t, uint32_t, IBfi<uint64_t>>
                                 : X4<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, IBfi<uint32_t>>);
  }
  if (op == "fns") {
    ops(T_B32, 3);
    return done(X3<uint32_t, uint32_t, uint32_t, uint32_t, Fns>);
  }
  if (op == "bmsk") {
    ops(T_B32, 2);
    return done(D.has("wrap") ? X2<uint32_t, uint32_t, uint32_t, BmskW>
                              : X2<uint32_t, uint32_t, uint32_t, Bmsk>);
  }
  if (op == "szext") {
    Ty t = D.type();
    ops(t, 2);
    using u = uint32_t;
    return done(t == T_S32
                    ? (D.has("wrap") ? X2<u, u, u, Szext<true, true>> : X2<u, u, u, Szext<true, false>>)
                    : (D.has("wrap") ? X2<u, u, u, Szext<false, true>> : X2<u, u, u, Szext<false, false>>));
  }
  if (op == "sad") {
    Ty t = D.type();
    ops(t, 3);
    return done(int3<ISad>(t));
  }
  if (op == "mul24") {
    Ty t = D.type();
    ops(t, 2);
    if (D.has("hi")) D.bad("mul24.hi");
    return done(t == T_S32 ? X2<uint32_t, uint32_t, uint32_t, Mul24<true>>
                           : X2<uint32_t, uint32_t, uint32_t, Mul24<false>>);
  }
  if (op == "dp4a" || op == "dp2a") {
    auto t = D.types();
    I.ty = ty_signed(t[0]);
    I.ty2 = ty_signed(t[1]);
    I.sub = op == "dp4a" ? 0 : D.has("hi") ? 2 : 1;
    ops(T_B32, 3);
    return done(ex_dp);
  }
  if (op == "setp" || op == "set") {
    Ty t = D.type();
    bool uns = false;
    int C = cmp_code(s.op[1], uns);
    if (C < 0) D.bad("comparison ." + s.op[1]);
    bool comb = D.has("and") || D.has("or") || D.has("xor");
    I.sub = D.has("and") ? 1 : D.has("or") ? 2 : D.has("xor") ? 3 : 0;
    I.sz = (uint8_t)C;
    I.a = D.in(D.o(1), t);
    I.b = D.in(D.o(2), t);
    if (comb) {
      I.c = D.pred(D.o(3));
      I.fl |= D.o(3).neg ? 1 : 0;
    }
    if (ftzf) I.fl |= 2;
    I.d2 = NOPC;
    Fn f = nullptr;
    switch (t) {
      case T_B16:
      case T_U16: f = setp_int<uint16_t>(C); break;
      case T_S16: f = uns ? setp_int<uint16_t>(C) : setp_int<int16_t>(C); break;
      case T_B32:
      case T_U32: f = setp_int<uint32_t>(C); break;
      case T_S32: f = uns ? setp_int<uint32_t>(C) : setp_int<int32_t>(C); break;
      case T_B64:
      case T_U64: f = setp_int<uint64_t>(C); break;
      case T_S64: f = uns ? setp_int<uint64_t>(C) : setp_int<int64_t>(C); break;
      case T_F32: f = setp_flt<float>(C); break;
      case T_F64: f = setp_flt<double>(C); break;
      case T_F16: f = setp_flt<F16>(C); break;
      case T_BF16: f = setp_flt<BF16>(C); break;
      case T_F16X2:
      case T_BF16X2:
        I.ty = t;
        f = ex_setp2;
        break;
      default: D.bad("comparison type");
    }
    if (op == "setp") {
      const Opnd& q = D.o(0);
      I.d = q.k == Opnd::SINK || q.reg == -2 ? NOPC : (uint32_t)D.pred(q);
      if (q.reg2 >= 0) {
        Opnd y = q;
        y.reg = q.reg2;
        I.d2 = (uint32_t)D.pred(y);
      }
      return done(f);
    }
    auto ts = D.types();
    I.ty = ts[0];
    I.ty2 = t;
    if (t == T_F16X2 || t == T_BF16X2) {
      if (comb) D.bad("set with a boolean operand");
      I.d = D.out(D.o(0), (Ty)I.ty);
      return done(ex_set2);
    }
    I.d = D.out(D.o(0), (Ty)I.ty);
    I.f1 = (void*)f;
    I.imm = D.P.npred++;
    return done(ex_set);
  }
  if (op == "selp") {
    Ty t = D.type();
    ops(t, 2);
    I.c = D.pred(D.o(3));
    I.fl = D.o(3).neg;
    return done(ty_bytes(t) == 8 ? ex_selp<uint64_t> : ex_selp<uint32_t>);
  }
  if (op == "slct") {
    auto ts = D.types();
    ops(ts[0], 2);
    I.c = D.in(D.o(3), T_B32);
    I.fl = ts[1] == T_F32;
    return done(ty_bytes(ts[0]) == 8 ? ex_slct<uint64_t> : ex_slct<uint32_t>);
  }
  if (op == "cvt") {
    auto ts = D.types();
    if (D.has("pack")) D.bad("cvt.pack");
    if (ts.size() < 2) D.bad("cvt types");
    Ty dt = ts[0], st = ts[1];
    Rnd r = D.rnd();
    const bool ir = D.has("rni") || D.has("rzi") || D.has("rmi") || D.has("rpi");
    I.ty = dt;
    I.ty2 = st;
    I.sub = r;
    I.fl = (uint8_t)((ftzf ? CF_FTZ : 0) | (satf ? CF_SAT : 0) | (D.has("relu") ? CF_RELU : 0) |
                     (D.has("satfinite") ? CF_SATF : 0) | (ir ? CF_INT : 0));
    if (D.has("rs") || D.has("scaled")) D.bad("stochastic or scaled cvt");
    if (dt == T_F16X2 || dt == T_BF16X2 || dt == T_E4M3X2 || dt == T_E5M2X2) {
      I.d = D.out(D.o(0), dt);
      I.a = D.in(D.o(1), st);
      if (st == T_F32) I.b = D.in(D.o(2), st);
      if (dt == T_BF16X2 && st == T_F32 && r == RN && !I.fl) return done(ex_cvt_bf2);
      return done(ex_cvt2);
    }
    int db = 0;
    I.d = D.out_any(D.o(0), db);
    int sb = D.bits_of(D.o(1));
    if (!sb) sb = Dec::regbits(st);
    I.a = D.in_bits(D.o(1), sb, st);
    I.nv = db == 64 ? 2 : 1;
    I.nv2 = sb == 64 ? 2 : 1;
    if (I.fl == 0) {
      if (st == T_S32 && dt == T_S64 && db == 64 && sb == 32) return done(X1<int64_t, int32_t, CvS64>);
      if (st == T_U32 && (dt == T_U64 || dt == T_S64) && db == 64 && sb == 32)
        return done(X1<uint64_t, uint32_t, CvU64>);
      if ((st == T_U64 || st == T_S64) && (dt == T_U32 || dt == T_S32) && db == 32)
        return done(X1<uint32_t, uint64_t, CvU32>);
      if (r == RN && dt == T_F32 && sb == 32 && st == T_S32) return done(X1<float, int32_t, CvIF>);
      if (r == RN && dt == T_F32 && sb == 32 && st == T_U32) return done(X1<float, uint32_t, CvUF>);
      if (dt == T_F64 && st == T_F32) return done(X1<double, float, CvFD>);
      if (r == RN && dt == T_F32 && st == T_F64) return done(X1<float, double, CvDF>);
      if (r == RN && dt == T_BF16 && st == T_F32) return done(X1<uint32_t, float, CvFB>);
      if (dt == T_F32 && st == T_BF16) return done(X1<float, uint32_t, CvBF>);
      if (r == RN && dt == T_F16 && st == T_F32) return done(X1<uint32_t, float, CvFH>);
      if (dt == T_F32 && st == T_F16) return done(X1<float, uint32_t, CvHF>);
    }
    if ((I.fl & ~CF_INT) == 0 && r == RZ && dt == T_S32 && st == T_F32 && db == 32)
      return done(X1<int32_t, float, CvFI>);
    return done(ex_cvt);
  }
  // ---- warp
  auto wsync = [&](size_t k) {
    I.ctl = C_WSYNC;
    I.e = D.in(D.o(k), T_B32);
  };
  if (op == "shfl") {
    if (!D.has("sync")) D.bad("shfl without .sync");
    I.sub = D.has("up") ? SH_UP : D.has("down") ? SH_DOWN : D.has("bfly") ? SH_BFLY : SH_IDX;
    const Opnd& q = D.o(0);
    I.d2 = NOPC;
    if (q.k == Opnd::SINK || q.reg == -2)
      I.d = NOPC;
    else {
      Opnd y = q;
      y.reg2 = -1;
      I.d = D.out(y, T_B32);
    }
    if (q.reg2 >= 0) {
      Opnd y = q;
      y.reg = q.reg2;
      I.d2 = (uint32_t)D.pred(y);
    }
    I.a = D.in(D.o(1), T_B32);
    I.b = D.in(D.o(2), T_B32);
    I.c = D.in(D.o(3), T_B32);
    wsync(4);
    return done(ex_shfl);
  }
  if (op == "vote") {
    if (!D.has("sync")) D.bad("vote without .sync");
    I.sub = D.has("any") ? 0 : D.has("all") ? 1 : D.has("uni") ? 2 : 3;
    I.d = I.sub == 3 ? D.out(D.o(0), T_B32) : (uint32_t)D.pred(D.o(0));
    I.a = (uint32_t)D.pred(D.o(1));
    I.fl = D.o(1).neg;
    wsync(2);
    return done(ex_vote);
  }
  if (op == "activemask") {
    I.d = D.out(D.o(0), T_B32);
    return done(ex_activemask);
  }
  if (op == "match") {
    Ty t = D.type();
    I.sub = D.has("any") ? 0 : 1;
    I.sz = (uint8_t)ty_bytes(t);
    const Opnd& q = D.o(0);
    I.d2 = NOPC;
    Opnd y = q;
    y.reg2 = -1;
    I.d = D.out(y, T_B32);
    if (q.reg2 >= 0) {
      y.reg = q.reg2;
      I.d2 = (uint32_t)D.pred(y);
    }
    I.a = D.in(D.o(1), t);
    wsync(2);
    return done(ex_match);
  }
  if (op == "redux") {
    I.sub = D.has("add") ? 0 : D.has("min") ? 1 : D.has("max") ? 2 : D.has("and") ? 3 : D.has("or") ? 4 : 5;
    I.ty = D.type();
    I.d = D.out(D.o(0), T_B32);
    I.a = D.in(D.o(1), T_B32);
    wsync(2);
    return done(ex_redux);
  }
  if (op == "elect") {
    const Opnd& q = D.o(0);
    if (q.reg2 < 0) D.bad("elect needs d|p");
    Opnd y = q;
    y.reg2 = -1;
    I.d = q.reg == -2 ? NOPC : D.out(y, T_B32);
    y.reg = q.reg2;
    I.d2 = (uint32_t)D.pred(y);
    wsync(1);
    return done(ex_elect);
  }
  if (op == "bar" && D.has("warp")) {
    wsync(0);
    return done(ex_syncwarp);
  }
  if (op == "setmaxnreg" || op == "griddepcontrol" || op == "applypriority" || op == "discard" ||
      op == "prefetch" || op == "prefetchu" || op == "tensormap" || op == "pmevent")
    return done(ex_nop);
  if (op == "mapa" || op == "getctarank") {  // clusters of one block
    int b;
    I.d = D.out_any(D.o(0), b);
    if (op == "getctarank") {
      I.a = D.konst(b, 0);
      return done(X1<uint32_t, uint32_t, IMov<uint32_t>>);
    }
    I.a = D.in_bits(D.o(1), b, b == 64 ? T_U64 : T_U32);
    return done(b == 64 ? X1<uint64_t, uint64_t, IMov<uint64_t>> : X1<uint32_t, uint32_t, IMov<uint32_t>>);
  }
  if (op == "createpolicy") {
    int b;
    I.d = D.out_any(D.o(0), b);
    (void)b;
    return done(ex_nop);
  }
  return false;
}

}  // namespace ptxrun
