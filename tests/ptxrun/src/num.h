// Number formats and rounding. Internal to ptxrun.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ptxrun {

template <class D, class S>
inline D bitc(S s) {
  static_assert(sizeof(D) == sizeof(S), "size");
  D d;
  memcpy(&d, &s, sizeof d);
  return d;
}
inline float f32(uint32_t b) { return bitc<float>(b); }
inline uint32_t b32(float f) { return bitc<uint32_t>(f); }
inline double f64(uint64_t b) { return bitc<double>(b); }
inline uint64_t b64(double f) { return bitc<uint64_t>(f); }

enum Rnd : uint8_t { RN, RZ, RM, RP, RNA };

inline float ftz(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }

// bf16 / f16 to float: exact
inline float bf2f(uint32_t h) { return f32((h & 0xffffu) << 16); }
inline float h2f(uint32_t h) {
  uint32_t s = (h & 0x8000u) << 16, e = (h >> 10) & 31, m = h & 1023;
  if (e == 31) return f32(s | 0x7f800000u | (m << 13));
  if (e) return f32(s | ((e + 112) << 23) | (m << 13));
  float r = (float)m * 5.9604644775390625e-8f;  // 2^-24
  return f32(s | b32(r));
}
inline uint32_t f2bf(float x) {  // round to nearest even
  uint32_t u = b32(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
}

// Any binary format with eb exponent bits and mb mantissa bits (IEEE style: all-ones exponent is inf/nan).
// satf: overflow gives the largest finite value.
inline uint32_t d2small(double x, int eb, int mb, Rnd r, bool satf) {
  const int bias = (1 << (eb - 1)) - 1;
  const uint32_t sign = std::signbit(x) ? 1u << (eb + mb) : 0;
  const uint32_t inf = ((1u << eb) - 1) << mb, maxf = inf - 1;
  if (std::isnan(x)) return (1u << (eb + mb)) - 1;  // canonical NaN
  double a = std::fabs(x);
  if (std::isinf(a)) return sign | (satf ? maxf : inf);
  if (a == 0) return sign;
  int e;
  std::frexp(a, &e);
  e -= 1;
  if (e < 1 - bias) e = 1 - bias;
  double q = std::ldexp(a, mb - e), f = std::floor(q), rest = q - f;
  bool up;
  switch (r) {
    case RN: up = rest > 0.5 || (rest == 0.5 && std::fmod(f, 2.0) == 1.0); break;
    case RNA: up = rest >= 0.5; break;
    case RM: up = sign && rest > 0; break;
    case RP: up = !sign && rest > 0; break;
    default: up = false;
  }
  if (up) f += 1;
  uint64_t m = (uint64_t)f;  // with the hidden bit
  uint64_t enc;
  if (m < (1ull << mb))
    enc = m;  // subnormal
  else {
    if (m == (2ull << mb)) {
      m >>= 1;
      e++;
    }
    if (e > bias) {
      bool toinf = r == RN || r == RNA || (r == RP && !sign) || (r == RM && sign);
      return sign | (satf || !toinf ? maxf : inf);
    }
    enc = ((uint64_t)(e + bias) << mb) | (m & ((1ull << mb) - 1));
  }
  return sign | (uint32_t)enc;
}
inline uint32_t f2h(double x) { return d2small(x, 5, 10, RN, false); }
#if defined(__F16C__)
}  // namespace ptxrun
#include <immintrin.h>
namespace ptxrun {
inline uint32_t f2h_f(float x) { return std::isnan(x) ? 0x7fffu : (uint32_t)_cvtss_sh(x, 0) & 0xffffu; }
#else
inline uint32_t f2h_f(float x) { return f2h(x); }
#endif
inline float tf2f(uint32_t b) { return f32(b & 0xffffe000u); }

// fp8: e5m2 is IEEE-like; e4m3 has no inf, NaN = 0x7f, max = 448.
inline float e5m2_f(uint32_t b) { return h2f((b & 0xff) << 8); }
inline float e4m3_f(uint32_t b) {
  uint32_t s = b & 0x80, e = (b >> 3) & 15, m = b & 7;
  float r;
  if (e == 15 && m == 7)
    r = NAN;
  else if (e == 0)
    r = std::ldexp((float)m, -9);
  else
    r = std::ldexp((float)(8 + m), (int)e - 10);
  return s ? -r : r;
}
inline uint32_t f_e5m2(double x) { return d2small(x, 5, 2, RN, true); }
inline uint32_t f_e4m3(double x) {
  if (std::isnan(x)) return 0x7f;
  uint32_t s = std::signbit(x) ? 0x80 : 0;
  double a = std::fabs(x);
  if (a >= 464) return s | 0x7e;  // satfinite (464 = midpoint to the next step)
  if (a == 0) return s;
  int e;
  std::frexp(a, &e);
  e -= 1;
  if (e < -6) e = -6;
  double q = std::ldexp(a, 3 - e), f = std::floor(q), rest = q - f;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(f, 2.0) == 1.0)) f += 1;
  uint32_t m = (uint32_t)f;
  if (m < 8) return s | m;
  if (m == 16) {
    m = 8;
    e++;
  }
  uint32_t enc = ((uint32_t)(e + 7) << 3) | (m & 7);
  return s | (enc > 0x7e ? 0x7e : enc);
}

// Directed rounding (slow path, round.cpp).
float radd(float a, float b, Rnd r);
float rmul(float a, float b, Rnd r);
float rfma(float a, float b, float c, Rnd r);
float rdiv(float a, float b, Rnd r);
float rsqrt_(float a, Rnd r);
double radd(double a, double b, Rnd r);
double rmul(double a, double b, Rnd r);
double rfma(double a, double b, double c, Rnd r);
double rdiv(double a, double b, Rnd r);
double rsqrt_(double a, Rnd r);
float rcvt_f(double a, Rnd r);
float rcvt_f(int64_t a, Rnd r);
float rcvt_f(uint64_t a, Rnd r);
double rcvt_d(int64_t a, Rnd r);
double rcvt_d(uint64_t a, Rnd r);

}  // namespace ptxrun
