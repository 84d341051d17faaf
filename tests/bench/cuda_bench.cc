// cuda-bench: the CUDA kernels' rates on this machine's device: bytes per second against a copy of the
// device's memory, products per second of our tensor-core kernel against cuBLASLt. A table, and JSON with
// --json.
//
// Each row is the median of kRounds rounds of one kernel on one stream, timed by events, after one warm-up;
// operands are larger than L2 unless --small, which makes them tiny: under the interpreter that checks this
// program, and its times mean nothing.
#include <algorithm>
#include <cstdint>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/random.h"
#include "kernels/cast/cast_cuda.h"
#include "kernels/device/cuda_check.h"
#include "kernels/device/cuda_device.h"
#include "kernels/device/cuda_memory.h"
#include "kernels/device/cuda_stream.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/loss/cross_entropy_cuda.h"
#include "kernels/mlp/swiglu_cuda.h"
#include "kernels/norm/rmsnorm_cuda.h"
#include "kernels/optim/adamw_cuda.h"
#include "kernels/rope/rope_cuda.h"

namespace tessera {
namespace {

using kernels::Bf16;
using kernels::DeviceBuffer;

constexpr int kRounds = 7;

struct Row {
  std::string name;
  double seconds;
  double bytes;  // read and written
  double flops;  // 0: a kernel that moves bytes
};

class Bench {
 public:
  template <class T>
  DeviceBuffer<T> zeros(std::int64_t count) {
    DeviceBuffer<T> buffer(pool_, count, "operands", stream_.get());
    TS_CUDA(cudaMemsetAsync(buffer.data(), 0, static_cast<std::size_t>(count) * sizeof(T), stream_.get()));
    return buffer;
  }
  template <class T>
  DeviceBuffer<T> upload(const std::vector<T>& values) {
    DeviceBuffer<T> buffer(pool_, std::ssize(values), "operands", stream_.get());
    TS_CUDA(cudaMemcpyAsync(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                            stream_.get()));
    stream_.synchronize();
    return buffer;
  }

  /// bf16 values in (-2, 2) of both signs, one block repeated: products of zeros draw less power and run
  /// faster.
  DeviceBuffer<Bf16> random_values(std::int64_t count) {
    constexpr std::int64_t kBlock = 1 << 20;
    if (block_.empty()) {
      for (std::uint64_t i = 0; i < kBlock; ++i) {
        const auto bits = static_cast<std::uint32_t>(uniform(1, i) * 0x1p32);
        block_.push_back(
            {static_cast<std::uint16_t>(0x3f00U | (bits & 0x80ffU))});  // 0.5 to 2, any sign and fraction
      }
    }
    DeviceBuffer<Bf16> buffer(pool_, count, "operands", stream_.get());
    for (std::int64_t at = 0; at < count; at += kBlock) {
      TS_CUDA(cudaMemcpyAsync(buffer.data() + at, block_.data(),
                              static_cast<std::size_t>(std::min(kBlock, count - at)) * sizeof(Bf16),
                              cudaMemcpyHostToDevice, stream_.get()));
    }
    stream_.synchronize();
    return buffer;
  }

  template <class Run>
  void measure(const std::string& name, double bytes, double flops, const Run& run) {
    run(stream_.get());
    std::vector<double> seconds;
    for (int round = 0; round < kRounds; ++round) {
      timer_.start(stream_.get());
      run(stream_.get());
      timer_.stop(stream_.get());
      seconds.push_back(timer_.seconds());
    }
    std::ranges::nth_element(seconds, seconds.begin() + kRounds / 2);
    rows_.push_back({name, seconds[kRounds / 2], bytes, flops});
  }
  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }

 private:
  kernels::DevicePool pool_;
  kernels::Stream stream_;
  kernels::Timer timer_;
  std::vector<Bf16> block_;
  std::vector<Row> rows_;
};

void measure_copy(Bench& bench, std::int64_t bytes) {
  const auto from = bench.zeros<std::uint8_t>(bytes), to = bench.zeros<std::uint8_t>(bytes);
  bench.measure("copy", 2.0 * static_cast<double>(bytes), 0, [&](kernels::CudaStream stream) {
    TS_CUDA(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                            stream));
  });
}

/// T tokens of width D, MLP width F, vocabulary V: a step's row kernels in bf16.
void measure_rows(Bench& bench, std::int64_t T, std::int64_t D, std::int64_t F, std::int64_t V) {
  const auto n = static_cast<double>(T * D);
  {
    const auto x = bench.zeros<Bf16>(T * D), update = bench.zeros<Bf16>(T * D), y = bench.zeros<Bf16>(T * D),
               w = bench.zeros<Bf16>(D);
    const auto rstd = bench.zeros<float>(T), dx = bench.zeros<float>(T * D), dw = bench.zeros<float>(D),
               scratch = bench.zeros<float>(kernels::rmsnorm_backward_scratch(T, D));
    bench.measure("rmsnorm forward", 8 * n, 0, [&](kernels::CudaStream stream) {
      kernels::rmsnorm_forward_cuda(y.data(), rstd.data(), x.data(), x.data(), update.data(), w.data(), T, D,
                                    1e-5F, stream);
    });
    bench.measure("rmsnorm backward", 12 * n, 0, [&](kernels::CudaStream stream) {
      kernels::rmsnorm_backward_cuda(dx.data(), dw.data(), y.data(), x.data(), rstd.data(), w.data(), T, D,
                                     scratch.data(), stream);
    });
  }
  {
    const auto gate_up = bench.zeros<Bf16>(2 * T * F), y = bench.zeros<Bf16>(T * F);
    bench.measure("swiglu forward", 6.0 * static_cast<double>(T * F), 0, [&](kernels::CudaStream stream) {
      kernels::swiglu_forward_cuda(y.data(), gate_up.data(), T, F, stream);
    });
    bench.measure("swiglu backward", 10.0 * static_cast<double>(T * F), 0, [&](kernels::CudaStream stream) {
      kernels::swiglu_backward_cuda<Bf16>(gate_up.data(), nullptr, y.data(), gate_up.data(), T, F, stream);
    });
  }
  {
    const auto x = bench.zeros<Bf16>(T * D);
    const auto cosine = bench.zeros<float>(T * 64), sine = bench.zeros<float>(T * 64);
    bench.measure("rope", 4 * n + 8.0 * static_cast<double>(T * 64), 0, [&](kernels::CudaStream stream) {
      kernels::rope_forward_cuda(x.data(), D, cosine.data(), sine.data(), T, static_cast<int>(D / 128), 128,
                                 stream);
    });
  }
  {
    const auto logits = bench.zeros<Bf16>(T * V);
    const auto loss = bench.zeros<float>(T);
    const auto label = bench.zeros<std::int32_t>(T);
    bench.measure(
        "cross-entropy and gradient", 6.0 * static_cast<double>(T * V), 0, [&](kernels::CudaStream stream) {
          kernels::cross_entropy_cuda(loss.data(), logits.data(), V, label.data(), T, V, 1.0F, stream);
        });
  }
  {
    std::vector<std::int32_t> tokens;
    for (std::int64_t t = 0; t < T; ++t) tokens.push_back(static_cast<std::int32_t>(t * 7919 % V));
    const kernels::EmbeddingOrder order = kernels::embedding_order(tokens, 0, V);
    const auto d_tokens = bench.upload(tokens), d_order = bench.upload(order.token);
    const auto strips = bench.upload(order.strips);
    const auto sums = bench.upload(order.sums);
    const auto table = bench.zeros<Bf16>(V * D), y = bench.zeros<Bf16>(T * D);
    const auto d_table = bench.zeros<float>(V * D), partial = bench.zeros<float>(order.slots * D);
    const auto dy = bench.zeros<float>(T * D);
    bench.measure("embedding forward", 4 * n, 0, [&](kernels::CudaStream stream) {
      kernels::embedding_forward_cuda(y.data(), table.data(), d_tokens.data(), T, D, 0, V, stream);
    });
    const double rows = static_cast<double>(order.strips.size()) * static_cast<double>(D);
    bench.measure("embedding backward", 4 * n + 8 * rows, 0, [&](kernels::CudaStream stream) {
      kernels::embedding_backward_cuda(
          d_table.data(), dy.data(),
          {d_order.data(), strips.data(), strips.size(), sums.data(), sums.size(), partial.data()}, D,
          stream);
    });
  }
  {
    const auto master = bench.zeros<float>(T * D), m = bench.zeros<float>(T * D),
               v = bench.zeros<float>(T * D), gradient = bench.zeros<float>(T * D);
    const auto copy = bench.zeros<Bf16>(T * D);
    bench.measure("adamw, bf16 copy", 30 * n, 0, [&](kernels::CudaStream stream) {
      kernels::adamw_cuda(master.data(), copy.data(), m.data(), v.data(), gradient.data(), T * D, {}, nullptr,
                          stream);
    });
    bench.measure("cast fp32 to bf16", 6 * n, 0, [&](kernels::CudaStream stream) {
      kernels::cast_cuda(copy.data(), master.data(), T * D, stream);
    });
    const auto sum = bench.zeros<double>(1);
    const auto scratch = bench.zeros<double>(kernels::sum_of_squares_scratch(T * D));
    bench.measure("sum of squares", 4 * n, 0, [&](kernels::CudaStream stream) {
      kernels::sum_of_squares_cuda(sum.data(), gradient.data(), T * D, scratch.data(), stream);
    });
  }
}

/// The three products of a linear layer of T tokens, from `in` to `out`: y = x W', dx = dy W, dW += dy' x.
void measure_products(Bench& bench, const std::string& provider, std::int64_t T, std::int64_t in,
                      std::int64_t out) {
  using enum kernels::Transpose;
  const auto x = bench.random_values(T * in), w = bench.random_values(out * in),
             y = bench.random_values(T * out);
  const auto result = bench.zeros<Bf16>(T * std::max(in, out));
  const auto dw = bench.zeros<float>(out * in);
  const double flops = 2.0 * static_cast<double>(T) * static_cast<double>(in) * static_cast<double>(out);
  const auto name = [&](const char* what) {
    return fmt::format("{} {} x {} x {}, {}", what, T, in, out, provider);
  };
  bench.measure(name("y = x W'"), 0, flops, [&](kernels::CudaStream stream) {
    kernels::gemm_cuda<Bf16, Bf16>({T, out, in}, kNo, kYes, 1,
                                   {x.data(), in, w.data(), in, nullptr, 0, result.data(), out}, 0, stream);
  });
  bench.measure(name("dx = dy W"), 0, flops, [&](kernels::CudaStream stream) {
    kernels::gemm_cuda<Bf16, Bf16>({T, in, out}, kNo, kNo, 1,
                                   {y.data(), out, w.data(), in, nullptr, 0, result.data(), in}, 0, stream);
  });
  bench.measure(name("dW += dy' x"), 0, flops, [&](kernels::CudaStream stream) {
    kernels::gemm_cuda<Bf16, float>({out, in, T}, kYes, kNo, 1,
                                    {y.data(), out, x.data(), in, dw.data(), in, dw.data(), in}, 1, stream);
  });
}

int run(bool small, const std::string& json_path) {
  const kernels::CudaStatus status = kernels::cuda_status();
  if (status.devices == 0) {
    fmt::print(stderr, "cuda-bench: {}\n  {}\n", status.problem, status.remedy);
    return 2;
  }
  const kernels::DeviceProperties& device = kernels::current_device_properties();
  Bench bench;
  measure_copy(bench, small ? 1 << 16 : std::int64_t{1} << 29);
  if (small) {
    measure_rows(bench, 4, 256, 512, 64);
  } else {
    measure_rows(bench, 8192, 4096, 14336, 32768);
  }
  std::vector<kernels::GemmCudaProvider> providers{kernels::GemmCudaProvider::kOwn};
  if (kernels::gemm_cuda_provider().starts_with("cuBLASLt"))
    providers.push_back(kernels::GemmCudaProvider::kCublasLt);
  for (const kernels::GemmCudaProvider provider : providers) {
    kernels::set_gemm_cuda_provider(provider);
    const std::string name = provider == kernels::GemmCudaProvider::kOwn ? "ours" : "cuBLASLt";
    if (small) {
      measure_products(bench, name, 64, 64, 128);
    } else {
      measure_products(bench, name, 8192, 4096, 4096);
      measure_products(bench, name, 8192, 4096, 28672);
      measure_products(bench, name, 1024, 2048, 2048);
    }
  }

  const double copy = bench.rows().front().bytes / bench.rows().front().seconds;
  fmt::print("{}\n{:<44} {:>10} {:>9} {:>8} {:>9}\n", kernels::to_text(device), "kernel", "ms", "GB/s",
             "of copy", "TFLOP/s");
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : bench.rows()) {
    const double rate = row.bytes / row.seconds;
    const double tflops = row.flops / row.seconds * 1e-12;
    fmt::print("{:<44} {:>10.4f} {:>9} {:>8} {:>9}\n", row.name, row.seconds * 1e3,
               row.bytes > 0 ? fmt::format("{:.1f}", rate * 1e-9) : "",
               row.bytes > 0 ? fmt::format("{:.0f} %", 100 * rate / copy) : "",
               row.flops > 0 ? fmt::format("{:.1f}", tflops) : "");
    rows.push_back(
        {{"kernel", row.name}, {"seconds", row.seconds}, {"bytes", row.bytes}, {"flops", row.flops}});
  }
  if (!json_path.empty()) {
    std::ofstream out(json_path);
    out << nlohmann::json{{"device", device.name},
                          {"capability", device.capability},
                          {"small", small},
                          {"rows", rows}}
               .dump(1)
        << "\n";
    if (!out.flush()) {
      fmt::print(stderr, "cuda-bench: cannot write {}\n", json_path);
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  CLI::App app("Rates of the CUDA kernels on this machine's device");
  bool small = false;
  std::string json;
  app.add_flag("--small", small, "tiny operands: a check of this program, not a measurement");
  app.add_option("--json", json, "also write the rows there");
  CLI11_PARSE(app, argc, argv);
  try {
    return tessera::run(small, json);
  } catch (const std::exception& error) {
    fmt::print(stderr, "cuda-bench: {}\n", error.what());
    return 1;
  }
}
