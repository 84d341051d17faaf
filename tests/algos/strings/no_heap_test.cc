// "No memory" is a promise about the heap: each allocation of this process is counted.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "algos/strings/bwt_in_place.h"
#include "algos/strings/inverse_bwt.h"
#include "algos/strings/lyndon_factors.h"

namespace {
std::atomic<long> allocations{0};
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

namespace tessera::strings {
namespace {

template <class T>
long allocations_of(std::vector<T> text) {
  std::vector<T> back(text.size());
  std::vector<T> again = text;
  std::vector<std::uint32_t> lyn(text.size());
  std::size_t factors = 0;
  const long before = allocations;
  const std::size_t alone = bwt_in_place(std::span(again));
  const auto start = least_rotation(std::span<const T>(text));
  const auto period = cyclic_period(std::span<const T>(text));
  for_each_lyndon_factor(std::span<const T>(text), [&](std::size_t, std::size_t) { ++factors; });
  const auto primary = bwt_lyndon_in_place(std::span(text), std::span(lyn));
  const bool inverted = inverse_bwt(std::span<const T>(again), alone, std::span(back)).ok();
  const long after = allocations;
  EXPECT_TRUE(inverted);
  EXPECT_EQ(primary.value(), alone);
  EXPECT_LT(start, text.size());
  EXPECT_LE(period, text.size());
  EXPECT_GT(factors, 0U);
  return after - before;
}

TEST(NoHeap, TransformLyndonArrayInverseAndFactorsAllocateNothing) {
  std::vector<std::uint8_t> bytes;
  std::vector<std::int64_t> integers;
  for (int i = 0; i < 3000; ++i) bytes.push_back(static_cast<std::uint8_t>(i * i % 251));
  for (int i = 0; i < 500; ++i) integers.push_back(i * 7919 % 101);
  EXPECT_EQ(allocations_of(bytes), 0);
  EXPECT_EQ(allocations_of(integers), 0);
}

TEST(NoHeap, TheCounterCounts) {
  const long before = allocations;
  EXPECT_EQ(std::vector<int>(100).size(), 100U);
  EXPECT_GT(allocations, before);
}

}  // namespace
}  // namespace tessera::strings
