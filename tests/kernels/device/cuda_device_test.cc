// Streams, events, the memory pool's account and the dispatch table, on a GPU or under the interpreter, whose
// lazy streams do nothing until something waits for them: an order that is not enforced shows as wrong data.
#include "kernels/device/cuda_device.h"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_memory.h"
#include "kernels/device/cuda_stream.h"

namespace tessera::kernels {
namespace {

TEST(CudaStatus, ThereIsADevice) {
  const CudaStatus status = cuda_status();
  EXPECT_GE(status.devices, 1);
  EXPECT_EQ(status.problem, "");
}

TEST(CudaStatus, SaysWhatIsMissing) {
  EXPECT_EQ(cuda_status_of(cudaErrorInsufficientDriver, 0, 0).problem, "no NVIDIA driver is installed");
  const CudaStatus old = cuda_status_of(cudaErrorInsufficientDriver, 0, 12040);
  EXPECT_TRUE(old.problem.starts_with("the NVIDIA driver knows CUDA 12.4, this program needs "))
      << old.problem;
  EXPECT_TRUE(old.remedy.starts_with("update the driver")) << old.remedy;
  EXPECT_EQ(cuda_status_of(cudaErrorNoDevice, 0, 13000).problem, "the driver sees no CUDA device");
  EXPECT_EQ(cuda_status_of(cudaSuccess, 0, 13000).problem, "the driver sees no CUDA device");
  EXPECT_TRUE(cuda_status_of(cudaErrorInvalidValue, 0, 13000).problem.starts_with("CUDA does not start: "));
  EXPECT_EQ(cuda_status_of(cudaSuccess, 2, 13000).devices, 2);
}

TEST(CudaError, NamesTheArchitectureThatIsMissing) {
  const int capability = current_device_properties().capability;
  const std::string text = CudaError(cudaErrorNoKernelImageForDevice, "launch", "a.cu", 7).what();
  EXPECT_NE(text.find("-DTESSERA_CUDA_ARCHITECTURES=" + std::to_string(capability) + "-real"),
            std::string::npos)
      << text;
  const std::string plain = CudaError(cudaErrorInvalidValue, "cudaMalloc(&p, 1)", "a.cu", 7).what();
  EXPECT_NE(plain.find("cudaMalloc(&p, 1) failed at a.cu:7: cudaErrorInvalidValue"), std::string::npos)
      << plain;
  EXPECT_EQ(plain.find("ARCHITECTURES"), std::string::npos) << plain;
}

TEST(DeviceProperties, AreThoseOfTheDevice) {
  const DeviceProperties& device = current_device_properties();
  EXPECT_GE(device.capability, 80);
  EXPECT_GE(device.multiprocessors, 1);
  EXPECT_GE(device.shared_bytes_per_block, 48 << 10);
  EXPECT_GE(device.shared_bytes_per_multiprocessor, device.shared_bytes_per_block);
  EXPECT_GT(device.memory_bytes, std::int64_t{1} << 30);
  EXPECT_EQ(&device, &device_properties(device.device)) << "read once";
  EXPECT_THROW((void)device_properties(1000), CudaError);
  (void)cudaGetLastError();
}

TEST(KernelVariant, RunsWhereCapabilityAndSharedMemoryAllow) {
  DeviceProperties device;
  device.capability = 86;
  device.shared_bytes_per_block = 99 << 10;
  EXPECT_TRUE(runs_on({"gemm", "a", 80, false, 96 << 10}, device));
  EXPECT_FALSE(runs_on({"gemm", "b", 80, false, 100 << 10}, device));
  EXPECT_FALSE(runs_on({"gemm", "c", 89}, device));
  EXPECT_FALSE(runs_on({"gemm", "d", 80, true}, device));
  EXPECT_TRUE(runs_on({"gemm", "e", 86, true}, device));
  const std::array rows{KernelVariant{"gemm", "wide", 80},
                        KernelVariant{"gemm", "hopper", 90, true, 0, "any"}};
  const std::string text = to_text(rows, device);
  EXPECT_NE(text.find("wide"), std::string::npos) << text;
  EXPECT_NE(text.find("9.0="), std::string::npos) << text;
}

TEST(Stream, AnEventOrdersTwoStreams) {
  constexpr std::size_t kBytes = 1 << 16;
  DevicePool pool;
  const Stream producer, consumer;
  const DeviceBuffer<std::uint8_t> a(pool, kBytes, "a", producer.get()), b(pool, kBytes, "b", consumer.get());
  std::vector<std::uint8_t> got(kBytes, 0);
  TS_CUDA(cudaMemsetAsync(a.data(), 17, kBytes, producer.get()));
  Event written;
  written.record(producer.get());
  written.make_wait(consumer.get());
  TS_CUDA(cudaMemcpyAsync(b.data(), a.data(), kBytes, cudaMemcpyDeviceToDevice, consumer.get()));
  TS_CUDA(cudaMemcpyAsync(got.data(), b.data(), kBytes, cudaMemcpyDeviceToHost, consumer.get()));
  consumer.synchronize();
  EXPECT_EQ(got, std::vector<std::uint8_t>(kBytes, 17));
  EXPECT_TRUE(consumer.idle());
  written.synchronize();
  EXPECT_TRUE(written.reached());
}

TEST(Stream, MovesAndEndsWithItsOwner) {
  Stream a;
  Stream b = std::move(a);
  EXPECT_EQ(a.get(), nullptr);
  EXPECT_NE(b.get(), nullptr);
  Stream c;
  CudaStream raw = b.get();
  c = std::move(b);
  EXPECT_EQ(c.get(), raw);
  Event e;
  Event f = std::move(e);
  f.record(c.get());
  f.synchronize();
  const Timer timer;
  timer.start(c.get());
  timer.stop(c.get());
  EXPECT_GE(timer.seconds(), 0.0);
}

TEST(DevicePool, CountsByTagAndKeepsThePeaks) {
  DevicePool pool;
  const Stream stream;
  {
    const DeviceBuffer<float> weights(pool, 1000, "weights", stream.get());
    {
      const DeviceBuffer<float> more(pool, 128, "weights", stream.get());
      const DeviceBuffer<float> scratch(pool, 1, "scratch", stream.get());
      EXPECT_EQ(pool.current_bytes(), 4096 + 512 + 512);
    }
    EXPECT_EQ(pool.current_bytes(), 4096);
    EXPECT_EQ(pool.peak_bytes(), 5120);
    const auto use = pool.use();
    ASSERT_EQ(use.size(), 2U);
    EXPECT_EQ(use[0].tag, "weights");
    EXPECT_EQ(use[0].current_bytes, 4096);
    EXPECT_EQ(use[0].peak_bytes, 4608);
    EXPECT_EQ(use[0].blocks, 1);
    EXPECT_EQ(use[1].current_bytes, 0);
    EXPECT_EQ(use[1].peak_bytes, 512);
  }
  EXPECT_EQ(pool.current_bytes(), 0);
  EXPECT_EQ(pool.reserved_bytes(), 5120) << "kept for reuse";
  pool.release_kept();
  EXPECT_EQ(pool.reserved_bytes(), 0);
  EXPECT_EQ(pool.peak_bytes(), 5120);
  const DeviceBuffer<float> nothing(pool, 0, "nothing", stream.get());
  EXPECT_EQ(nothing.data(), nullptr);
}

TEST(DevicePool, GivesABlockAgainOnItsStreamAtOnceOnAnotherWhenItsStreamGotThere) {
  DevicePool pool;
  const Stream a, b;
  void* const first = pool.allocate(4096, "x", a.get());
  TS_CUDA(cudaMemsetAsync(first, 1, 4096, a.get()));
  pool.free(first, a.get());
  void* const again = pool.allocate(4000, "x", a.get());
  EXPECT_EQ(again, first);
  pool.free(again, a.get());
  a.synchronize();
  void* const other = pool.allocate(4096, "x", b.get());
  EXPECT_EQ(other, first);
  pool.free(other, b.get());
  void* const small = pool.allocate(1024, "x", b.get());
  EXPECT_NE(small, first) << "a quarter of the block would waste the rest";
  pool.free(small, b.get());
}

/// A lazily run stream has not got to the free: its block must not go to another.
TEST(DevicePool, DoesNotGiveAwayWhatAnotherStreamStillUses) {
  DevicePool pool;
  const Stream a, b;
  std::vector<std::uint8_t> got(1 << 16, 0);
  for (int round = 0; round < 20; ++round) {
    const auto mark = static_cast<std::uint8_t>(round + 1);
    void* const source = pool.allocate(1 << 16, "source", a.get());
    TS_CUDA(cudaMemsetAsync(source, mark, 1 << 16, a.get()));
    a.synchronize();
    TS_CUDA(cudaMemcpyAsync(got.data(), source, 1 << 16, cudaMemcpyDeviceToHost, a.get()));
    pool.free(source, a.get());
    void* const other = pool.allocate(1 << 16, "other", b.get());
    TS_CUDA(cudaMemsetAsync(other, 255, 1 << 16, b.get()));
    b.synchronize();
    a.synchronize();
    EXPECT_EQ(got.front(), mark);
    EXPECT_EQ(got.back(), mark);
    pool.free(other, b.get());
  }
}

TEST(DevicePool, OutOfMemoryNamesWhoHoldsIt) {
  DevicePool pool(10 << 20);
  const Stream stream;
  const DeviceBuffer<std::uint8_t> weights(pool, 6 << 20, "weights", stream.get());
  { const DeviceBuffer<std::uint8_t> kept(pool, 3 << 20, "scratch", stream.get()); }
  const DeviceBuffer<std::uint8_t> fits(pool, 4 << 20, "gradients",
                                        stream.get());  // once the kept block is given back
  try {
    const DeviceBuffer<std::uint8_t> over(pool, 1 << 20, "activations", stream.get());
    FAIL() << "11 of 10 MiB";
  } catch (const OutOfDeviceMemory& error) {
    const std::string text = error.what();
    for (const char* part :
         {"1.0 MiB of activations", "limit of 10.0 MiB", "weights", "gradients", "peak MiB"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " not in:\n" << text;
    }
  }
  EXPECT_EQ(pool.current_bytes(), 10 << 20);
}

TEST(DevicePool, ServesSeveralThreads) {
  DevicePool pool;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      const Stream stream;
      for (int i = 0; i < 50; ++i) {
        const DeviceBuffer<float> x(pool, 100 + 37 * ((i + t) % 5), "x", stream.get());
        EXPECT_NE(x.data(), nullptr);
      }
      stream.synchronize();
    });
  }
  threads.clear();
  EXPECT_EQ(pool.current_bytes(), 0);
  EXPECT_GT(pool.peak_bytes(), 0);
}

}  // namespace
}  // namespace tessera::kernels
