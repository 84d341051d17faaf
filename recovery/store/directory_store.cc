#include "recovery/store/directory_store.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "recovery/store/store_checks.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;

std::error_code last_error() { return {errno, std::generic_category()}; }

bool says_absent(int error) { return error == ENOENT || error == ENOTDIR; }

Status read_failure(const std::string& path, const std::string& what) {
  return {Code::kIoError, fmt::format("{}: {}: {}", path, what, last_error().message())};
}

std::string parent_of(const std::string& path) { return fs::path(path).parent_path().string(); }

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

/// A folder that is gone was empty: what this call was to make durable has been removed.
Status sync_folder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return errno == ENOENT ? Status() : write_failure(path, "cannot sync", last_error());
  const bool synced =
      ::fsync(folder.get()) == 0 || errno == EINVAL;  // EINVAL: a file system without the call
  return synced ? Status() : write_failure(path, "cannot sync", last_error());
}

/// Appends the keys below `folder`, whose own key with its slash is `prefix`. A folder that goes away
/// meanwhile holds nothing.
Status walk(const std::string& folder, const std::string& prefix, std::vector<std::string>& keys) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!is_key_part(name)) continue;
    std::error_code gone;
    const fs::file_type type = entry->symlink_status(gone).type();
    if (type == fs::file_type::directory) TS_TRY(walk(folder + "/" + name, prefix + name + "/", keys));
    if (type == fs::file_type::regular) keys.push_back(prefix + name);
  }
  if (!error || says_absent(error.value())) return {};
  return {Code::kIoError, fmt::format("{}: cannot list: {}", folder, error.message())};
}

}  // namespace

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::open(const std::string& root) {
  std::unique_ptr<DirectoryStore> store(new DirectoryStore(root, Keeping::kThroughPowerLoss));
  TS_TRY(store->prepare());
  return store;
}

Status DirectoryStore::prepare() const {
  TS_TRY(make_folders(root_));
  TS_TRY(make_folders(parts()));
  remove_dead_parts(parts());
  return {};
}

std::string DirectoryStore::describe() const { return "directory " + root_; }

/// The folder and what is missing above it, each synced into the one above.
Status DirectoryStore::make_folders(const std::string& path) const {
  const bool durable = keeping_ == Keeping::kThroughPowerLoss;
  for (;;) {
    if (::mkdir(path.c_str(), durable ? 0777 : 0700) == 0) break;
    if (errno == EEXIST) {
      struct stat info {};
      const int looked = ::stat(path.c_str(), &info);
      if (looked == 0 && S_ISDIR(info.st_mode)) return {};
      if (looked != 0 && errno == ENOENT) continue;  // it went away between the two calls
      errno = ENOTDIR;
    }
    const std::string parent = parent_of(path);
    if (errno != ENOENT || parent.empty() || parent == path) {
      return write_failure(path, "cannot make the folder", last_error());
    }
    TS_TRY(make_folders(parent));
  }
  const std::string parent = parent_of(path);
  return durable ? sync_folder(parent.empty() ? "." : parent) : Status();
}

Result<PartFile> DirectoryStore::start_part(const std::string& key) const {
  TS_TRY(check_key(key));
  Result<PartFile> part = PartFile::create(parts(), path(key), keeping_ == Keeping::kWhileRunning);
  if (part.ok() || fs::exists(parts())) return part;
  TS_TRY(make_folders(parts()));  // somebody emptied the folder: the store goes on
  return PartFile::create(parts(), path(key), keeping_ == Keeping::kWhileRunning);
}

Status DirectoryStore::fill_part(PartFile& part, std::span<const Bytes> pieces) const {
  for (const Bytes piece : pieces) TS_TRY(part.write(piece));
  return keeping_ == Keeping::kThroughPowerLoss ? part.sync() : Status();
}

Status DirectoryStore::publish_part(PartFile& part, const std::string& key) const {
  const std::string place = path(key);
  const std::string folder = parent_of(place);
  constexpr int kTries =
      100;  // remove() of a folder's last object takes the folder away; it cannot win forever
  Status status;
  for (int i = 0; i < kTries; ++i) {
    TS_TRY(make_folders(folder));
    status = part.publish(place);
    if (status.code() != Code::kNotFound) break;
  }
  if (status.code() == Code::kNotFound) return {Code::kUnavailable, status.message()};
  TS_TRY(status);
  if (keeping_ != Keeping::kThroughPowerLoss) return {};
  // Also the folders that another writer has just made and not synced yet.
  for (std::string name = parent_of(key);; name = parent_of(name)) {
    TS_TRY(sync_folder(path(name)));
    if (name.empty()) return {};
  }
}

Status DirectoryStore::put(const std::string& key, std::span<const Bytes> pieces) {
  PartFile part = TS_TRY(start_part(key));
  TS_TRY(fill_part(part, pieces));
  return publish_part(part, key);
}

Result<std::int64_t> DirectoryStore::size(const std::string& key) {
  TS_TRY(check_key(key));
  struct stat info {};
  if (::stat(path(key).c_str(), &info) != 0) {
    if (says_absent(errno)) return no_object(*this, key);
    return read_failure(path(key), "cannot look at");
  }
  if (!S_ISREG(info.st_mode)) return no_object(*this, key);
  return static_cast<std::int64_t>(info.st_size);
}

Status DirectoryStore::read(const std::string& key, std::int64_t offset, std::span<std::byte> into) {
  TS_TRY(check_read(key, offset, into.size()));
  const Descriptor file(::open(path(key).c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    return says_absent(errno) ? no_object(*this, key) : read_failure(path(key), "cannot open");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return read_failure(path(key), "cannot look at");
  if (!S_ISREG(info.st_mode)) return no_object(*this, key);
  if (offset + static_cast<std::int64_t>(into.size()) > info.st_size) {
    return too_short(*this, key, info.st_size, offset, into.size());
  }
  while (!into.empty()) {
    const ssize_t n = ::pread(file.get(), into.data(), into.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return read_failure(path(key), "cannot read");
    if (n == 0) return too_short(*this, key, offset, offset, into.size());  // cut while being read
    into = into.subspan(static_cast<std::size_t>(n));
    offset += n;
  }
  return {};
}

Result<std::vector<std::string>> DirectoryStore::list(std::string_view prefix) {
  TS_TRY(check_key_prefix(prefix));
  std::vector<std::string> keys;
  const std::string below(prefix);
  TS_TRY(walk(root_ + "/" + below, below, keys));
  std::sort(keys.begin(), keys.end());
  return keys;
}

Status DirectoryStore::remove(const std::string& key) {
  TS_TRY(check_key(key));
  if (::unlink(path(key).c_str()) != 0 && !says_absent(errno) && errno != EISDIR && errno != EPERM) {
    return write_failure(path(key), "cannot remove", last_error());
  }
  for (std::string folder = parent_of(key); !folder.empty(); folder = parent_of(folder)) {
    if (::rmdir(path(folder).c_str()) != 0) break;  // not empty, or gone
  }
  return {};
}

}  // namespace tessera::recovery
