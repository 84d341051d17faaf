/// A file's bytes, memory-mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "algos/base/status.h"

namespace tessera {

/// Pages are read on first use and shared between processes. Another program that shortens the file while
/// it is mapped ends this one with SIGBUS: token files and checkpoints are replaced, not edited.
class MappedFile {
 public:
  /// Errors    kNotFound for a path that names no regular file, kIoError when the system refuses it;
  ///           `expected` and `remedy` complete the message ("a config.json", "name the ...").
  static Result<MappedFile> open(const std::string& path, const std::string& expected,
                                 const std::string& remedy);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace tessera
