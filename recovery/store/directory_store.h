/// DirectoryStore: a folder of a local or shared file system. What put() has returned for survives a loss of
/// power: data and names are synced before.
///
///   ROOT/job/step-00000200/node-a.rank-0000-0.pack    the object of that key
///   ROOT/~parts/5d1c…                                 being written; '~' is in no key
///
/// Parts of dead writers are removed when a store is opened on the folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "recovery/store/part_file.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

class DirectoryStore : public Store {
 public:
  /// Makes the folder where it is not there.
  /// Errors    kInvalidArgument and others of write_failure (algos/base/durable_file.h).
  static Result<std::unique_ptr<DirectoryStore>> open(const std::string& root);

  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override;
  [[nodiscard]] Result<std::int64_t> size(const std::string& key) override;
  [[nodiscard]] Status read(const std::string& key, std::int64_t offset, std::span<std::byte> into) override;
  [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override;
  /// Folders that it leaves empty go too.
  [[nodiscard]] Status remove(const std::string& key) override;

 protected:
  enum class Keeping : std::uint8_t {
    kThroughPowerLoss,  // everything is synced; who may read is the umask's choice
    kWhileRunning,      // nothing is synced; only the owner may read
  };
  DirectoryStore(std::string root, Keeping keeping) : root_(std::move(root)), keeping_(keeping) {}

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] std::string parts() const { return root_ + "/~parts"; }
  [[nodiscard]] std::string path(const std::string& key) const { return root_ + "/" + key; }
  /// Root and parts folder are there, dead parts are not.
  [[nodiscard]] Status prepare() const;

  // put() is these three, one after the other.
  [[nodiscard]] Result<PartFile> start_part(const std::string& key) const;
  [[nodiscard]] Status fill_part(PartFile& part, std::span<const Bytes> pieces) const;
  [[nodiscard]] Status publish_part(PartFile& part, const std::string& key) const;

 private:
  [[nodiscard]] Status make_folders(const std::string& path) const;
  std::string root_;
  Keeping keeping_;
};

}  // namespace tessera::recovery
