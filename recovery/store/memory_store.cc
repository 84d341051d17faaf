#include "recovery/store/memory_store.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include "algos/base/durable_file.h"
#include "algos/base/require.h"

namespace tessera::recovery {
namespace {

namespace fs = std::filesystem;

/// Held by one thread of one process at a time.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    int locked = descriptor_ >= 0 ? ::flock(descriptor_, LOCK_EX) : -1;
    while (locked != 0 && errno == EINTR) locked = ::flock(descriptor_, LOCK_EX);
    if (locked == 0) return;
    status_ = {Code::kIoError,
               fmt::format("{}: cannot lock: {}", path, std::generic_category().message(errno))};
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] const Status& status() const { return status_; }

 private:
  int descriptor_;
  Status status_;
};

/// Files that go away meanwhile do not count.
Status add_bytes(const std::string& folder, std::int64_t& bytes) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code gone;
    if (entry->is_symlink(gone)) continue;
    if (entry->is_directory(gone)) {
      TS_TRY(add_bytes(entry->path().string(), bytes));
      continue;
    }
    const std::uintmax_t size = entry->file_size(gone);
    if (!gone) bytes += static_cast<std::int64_t>(size);
  }
  if (!error || error.value() == ENOENT) return {};
  return {Code::kIoError, fmt::format("{}: cannot list: {}", folder, error.message())};
}

Result<std::int64_t> count_bytes(const std::string& folder) {
  std::int64_t bytes = 0;
  TS_TRY(add_bytes(folder, bytes));
  return bytes;
}

}  // namespace

Result<std::unique_ptr<MemoryStore>> MemoryStore::open(const std::string& root, std::int64_t budget_bytes) {
  TS_REQUIRE(budget_bytes >= 0, budget_bytes);
  std::unique_ptr<MemoryStore> store(new MemoryStore(root, budget_bytes));
  TS_TRY(store->prepare());
  return store;
}

std::string MemoryStore::describe() const {
  return fmt::format("node memory {} ({} MiB)", root(), budget_bytes_ >> 20);
}

Result<std::int64_t> MemoryStore::used_bytes() const {
  const FolderLock lock(lock_path());
  TS_TRY(lock.status());
  return count_bytes(root());
}

/// Counting and reserving are one step for all processes: two that each fit alone do not both pass.
Status MemoryStore::reserve(PartFile& part, const std::string& key, std::int64_t bytes) const {
  const FolderLock lock(lock_path());
  TS_TRY(lock.status());
  std::int64_t used = TS_TRY(count_bytes(root()));
  if (bytes > budget_bytes_ - used) {
    remove_dead_parts(parts());
    used = TS_TRY(count_bytes(root()));
  }
  if (bytes > budget_bytes_ - used) {
    return bad_input(
        {fmt::format("{}: {}", describe(), key), "",
         fmt::format("{} bytes to store beside {} of a budget of {}", bytes, used, budget_bytes_),
         "room in the budget", "remove older snapshots, or give the node's memory a larger budget"},
        Code::kResourceExhausted);
  }
  return part.reserve(bytes);
}

Status MemoryStore::put(const std::string& key, std::span<const Bytes> pieces) {
  std::int64_t bytes = 0;
  for (const Bytes piece : pieces) bytes += static_cast<std::int64_t>(piece.size());
  PartFile part = TS_TRY(start_part(key));
  TS_TRY(reserve(part, key, bytes));
  TS_TRY(fill_part(part, pieces));
  const FolderLock lock(
      lock_path());  // a file that moves while somebody counts is counted twice or not at all
  TS_TRY(lock.status());
  return publish_part(part, key);
}

}  // namespace tessera::recovery
