/// What this machine can do, measured in the run that reports a share of it.
#pragma once

#include <string_view>

namespace tessera::bench {

/// Independent multiply-adds in registers with the widest vectors our kernels use, on `threads` threads at
/// once; a multiply-add counts 2. The best of several short runs.
[[nodiscard]] double peak_flops_per_s(int threads);

/// a[i] = b[i] + s c[i] over arrays far beyond the caches, 12 bytes an element, as McCalpin's STREAM counts.
[[nodiscard]] double triad_bytes_per_s(int threads);

/// The instruction set our kernels dispatch to here.
[[nodiscard]] std::string_view simd_target();

/// Seconds since construction: of this thread's CPU time if it works alone, else by the clock.
class Stopwatch {
 public:
  explicit Stopwatch(int threads);
  [[nodiscard]] double seconds() const;

 private:
  int threads_;
  double start_;
};

}  // namespace tessera::bench
