#include "runtime/train/durable_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace tessera::runtime {
namespace {

Status system_error(const std::string& path, const char* what) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return {full ? Code::kResourceExhausted : Code::kIoError,
          fmt::format("{}: {}: {}", path, what, std::strerror(error))};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

Status write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  constexpr std::size_t kPiece = std::size_t{1} << 26;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Status write_durably(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
  Status status;
  {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file.valid()) return system_error(path, "cannot create");
    for (const auto& piece : pieces) {
      status = write_all(file.get(), piece, path);
      if (!status.ok()) break;
    }
    if (status.ok() && ::fsync(file.get()) != 0) status = system_error(path, "cannot sync");
  }
  if (!status.ok()) ::unlink(path.c_str());
  return status;
}

Status sync_directory(const std::string& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return system_error(path, "cannot sync");
  return {};
}

}  // namespace tessera::runtime
