/// A folder that goes with the object.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "algos/base/require.h"

namespace tessera::ttl {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera_ttl_XXXXXX").string();
    TS_REQUIRE(::mkdtemp(name.data()) != nullptr, name);
    path_ = name;
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

}  // namespace tessera::ttl
