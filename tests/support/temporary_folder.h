/// A folder that is there while the object is.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "algos/base/require.h"

namespace tessera::test {

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& parent = std::filesystem::temp_directory_path().string())
      : path_(parent + "/tessera-test-XXXXXX") {
    TS_REQUIRE(::mkdtemp(path_.data()) != nullptr, path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace tessera::test
