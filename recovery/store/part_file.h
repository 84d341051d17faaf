/// PartFile: an object that is being written. It lies in a folder of its own until it is whole, locked by its
/// writer: what a dead writer left is known by its lock being free, on this host and on a shared file system.
#pragma once

#include <cstdint>
#include <string>

#include "algos/base/status.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

class PartFile {
 public:
  /// A new file in `folder`, which exists; `name` is what messages call it.
  static Result<PartFile> create(const std::string& folder, const std::string& name, bool only_owner);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  /// Removes the file unless it has been published.
  ~PartFile();

  /// Takes the space at once: size and blocks.
  [[nodiscard]] Status reserve(std::int64_t bytes);
  [[nodiscard]] Status write(Bytes bytes);
  [[nodiscard]] Status sync();
  /// Renames it to `path`, replacing what is there. kNotFound: the folder of `path` is not there (any more);
  /// make it and try again.
  [[nodiscard]] Status publish(const std::string& path);

 private:
  PartFile(int descriptor, std::string path, std::string name)
      : descriptor_(descriptor), path_(std::move(path)), name_(std::move(name)) {}
  [[nodiscard]] Status failure(const char* what) const;
  int descriptor_;
  std::string path_;  // empty once published
  std::string name_;
};

/// Removes the files in `folder` whose writers are dead.
void remove_dead_parts(const std::string& folder);

}  // namespace tessera::recovery
