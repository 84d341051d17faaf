/// TensorBoard event files, without TensorBoard: scalars only.
///
/// File      TFRecord: u64 length, u32 masked crc32c of it, bytes, u32 masked crc32c of them; little endian.
/// Record    protobuf Event: wall_time = 1 (double), step = 2 (int64), file_version = 3 ("brain.Event:2",
/// first
///           record only), summary = 5 { value = 1 { tag = 1, simple_value = 2 (float) } }.
/// Mask      ((crc >> 15) | (crc << 17)) + 0xa282ead8.
/// Source    tensorflow/core/util/event.proto, core/lib/io/record_writer.cc.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "algos/base/status.h"

namespace tessera::runtime {

/// CRC-32C (Castagnoli), as iSCSI uses it: crc32c("123456789") == 0xe3069283.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

class TensorboardWriter {
 public:
  /// A new file events.out.tfevents.<seconds>.tessera.<n> in `directory`, which must exist.
  static Result<TensorboardWriter> make(const std::string& directory, double wall_time_s);

  void scalar(std::string_view tag, std::int64_t step, double value, double wall_time_s);
  /// kResourceExhausted or kIoError when something written so far did not reach the file.
  [[nodiscard]] Status flush();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  TensorboardWriter(std::string path, std::ofstream file) : path_(std::move(path)), file_(std::move(file)) {}
  void record(std::string_view event);
  std::string path_;
  std::ofstream file_;
};

}  // namespace tessera::runtime
