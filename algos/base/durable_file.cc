#include "algos/base/durable_file.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace tessera {
namespace {

namespace fs = std::filesystem;

Status failure(const std::string& path, const std::string& what) {
  return write_failure(path, what, std::error_code(errno, std::generic_category()));
}

}  // namespace

Status write_failure(const std::string& path, const std::string& what, const std::error_code& error) {
  const std::string found = what + ": " + error.message();
  for (const int code : {ENOSPC, EDQUOT, EFBIG}) {
    if (error.value() == code) {
      return bad_input({path, "", found, "room to write", "free space there or choose another place"},
                       Code::kResourceExhausted);
    }
  }
  for (const int code : {EACCES, EPERM, EROFS, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG}) {
    if (error.value() == code) {
      return bad_input({path, "", found, "a place that can be written to", "choose another place"});
    }
  }
  return bad_input({path, "", found, "a disk that works", "look at the system's log"}, Code::kIoError);
}

Result<DurableFile> DurableFile::create(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) return failure(path, "cannot create");
  struct stat info {};
  const bool regular = ::fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
  return DurableFile(path, descriptor, regular);
}

DurableFile::DurableFile(DurableFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      regular_(other.regular_) {}

DurableFile::~DurableFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  remove();
}

void DurableFile::remove() const {
  if (regular_) ::unlink(path_.c_str());
}

Status DurableFile::write(std::span<const std::byte> bytes) {
  constexpr std::size_t kPiece = std::size_t{1} << 26;  // below what one write() takes on any system
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(path_, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status DurableFile::finish() {
  if (regular_ && ::fsync(descriptor_) != 0) return failure(path_, "cannot sync");
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed == 0) return {};
  Status status = failure(path_, "cannot close");
  remove();
  return status;
}

Status write_durably(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
  DurableFile file = TS_TRY(DurableFile::create(path));
  for (const auto& piece : pieces) TS_TRY(file.write(piece));
  return file.finish();
}

Status write_durably(const std::string& path, const std::string& text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  return write_durably(path, {&bytes, 1});
}

Status replace_durably(const std::string& path, const std::string& text) {
  const fs::path target(path);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const std::string part = (folder / ("." + target.filename().string() + ".part")).string();
  TS_TRY(write_durably(part, text));
  std::error_code error;
  fs::rename(part, path, error);
  if (!error) return sync_directory(folder.string());
  std::error_code ignored;
  fs::remove(part, ignored);
  return write_failure(path, "cannot put in place", error);
}

Status sync_directory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return failure(path, "cannot sync");
  const bool synced = ::fsync(directory) == 0 || errno == EINVAL;
  Status status = synced ? Status() : failure(path, "cannot sync");
  ::close(directory);
  return status;
}

Status replace_directory(const std::string& part, const std::string& directory) {
  TS_TRY(sync_directory(part));
  const std::string aside = part + ".old";
  std::error_code error;
  const bool existed = fs::exists(directory, error);
  if (existed) {
    fs::rename(directory, aside, error);
    if (error) return write_failure(directory, "cannot move aside", error);
  }
  fs::rename(part, directory, error);
  if (error) {
    std::error_code ignored;
    if (existed) fs::rename(aside, directory, ignored);
    return write_failure(directory, "cannot put in place", error);
  }
  const std::string parent = fs::path(directory).parent_path().string();
  TS_TRY(sync_directory(parent.empty() ? "." : parent));
  fs::remove_all(aside, error);  // what stays costs space, nothing else
  return {};
}

}  // namespace tessera
