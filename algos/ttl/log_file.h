/// The file under a ledger: locked, appended to in whole frames, each on the disk before the next begins.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "algos/base/status.h"
#include "algos/ttl/accounts.h"

namespace tessera::ttl {

/// An exclusive lock on `path`.lock, held until destruction or the end of the process; the file stays.
class FileLock {
 public:
  /// Errors    kUnavailable when another ledger holds it; else as write_failure (durable_file.h).
  static Result<FileLock> take(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

class LogFile {
 public:
  /// Goes on after `end`: what lies behind is cut off, on the disk.
  static Result<LogFile> open(const std::string& path, std::uint64_t end, std::uint64_t next_sequence);

  /// A snapshot of `accounts` takes the name `path`, whole or not at all. Until then it is `path`.part: a
  /// failure before the change of names leaves the old file as it was, with `changed` false.
  static Result<LogFile> replace(const std::string& path, Accounts& accounts, bool& changed);

  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&& other) noexcept;
  /// Gives reserved space back.
  ~LogFile();

  /// Room on the disk for the file to grow to `bytes`, so that a full disk shows here and not in append().
  /// On file systems without reservations it only shows there.
  /// Errors    as write_failure (durable_file.h); nothing has changed.
  [[nodiscard]] Status reserve(std::uint64_t bytes);

  /// Writes one frame of operations and waits for the disk. After a failure the file must not be appended to:
  /// what the system kept of the frame is unknown. May run beside reserve().
  [[nodiscard]] Status append(std::string_view operations);

  /// Bytes up to the last frame that append() finished.
  [[nodiscard]] std::uint64_t size() const { return end_; }

 private:
  LogFile(std::string path, int descriptor, std::uint64_t end, std::uint64_t next_sequence);
  std::string path_;
  int descriptor_;
  std::uint64_t end_;
  std::uint64_t next_sequence_;
  std::uint64_t reserved_;
};

}  // namespace tessera::ttl
