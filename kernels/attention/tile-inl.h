/// The vector code both passes share: register kernel, re-layout of operands, exp2, masks, dropout draws.
/// Included once per instruction set, between foreach_target.h and HWY_BEFORE_NAMESPACE of the user.
///
/// Every product has the form C[rows x columns] (+)= A[rows x depth] B[depth x columns]: elements of A are
/// broadcast, rows of B are vectors. B is re-laid-out as *panels* of kPanelVectors vectors, each panel
/// contiguous [depth][width], so that the kernel streams it; A has any row and depth stride, so P and P^T
/// are the same memory.
#if defined(TESSERA_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_ATTENTION_TILE_INL_H_
#undef TESSERA_KERNELS_ATTENTION_TILE_INL_H_
#else
#define TESSERA_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include <hwy/highway.h>

#include "kernels/attention/attention.h"
#include "kernels/attention/tile_mask.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a chunk of keys is a whole number of vectors.
using Floats = hn::CappedTag<float, kChunk>;
using Ints = hn::RebindToSigned<Floats>;
using UInts = hn::RebindToUnsigned<Floats>;
using Vec = hn::Vec<Floats>;
using VecMask = hn::Mask<Floats>;

inline constexpr Floats kF{};
inline constexpr Ints kI{};
inline constexpr UInts kU{};
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));

/// Rows and vectors of the register block: 6 x 4 accumulators of 32 registers, 6 x 2 of 16.
inline constexpr int kRows = 6;
inline constexpr int kPanelVectors = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4 ? 2 : 4;
inline constexpr int kPanel = kPanelVectors * kLanes;

inline constexpr float kNone = -std::numeric_limits<float>::infinity();

HWY_INLINE int round_up(int value, int step) { return (value + step - 1) / step * step; }

/// What C holds before the products are added.
enum class Start { kZero, kKeep, kScaled };

/// C[r][0..kVectors) over `depth` steps. kScaled multiplies row r of C by row_scale[r] first.
template <int kVectors, Start kStart>
HWY_INLINE void register_block(const float* HWY_RESTRICT a, std::int64_t a_row, std::int64_t a_depth,
                               const float* HWY_RESTRICT b, std::int64_t b_depth, int depth,
                               float* HWY_RESTRICT c, std::int64_t c_row,
                               const float* HWY_RESTRICT row_scale) {
  Vec sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kStart == Start::kZero) {
        sum[r][v] = hn::Zero(kF);
      } else if constexpr (kStart == Start::kKeep) {
        sum[r][v] = hn::Load(kF, c + r * c_row + v * kLanes);
      } else {
        sum[r][v] = hn::Mul(hn::Load(kF, c + r * c_row + v * kLanes), hn::Set(kF, row_scale[r]));
      }
    }
  }
  for (int k = 0; k < depth; ++k) {
    Vec row[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) row[v] = hn::Load(kF, b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec broadcast = hn::Set(kF, a[r * a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(broadcast, row[v], sum[r][v]);
    }
    a += a_depth;
    b += b_depth;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[r][v], kF, c + r * c_row + v * kLanes);
  }
}

/// register_block for a number of vectors known at run time, 1..kPanelVectors.
template <Start kStart>
HWY_INLINE void multiply_rows(int vectors, const float* HWY_RESTRICT a, std::int64_t a_row,
                              std::int64_t a_depth, const float* HWY_RESTRICT b, std::int64_t b_depth,
                              int depth, float* HWY_RESTRICT c, std::int64_t c_row,
                              const float* HWY_RESTRICT row_scale = nullptr) {
  if constexpr (kPanelVectors == 4) {
    if (vectors == 4) {
      return register_block<4, kStart>(a, a_row, a_depth, b, b_depth, depth, c, c_row, row_scale);
    }
    if (vectors == 3) {
      return register_block<3, kStart>(a, a_row, a_depth, b, b_depth, depth, c, c_row, row_scale);
    }
  }
  if (vectors == 2) {
    return register_block<2, kStart>(a, a_row, a_depth, b, b_depth, depth, c, c_row, row_scale);
  }
  register_block<1, kStart>(a, a_row, a_depth, b, b_depth, depth, c, c_row, row_scale);
}

/// Width of the panel that starts at column `begin`, of `columns` (a multiple of kLanes) in all.
HWY_INLINE int panel_width(int columns, int begin) { return std::min(kPanel, columns - begin); }

/// Copies [rows][D] with token stride into panels over d of the given depth >= rows; columns from D to
/// the padded width are zero.
HWY_INLINE void pack_panels(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride,
                            int rows, int D, float factor, int depth) {
  const int padded = round_up(D, kLanes);
  const Vec scale = hn::Set(kF, factor);
  for (int begin = 0; begin < padded; begin += kPanel) {
    const int width = panel_width(padded, begin);
    for (int t = 0; t < rows; ++t) {
      const float* row = from + t * stride + begin;
      int d = 0;
      for (; begin + d + kLanes <= D && d < width; d += kLanes) {
        hn::Store(hn::Mul(scale, hn::LoadU(kF, row + d)), kF, to + d);
      }
      for (; d < width; ++d) to[d] = begin + d < D ? factor * row[d] : 0.0F;
      to += width;
    }
    to += static_cast<std::int64_t>(depth - rows) * width;
  }
}

/// Copies [rows][D] with token stride to contiguous [padded_rows][D], times factor; further rows are zero.
HWY_INLINE void pack_rows(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride,
                          int rows, int padded_rows, int D, float factor) {
  const Vec scale = hn::Set(kF, factor);
  for (int t = 0; t < rows; ++t) {
    const float* row = from + t * stride;
    int d = 0;
    for (; d + kLanes <= D; d += kLanes) {
      hn::StoreU(hn::Mul(scale, hn::LoadU(kF, row + d)), kF, to + d);
    }
    for (; d < D; ++d) to[d] = factor * row[d];
    to += D;
  }
  std::fill(to, to + static_cast<std::int64_t>(padded_rows - rows) * D, 0.0F);
}

/// Transposes 4 keys x 4 dims: from[key * stride + d] to to[d * width + key].
HWY_INLINE void transpose_4x4(float* HWY_RESTRICT to, std::int64_t width, const float* HWY_RESTRICT from,
                              std::int64_t stride) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  for (int d = 0; d < 4; ++d) {
    for (int key = 0; key < 4; ++key) to[d * width + key] = from[key * stride + d];
  }
#else
  const hn::Full128<float> f;
  const hn::Full128<double> pair;
  const auto r0 = hn::LoadU(f, from);
  const auto r1 = hn::LoadU(f, from + stride);
  const auto r2 = hn::LoadU(f, from + 2 * stride);
  const auto r3 = hn::LoadU(f, from + 3 * stride);
  const auto low01 = hn::BitCast(pair, hn::InterleaveLower(f, r0, r1));   // 00 10 01 11
  const auto low23 = hn::BitCast(pair, hn::InterleaveLower(f, r2, r3));   // 20 30 21 31
  const auto high01 = hn::BitCast(pair, hn::InterleaveUpper(f, r0, r1));  // 02 12 03 13
  const auto high23 = hn::BitCast(pair, hn::InterleaveUpper(f, r2, r3));
  hn::StoreU(hn::BitCast(f, hn::InterleaveLower(pair, low01, low23)), f, to);
  hn::StoreU(hn::BitCast(f, hn::InterleaveUpper(pair, low01, low23)), f, to + width);
  hn::StoreU(hn::BitCast(f, hn::InterleaveLower(pair, high01, high23)), f, to + 2 * width);
  hn::StoreU(hn::BitCast(f, hn::InterleaveUpper(pair, high01, high23)), f, to + 3 * width);
#endif
}

/// Copies [keys][D] with token stride, transposed, into panels over keys of depth D; keys past the last
/// are zero up to the padded width.
HWY_INLINE void pack_transposed(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride,
                                int keys, int D) {
  const int padded = round_up(keys, kLanes);
  for (int begin = 0; begin < padded; begin += kPanel) {
    const int width = panel_width(padded, begin);
    for (int j = 0; j < width; j += 4) {
      const float* row = from + (begin + j) * stride;
      const int valid = std::min(4, keys - begin - j);
      int d = 0;
      if (valid == 4) {
        for (; d + 4 <= D; d += 4) transpose_4x4(to + d * width + j, width, row + d, stride);
      }
      for (; d < D; ++d) {
        for (int key = 0; key < 4 && j + key < width; ++key) {
          to[d * width + j + key] = key < valid ? row[key * stride + d] : 0.0F;
        }
      }
    }
    to += static_cast<std::int64_t>(width) * D;
  }
}

/// 2^x to within 2 units in the last place for x in (-126.5, 127); 0 below, so 2^-inf is 0. NaN stays NaN.
///
/// Adding 1.5 * 2^23 + 127 rounds x to an integer n and leaves n + 127 in the low bits, which shifted by 23
/// are the float 2^n (0 for n = -127). The polynomial is the least-maximum fit of 2^r on [-1/2, 1/2],
/// degree 6, relative error 1.6e-8.
HWY_INLINE Vec exp2(Vec x) {
  const Vec magic = hn::Set(kF, 12582912.0F + 127.0F);
  x = hn::Max(hn::Set(kF, -127.0F), x);
  const Vec shifted = hn::Add(x, magic);
  const Vec r = hn::Sub(x, hn::Sub(shifted, magic));
  Vec p = hn::Set(kF, 0x1.41d334p-13F);
  p = hn::MulAdd(p, r, hn::Set(kF, 0x1.5f456ap-10F));
  p = hn::MulAdd(p, r, hn::Set(kF, 0x1.3b2dbcp-7F));
  p = hn::MulAdd(p, r, hn::Set(kF, 0x1.c6aed4p-5F));
  p = hn::MulAdd(p, r, hn::Set(kF, 0x1.ebfbdap-3F));
  p = hn::MulAdd(p, r, hn::Set(kF, 0x1.62e430p-1F));
  p = hn::MulAdd(p, r, hn::Set(kF, 1.0F));
  return hn::Mul(p, hn::BitCast(kF, hn::ShiftLeft<23>(hn::BitCast(kI, shifted))));
}

/// The greatest lane. Highway's emulated vectors start from the least finite float and would lose -inf.
HWY_INLINE float greatest(Vec x) {
#if HWY_TARGET == HWY_EMU128
  float lanes[kLanes];
  hn::StoreU(x, kF, lanes);
  return *std::max_element(lanes, lanes + kLanes);
#else
  return hn::GetLane(hn::MaxOfLanes(kF, x));
#endif
}

/// Lanes of keys [j, j + kLanes) that the query may see.
HWY_INLINE VecMask allowed(const BlockMask& mask, const KeyTile& tile, int j, std::int32_t q_position,
                           std::int32_t q_document) {
  const auto distance = hn::Sub(hn::Set(kI, q_position), hn::Load(kI, tile.position + j));
  auto see = hn::FirstN(kI, static_cast<std::size_t>(std::max(0, tile.count - j)));
  if (mask.causal) see = hn::And(see, hn::Gt(distance, hn::Set(kI, -1)));
  if (mask.window != 0) {
    const auto window = hn::Set(kI, mask.window);
    see = hn::And(see, hn::And(hn::Lt(distance, window), hn::Lt(hn::Neg(distance), window)));
  }
  if (tile.has_documents) {
    see = hn::And(see, hn::Eq(hn::Set(kI, q_document), hn::Load(kI, tile.document + j)));
  }
  return hn::RebindMask(kF, see);
}

HWY_INLINE hn::Vec<UInts> mix32(hn::Vec<UInts> x) {
  x = hn::Xor(x, hn::ShiftRight<16>(x));
  x = hn::Mul(x, hn::Set(kU, 0x7feb352dU));
  x = hn::Xor(x, hn::ShiftRight<15>(x));
  x = hn::Mul(x, hn::Set(kU, 0x846ca68bU));
  return hn::Xor(x, hn::ShiftRight<16>(x));
}

/// Lanes of keys [j, j + kLanes) that dropout keeps: dropout_keep of dropout.h. Unsigned comparison as
/// signed, both sides shifted by 2^31.
HWY_INLINE VecMask kept(const KeyTile& tile, int j, std::uint32_t row_seed, std::uint32_t threshold) {
  const auto draw = mix32(hn::Xor(hn::Set(kU, row_seed), hn::Load(kU, tile.spread + j)));
  const auto flip = hn::Set(kU, 0x80000000U);
  const auto signed_draw = hn::BitCast(kI, hn::Xor(draw, flip));
  const auto below = hn::Lt(signed_draw, hn::Set(kI, static_cast<std::int32_t>(threshold ^ 0x80000000U)));
  return hn::RebindMask(kF, hn::Not(below));
}

}  // namespace tessera::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
