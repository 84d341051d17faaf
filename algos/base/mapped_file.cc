#include "algos/base/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace tessera {

Result<MappedFile> MappedFile::open(const std::string& path, const std::string& expected,
                                    const std::string& remedy) {
  const auto refuse = [&](const std::string& found, Code code) {
    return bad_input({.file = path, .field = "", .found = found, .expected = expected, .remedy = remedy},
                     code);
  };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not block
  if (file < 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    return refuse(absent ? "no such file" : std::strerror(errno), absent ? Code::kNotFound : Code::kIoError);
  }
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return refuse(S_ISDIR(info.st_mode) ? "a directory" : "no regular file", Code::kNotFound);
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {  // an empty mapping is an error to mmap
    ::close(file);
    return MappedFile(std::span<const std::byte>());
  }
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  ::close(file);  // the mapping keeps the file
  if (memory == MAP_FAILED) {
    return refuse(std::string("cannot be mapped: ") + std::strerror(error), Code::kIoError);
  }
  return MappedFile({static_cast<const std::byte*>(memory), size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace tessera
