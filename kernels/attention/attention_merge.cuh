/// How one more partial result joins the state (o, lse) of a row. The order of operations is that of
/// merge_partials (partials.cc).
#pragma once

#include <cmath>

namespace tessera::kernels::cuda {

struct LseMerge {
  float lse;
  float first;   // what the first side's o is multiplied by
  float second;  // and the second's

  /// A side with lse = -inf counts nothing, the other one is taken unchanged.
  __device__ LseMerge(float lse1, float lse2) : lse(lse1), first(1), second(0) {
    if (lse2 == -INFINITY) return;
    if (lse1 == -INFINITY) {
      lse = lse2;
      first = 0;
      second = 1;
      return;
    }
    const float top = fmaxf(lse1, lse2);
    lse = top + log1pf(expf(fminf(lse1, lse2) - top));
    first = expf(lse1 - lse);
    second = expf(lse2 - lse);
  }
};

}  // namespace tessera::kernels::cuda
