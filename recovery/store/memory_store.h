/// MemoryStore: the memory of a node, as files in a folder of a memory file system (/dev/shm). They outlive
/// the process, not the node. All processes of the node that open the folder share one budget, counted from
/// the files themselves, so that it holds whoever dies when.
///
/// put() that would exceed the budget is kResourceExhausted and changes nothing; what to remove is the
/// caller's choice. An object that is replaced counts until the new one is whole.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "recovery/store/directory_store.h"

namespace tessera::recovery {

class MemoryStore final : public DirectoryStore {
 public:
  /// Makes the folder where it is not there. Only the owner may read what is put.
  static Result<std::unique_ptr<MemoryStore>> open(const std::string& root, std::int64_t budget_bytes);

  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override;

  /// Bytes of all files in the folder, those being written included.
  [[nodiscard]] Result<std::int64_t> used_bytes() const;
  [[nodiscard]] std::int64_t budget_bytes() const { return budget_bytes_; }

 private:
  MemoryStore(std::string root, std::int64_t budget_bytes)
      : DirectoryStore(std::move(root), Keeping::kWhileRunning), budget_bytes_(budget_bytes) {}
  [[nodiscard]] std::string lock_path() const { return root() + "/~lock"; }
  [[nodiscard]] Status reserve(PartFile& part, const std::string& key, std::int64_t bytes) const;
  std::int64_t budget_bytes_;
};

}  // namespace tessera::recovery
