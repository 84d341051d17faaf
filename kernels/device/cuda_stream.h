/// Streams and events that end with their owners. Move-only; made on the calling thread's device.
#pragma once

#include "kernels/device/cuda_types.h"

namespace tessera::kernels {

/// Does not wait for the default stream, nor that for it. Destroying it lets its work finish in the
/// background.
class Stream {
 public:
  Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  [[nodiscard]] CudaStream get() const { return stream_; }
  /// Returns when all work given so far is done; throws CudaError of whatever failed in it.
  void synchronize() const;
  [[nodiscard]] bool idle() const;

 private:
  CudaStream stream_ = nullptr;
};

/// A point in a stream's work. Not for timing; Timer below is.
class Event {
 public:
  Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();

  void record(CudaStream stream) const;
  /// What is given to `stream` from here on starts after the recorded point; the host goes on.
  void make_wait(CudaStream stream) const;
  void synchronize() const;
  [[nodiscard]] bool reached() const;

 private:
  CudaEvent event_ = nullptr;
};

/// Time on the device between two points of one stream.
class Timer {
 public:
  Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  void start(CudaStream stream) const;
  void stop(CudaStream stream) const;
  /// Waits for stop.
  [[nodiscard]] double seconds() const;

 private:
  CudaEvent start_ = nullptr;
  CudaEvent stop_ = nullptr;
};

}  // namespace tessera::kernels
