// Directed rounding through the C floating-point environment.  Built with -frounding-math.
#include <cfenv>

#include "num.h"

namespace ptxrun {
namespace {
struct Mode {
  int old;
  explicit Mode(Rnd r) : old(fegetround()) {
    fesetround(r == RZ ? FE_TOWARDZERO : r == RM ? FE_DOWNWARD : r == RP ? FE_UPWARD : FE_TONEAREST);
  }
  ~Mode() { fesetround(old); }
};
}  // namespace
#define V(T, n) volatile T v##n = n
#define OPS(T)                                    \
  T radd(T a, T b, Rnd r) {                       \
    Mode m(r);                                    \
    V(T, a);                                      \
    V(T, b);                                      \
    volatile T x = va + vb;                       \
    return x;                                     \
  }                                               \
  T rmul(T a, T b, Rnd r) {                       \
    Mode m(r);                                    \
    V(T, a);                                      \
    V(T, b);                                      \
    volatile T x = va * vb;                       \
    return x;                                     \
  }                                               \
  T rdiv(T a, T b, Rnd r) {                       \
    Mode m(r);                                    \
    V(T, a);                                      \
    V(T, b);                                      \
    volatile T x = va / vb;                       \
    return x;                                     \
  }                                               \
  T rsqrt_(T a, Rnd r) {                          \
    Mode m(r);                                    \
    V(T, a);                                      \
    volatile T x = std::sqrt((T)va);              \
    return x;                                     \
  }                                               \
  T rfma(T a, T b, T c, Rnd r) {                  \
    Mode m(r);                                    \
    V(T, a);                                      \
    V(T, b);                                      \
    V(T, c);                                      \
    volatile T x = std::fma((T)va, (T)vb, (T)vc); \
    return x;                                     \
  }
OPS(float)
OPS(double)
float rcvt_f(double a, Rnd r) {
  Mode m(r);
  V(double, a);
  volatile float x = (float)va;
  return x;
}
float rcvt_f(int64_t a, Rnd r) {
  Mode m(r);
  V(int64_t, a);
  volatile float x = (float)va;
  return x;
}
float rcvt_f(uint64_t a, Rnd r) {
  Mode m(r);
  V(uint64_t, a);
  volatile float x = (float)va;
  return x;
}
double rcvt_d(int64_t a, Rnd r) {
  Mode m(r);
  V(int64_t, a);
  volatile double x = (double)va;
  return x;
}
double rcvt_d(uint64_t a, Rnd r) {
  Mode m(r);
  V(uint64_t, a);
  volatile double x = (double)va;
  return x;
}
}  // namespace ptxrun
