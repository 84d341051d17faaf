/// Files and directories that are there whole after a crash, or not at all.
///
/// Here because model directories, checkpoints and reports are written by different modules with one promise:
/// what has its final name is complete and on the disk, and a failure leaves nothing behind.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <system_error>

#include "algos/base/status.h"

namespace tessera {

/// What the system said about writing at `path`, with what to do about it.
/// kResourceExhausted when the disk, a quota or a size limit is reached; kInvalidArgument when the place that
/// was named cannot be written to (permission, no directory, read-only); else kIoError.
[[nodiscard]] Status write_failure(const std::string& path, const std::string& what,
                                   const std::error_code& error);

/// One file, written from front to back. Removed again unless finish() has succeeded; a device or a pipe of
/// that name is written to and stays.
class DurableFile {
 public:
  /// An existing file is replaced.
  static Result<DurableFile> create(const std::string& path);
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&&) = delete;
  ~DurableFile();

  [[nodiscard]] Status write(std::span<const std::byte> bytes);
  /// fsync and close.
  [[nodiscard]] Status finish();

 private:
  DurableFile(std::string path, int descriptor, bool regular)
      : path_(std::move(path)), descriptor_(descriptor), regular_(regular) {}
  void remove() const;
  std::string path_;
  int descriptor_;
  bool regular_;
};

/// The pieces one after the other, as one file.
[[nodiscard]] Status write_durably(const std::string& path,
                                   std::span<const std::span<const std::byte>> pieces);
[[nodiscard]] Status write_durably(const std::string& path, const std::string& text);

/// `text` is what is at `path`, durably; readers see the former file or this one, never a part. Written
/// beside it as .NAME.part first.
[[nodiscard]] Status replace_durably(const std::string& path, const std::string& text);

/// fsync of a directory, so that a creation or a rename in it survives. Where a file system has no such call
/// for directories there is nothing to do.
[[nodiscard]] Status sync_directory(const std::string& path);

/// Puts the finished directory `part` where `directory` is, durably; both have the same parent. What was
/// there moves aside to `part`.old first, comes back when the rename fails, and is removed at the end: one of
/// the two is always there whole.
[[nodiscard]] Status replace_directory(const std::string& part, const std::string& directory);

}  // namespace tessera
