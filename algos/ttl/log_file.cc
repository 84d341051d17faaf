#include "algos/ttl/log_file.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <filesystem>
#include <limits>
#include <span>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "algos/base/durable_file.h"
#include "algos/ttl/ledger_log.h"

namespace tessera::ttl {
namespace {

constexpr std::uint64_t kReservedAtOnce = std::uint64_t{1} << 18;

Status failure(const std::string& path, const std::string& what) {
  return write_failure(path, what, std::error_code(errno, std::generic_category()));
}

}  // namespace

Result<FileLock> FileLock::take(const std::string& path) {
  const std::string name = path + ".lock";
  const int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return failure(name, "cannot create");
  FileLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return failure(name, "cannot lock");
  return bad_input({path, "", "a ledger that is open already", "one ledger per file",
                    "end the other program, or share its Ledger between threads"},
                   Code::kUnavailable);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

LogFile::LogFile(std::string path, int descriptor, std::uint64_t end, std::uint64_t next_sequence)
    : path_(std::move(path)),
      descriptor_(descriptor),
      end_(end),
      next_sequence_(next_sequence),
      reserved_(end) {}

Result<LogFile> LogFile::open(const std::string& path, std::uint64_t end, std::uint64_t next_sequence) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return failure(path, "cannot open");
  LogFile file(path, descriptor, end, next_sequence);
  if (::ftruncate(descriptor, static_cast<off_t>(end)) != 0) return failure(path, "cannot truncate");
  if (::fsync(descriptor) != 0) return failure(path, "cannot sync");
  return file;
}

Result<LogFile> LogFile::replace(const std::string& path, Accounts& accounts, bool& changed) {
  changed = false;
  const std::string part = path + ".part";
  std::uint64_t bytes = 0;
  DurableFile snapshot = TS_TRY(DurableFile::create(part));
  const std::uint64_t next_sequence = TS_TRY(write_snapshot(accounts, [&](std::string_view piece) {
    bytes += piece.size();
    return snapshot.write(std::as_bytes(std::span(piece)));
  }));
  TS_TRY(snapshot.finish());
  Result<LogFile> file = open(part, bytes, next_sequence);
  std::error_code error;
  if (file.ok()) std::filesystem::rename(part, path, error);
  if (!file.ok() || error) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    return file.ok() ? write_failure(path, "cannot put in place", error) : file.status();
  }
  changed = true;
  file->path_ = path;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  TS_TRY(sync_directory(parent.empty() ? "." : parent));
  return file;
}

LogFile::LogFile(LogFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      end_(other.end_),
      next_sequence_(other.next_sequence_),
      reserved_(other.reserved_) {}

LogFile& LogFile::operator=(LogFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(end_, other.end_);
  std::swap(next_sequence_, other.next_sequence_);
  std::swap(reserved_, other.reserved_);
  return *this;
}

LogFile::~LogFile() {
  if (descriptor_ < 0) return;
  // Zeros at the end are understood as well: a failure here costs space alone.
  [[maybe_unused]] const int ignored = ::ftruncate(descriptor_, static_cast<off_t>(end_));
  ::close(descriptor_);
}

Status LogFile::reserve(std::uint64_t bytes) {
  if (bytes <= reserved_) return {};
  const std::uint64_t more = std::max(bytes - reserved_, kReservedAtOnce);
  int result = 0;
  do {
    result = ::fallocate(descriptor_, 0, static_cast<off_t>(reserved_), static_cast<off_t>(more));
  } while (result != 0 && errno == EINTR);
  if (result == 0) {
    reserved_ += more;
    return {};
  }
  if (errno != EOPNOTSUPP && errno != ENOSYS) return failure(path_, "cannot reserve room");
  reserved_ = std::numeric_limits<std::uint64_t>::max();
  return {};
}

Status LogFile::append(std::string_view operations) {
  const std::string bytes = frame(FrameType::kOperations, next_sequence_, operations);
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data() + written, bytes.size() - written,
                               static_cast<off_t>(end_ + written));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(path_, "cannot write");
    written += static_cast<std::size_t>(n);
  }
  if (::fdatasync(descriptor_) != 0) return failure(path_, "cannot sync");
  end_ += bytes.size();
  ++next_sequence_;
  return {};
}

}  // namespace tessera::ttl
