#include "kernels/device/cuda_stream.h"

#include <utility>

#include "kernels/device/cuda_check.h"

namespace tessera::kernels {
namespace {

/// True, false for "not yet"; throws for anything else.
bool is_done(cudaError_t code, const char* call, int line) {
  if (code == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  if (code != cudaSuccess) throw CudaError(code, call, __FILE__, line);
  return true;
}

}  // namespace

Stream::Stream() { TS_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
Stream::Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}
Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}
void Stream::synchronize() const { TS_CUDA(cudaStreamSynchronize(stream_)); }
bool Stream::idle() const { return is_done(cudaStreamQuery(stream_), "cudaStreamQuery", __LINE__); }

Event::Event() { TS_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
Event& Event::operator=(Event&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}
Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}
void Event::record(CudaStream stream) const { TS_CUDA(cudaEventRecord(event_, stream)); }
void Event::make_wait(CudaStream stream) const { TS_CUDA(cudaStreamWaitEvent(stream, event_, 0)); }
void Event::synchronize() const { TS_CUDA(cudaEventSynchronize(event_)); }
bool Event::reached() const { return is_done(cudaEventQuery(event_), "cudaEventQuery", __LINE__); }

Timer::Timer() {
  TS_CUDA(cudaEventCreate(&start_));
  const cudaError_t code = cudaEventCreate(&stop_);
  if (code == cudaSuccess) return;
  cudaEventDestroy(start_);
  throw CudaError(code, "cudaEventCreate", __FILE__, __LINE__);
}
Timer::~Timer() {
  cudaEventDestroy(start_);
  cudaEventDestroy(stop_);
}
void Timer::start(CudaStream stream) const { TS_CUDA(cudaEventRecord(start_, stream)); }
void Timer::stop(CudaStream stream) const { TS_CUDA(cudaEventRecord(stop_, stream)); }
double Timer::seconds() const {
  float milliseconds = 0;
  TS_CUDA(cudaEventSynchronize(stop_));
  TS_CUDA(cudaEventElapsedTime(&milliseconds, start_, stop_));
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace tessera::kernels
