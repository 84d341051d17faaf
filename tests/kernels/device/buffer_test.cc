#include "kernels/device/buffer.h"

#include <cstdint>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::kernels {
namespace {

TEST(Buffer, IsZeroedAlignedAndWritableAtEverySize) {
  for (const std::int64_t n : {0, 1, 15, 16, 17, 1000, 524287, 524288, 524289, 2000000}) {
    Buffer<float> buffer(n);
    ASSERT_EQ(buffer.size(), n);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(buffer[i], 0.0F) << n << " at " << i;
    for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(i);
    if (n > 0) {
      EXPECT_EQ(buffer[n - 1], static_cast<float>(n - 1));
    }
  }
}

TEST(Buffer, IsZeroedWhenMemoryIsUsedAgain) {
  for (int round = 0; round < 3; ++round) {
    Buffer<std::uint8_t> buffer(4096);
    for (const std::uint8_t byte : buffer.span()) ASSERT_EQ(byte, 0);
    for (std::uint8_t& byte : buffer.span()) byte = 0xff;
  }
}

TEST(Buffer, MovesWithoutCopying) {
  Buffer<int> a(10);
  a[3] = 7;
  const int* at = a.data();
  Buffer<int> b = std::move(a);
  EXPECT_EQ(b.data(), at);
  Buffer<int> c;
  c = std::move(b);
  EXPECT_EQ(c.data(), at);
  EXPECT_EQ(c[3], 7);
  EXPECT_EQ(c.span().size(), 10U);
}

TEST(Buffer, MemoryInUseIsCountedAndThePeakKept) {
  const HostMemoryUse before = host_memory_use();
  {
    const Buffer<float> small(100);
    const Buffer<float> large(1 << 20);
    EXPECT_EQ(host_memory_use().current_bytes, before.current_bytes + 400 + (4 << 20));
  }
  EXPECT_EQ(host_memory_use().current_bytes, before.current_bytes);
  EXPECT_GE(host_memory_use().peak_bytes, before.current_bytes + 400 + (4 << 20));
}

TEST(Buffer, CountsRightFromManyThreads) {
  const HostMemoryUse before = host_memory_use();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 200; ++round) const Buffer<float> buffer(round);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(host_memory_use().current_bytes, before.current_bytes);
}

TEST(Buffer, TooLargeThrowsAndIsNotCounted) {
  const HostMemoryUse before = host_memory_use();
  EXPECT_THROW(Buffer<float>(std::numeric_limits<std::int64_t>::max() / 8), std::bad_alloc);
  EXPECT_THROW(Buffer<float>(-1), std::bad_alloc);
  EXPECT_EQ(host_memory_use().current_bytes, before.current_bytes);
}

}  // namespace
}  // namespace tessera::kernels
