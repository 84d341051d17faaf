#include "recovery/store/part_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <random>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "algos/base/durable_file.h"

namespace tessera::recovery {
namespace {

/// Names never come back, so a name that was looked at is still the file that was looked at.
std::string random_name() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

bool has_name(int descriptor) {
  struct stat info {};
  return ::fstat(descriptor, &info) == 0 && info.st_nlink > 0;
}

}  // namespace

Result<PartFile> PartFile::create(const std::string& folder, const std::string& name, bool only_owner) {
  for (;;) {
    const std::string path = folder + "/" + random_name();
    const int descriptor =
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, only_owner ? 0600 : 0666);
    if (descriptor < 0) {
      if (errno == EEXIST) continue;
      return write_failure(name, "cannot create", std::error_code(errno, std::generic_category()));
    }
    PartFile part(descriptor, path, name);
    // Without locks in the file system nobody can take one, and nobody removes the file.
    while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
    }
    if (has_name(descriptor)) return part;  // else removed as a dead writer's between the two calls
  }
}

PartFile::PartFile(PartFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::exchange(other.path_, {})),
      name_(std::move(other.name_)) {}

PartFile::~PartFile() {
  if (descriptor_ < 0) return;
  if (!path_.empty()) ::unlink(path_.c_str());
  ::close(descriptor_);
}

Status PartFile::failure(const char* what) const {
  return write_failure(name_, what, std::error_code(errno, std::generic_category()));
}

Status PartFile::reserve(std::int64_t bytes) {
  if (bytes == 0 || ::fallocate(descriptor_, 0, 0, bytes) == 0) return {};
  if (errno != EOPNOTSUPP) return failure("cannot reserve room");
  return ::ftruncate(descriptor_, bytes) == 0 ? Status() : failure("cannot reserve room");
}

Status PartFile::write(Bytes bytes) {
  constexpr std::size_t kPiece = std::size_t{1} << 26;  // below what one write() takes on any system
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure("cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status PartFile::sync() { return ::fsync(descriptor_) == 0 ? Status() : failure("cannot sync"); }

Status PartFile::publish(const std::string& path) {
  if (std::rename(path_.c_str(), path.c_str()) == 0) {
    path_.clear();
    return {};
  }
  if (errno == ENOENT) return {Code::kNotFound, "the folder of " + path + " is not there"};
  return failure("cannot put in place");
}

void remove_dead_parts(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const int descriptor = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) continue;
    // Under the lock the file has no writer; one that has just created it sees that its name is gone.
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
    ::close(descriptor);
  }
}

}  // namespace tessera::recovery
