/// The vector instruction sets our kernels are compiled for; included before any Highway header.
///
/// SSE4, AVX2 and AVX-512 on x86, NEON on Arm, and on both what the compiler may always emit, which with g++
/// before 12.3 is scalar code (Highway distrusts its vectors there). The sets between bring little here and
/// each costs the compile time of every kernel once more. The bits are Highway's, which it keeps stable;
/// named by number because older versions lack some of the names.
#pragma once

#ifdef HIGHWAY_HWY_DETECT_TARGETS_H_
#error "include kernels/device/simd_targets.h before any Highway header"
#endif

// 0-7: refinements of AVX-512; 12: SSSE3; 18-27: SVE and its kin.
#define HWY_DISABLED_TARGETS (0xffLL | (1LL << 12) | (0x3ffLL << 18))
