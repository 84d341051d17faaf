// All 65536 patterns of each format, and for the way back every float that lies on, beside or midway between
// two neighbours of the format. The oracle decodes a pattern by the definition of the format, in double, and
// rounds by comparing distances: it shares no step with the kernel.
#include "kernels/cast/cast.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/kernel_test.h"

namespace tessera::kernels {
namespace {

using testing_support::expect_same_for_any_threads;
using testing_support::for_each_simd_target;
using testing_support::uniform_floats;

struct Format {
  int exponent_bits;
  int mantissa_bits;
};
constexpr Format kBf16{8, 7};
constexpr Format kF16{5, 10};

bool is_nan(Format f, std::uint32_t pattern) {
  const std::uint32_t infinity = ((1U << f.exponent_bits) - 1) << f.mantissa_bits;
  return (pattern & 0x7fffU) > infinity;
}

/// The value of a pattern that is not a NaN.
double decode(Format f, std::uint32_t pattern) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>((pattern & 0x7fffU) >> f.mantissa_bits);
  const double fraction = std::ldexp(pattern & ((1U << f.mantissa_bits) - 1), -f.mantissa_bits);
  double magnitude = 0;
  if (exponent == (1 << f.exponent_bits) - 1) {
    magnitude = std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, 1 - bias);
  } else {
    magnitude = std::ldexp(1 + fraction, exponent - bias);
  }
  return (pattern & 0x8000U) != 0 ? -magnitude : magnitude;
}

std::vector<std::uint16_t> every_pattern() {
  std::vector<std::uint16_t> out(65536);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint16_t>(i);
  return out;
}

using Widen = void (*)(float*, const std::uint16_t*, std::int64_t);
using Narrow = void (*)(std::uint16_t*, const float*, std::int64_t);

void expect_widening_is_exact(Format f, Widen widen) {
  const auto patterns = every_pattern();
  std::vector<float> values(patterns.size());
  widen(values.data(), patterns.data(), 65536);
  for (std::uint32_t i = 0; i < 65536; ++i) {
    if (is_nan(f, i)) {
      ASSERT_TRUE(std::isnan(values[i])) << std::hex << i;
      ASSERT_EQ(std::signbit(values[i]), (i & 0x8000U) != 0);
    } else {
      ASSERT_EQ(static_cast<double>(values[i]), decode(f, i)) << std::hex << i;
      ASSERT_EQ(std::signbit(values[i]), (i & 0x8000U) != 0) << std::hex << i;
    }
  }
}

void expect_round_trip(Format f, Widen widen, Narrow narrow) {
  const auto patterns = every_pattern();
  std::vector<float> values(patterns.size());
  std::vector<std::uint16_t> back(patterns.size());
  widen(values.data(), patterns.data(), 65536);
  narrow(back.data(), values.data(), 65536);
  const std::uint32_t quiet = 1U << (f.mantissa_bits - 1);
  for (std::uint32_t i = 0; i < 65536; ++i) ASSERT_EQ(back[i], is_nan(f, i) ? i | quiet : i) << std::hex << i;
}

/// For each magnitude and its successor: the two, the middle between them, and the floats next to the middle.
void expect_nearest_even(Format f, Narrow narrow) {
  const std::uint32_t infinity = ((1U << f.exponent_bits) - 1) << f.mantissa_bits;
  std::vector<float> inputs;
  std::vector<std::uint16_t> wanted;
  const auto add = [&](float value, std::uint32_t pattern) {
    inputs.push_back(value);
    wanted.push_back(static_cast<std::uint16_t>(pattern));
    inputs.push_back(-value);
    wanted.push_back(static_cast<std::uint16_t>(pattern | 0x8000U));
  };
  for (std::uint32_t low = 0; low < infinity; ++low) {
    const double a = decode(f, low);
    // Infinity stands where the next finite value would be.
    const double b = low + 1 < infinity ? decode(f, low + 1) : 2 * a - decode(f, low - 1);
    const double middle = a + (b - a) / 2;
    const auto middle_f = static_cast<float>(middle);
    add(static_cast<float>(a), low);
    if (static_cast<double>(middle_f) == middle) {  // below float's own subnormals there is no middle
      add(middle_f, low % 2 == 0 ? low : low + 1);
      add(std::nextafter(middle_f, 0.0F), low);
      add(std::nextafter(middle_f, std::numeric_limits<float>::infinity()), low + 1);
    }
  }
  std::vector<std::uint16_t> got(inputs.size());
  narrow(got.data(), inputs.data(), static_cast<std::int64_t>(inputs.size()));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i], wanted[i]) << std::hexfloat << inputs[i] << std::hex << " got " << got[i];
  }
}

void expect_special_values(Format f, Narrow narrow) {
  const std::uint32_t infinity = ((1U << f.exponent_bits) - 1) << f.mantissa_bits;
  const std::vector<std::uint32_t> nans = {0x7f800001, 0x7fc00000, 0x7fffffff, 0x7f80ffff, 0x7fbfffff};
  std::vector<float> inputs = {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::denorm_min(), 0.0F};
  for (const std::uint32_t bits : nans) inputs.push_back(std::bit_cast<float>(bits));
  const std::size_t positive = inputs.size();
  for (std::size_t i = 0; i < positive; ++i) inputs.push_back(-inputs[i]);
  std::vector<std::uint16_t> got(inputs.size());
  narrow(got.data(), inputs.data(), static_cast<std::int64_t>(inputs.size()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::uint32_t magnitude = got[i] & 0x7fffU;
    const std::size_t kind = i % positive;
    EXPECT_EQ((got[i] & 0x8000U) != 0, i >= positive) << i;
    if (kind < 2) {
      EXPECT_EQ(magnitude, infinity);
    } else if (kind < 4) {
      EXPECT_EQ(magnitude, 0U);
    } else {
      EXPECT_GT(magnitude, infinity) << "a NaN became something else";
      EXPECT_NE(magnitude & (1U << (f.mantissa_bits - 1)), 0U) << "a NaN stayed signalling";
    }
  }
}

TEST(Cast, Bf16) {
  for_each_simd_target([] {
    expect_widening_is_exact(kBf16, bf16_to_f32);
    expect_round_trip(kBf16, bf16_to_f32, f32_to_bf16);
    expect_nearest_even(kBf16, f32_to_bf16);
    expect_special_values(kBf16, f32_to_bf16);
  });
}

TEST(Cast, F16) {
  for_each_simd_target([] {
    expect_widening_is_exact(kF16, f16_to_f32);
    expect_round_trip(kF16, f16_to_f32, f32_to_f16);
    expect_nearest_even(kF16, f32_to_f16);
    expect_special_values(kF16, f32_to_f16);
  });
}

TEST(Cast, WritesExactlyNElements) {
  for_each_simd_target([] {
    for (std::int64_t n = 0; n < 70; ++n) {
      const auto values = uniform_floats(n, 1);
      std::vector<std::uint16_t> narrow(static_cast<std::size_t>(n) + 1, 0xabcd);
      f32_to_bf16(narrow.data(), values.data(), n);
      ASSERT_EQ(narrow.back(), 0xabcd);
      f32_to_f16(narrow.data(), values.data(), n);
      ASSERT_EQ(narrow.back(), 0xabcd);
      std::vector<float> wide(static_cast<std::size_t>(n) + 1, 42.0F);
      f16_to_f32(wide.data(), narrow.data(), n);
      ASSERT_EQ(wide.back(), 42.0F);
      bf16_to_f32(wide.data(), narrow.data(), n);
      ASSERT_EQ(wide.back(), 42.0F);
    }
  });
}

TEST(Cast, IsTheSameForAnyNumberOfThreads) {
  const auto values = uniform_floats(200'001, 1);
  expect_same_for_any_threads([&] {
    std::vector<std::uint16_t> narrow(values.size());
    f32_to_bf16(narrow.data(), values.data(), 200'001);
    return narrow;
  });
}

}  // namespace
}  // namespace tessera::kernels
