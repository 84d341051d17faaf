// What is finished is there whole; what fails, or is given up, leaves nothing.
#include "algos/base/durable_file.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

namespace fs = std::filesystem;

class DurableFileTest : public ::testing::Test {
 protected:
  DurableFileTest() {
    std::string name = (fs::temp_directory_path() / "tessera-durable-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~DurableFileTest() override { fs::remove_all(directory_); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  [[nodiscard]] std::string contents(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void make_directory(const std::string& name, const std::string& text) const {
    fs::create_directory(path(name));
    std::ofstream(path(name) + "/file") << text;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  }
  std::string directory_;
};

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// write() past this many bytes fails with EFBIG, as it does with ENOSPC on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_F(DurableFileTest, PiecesBecomeOneFile) {
  const std::string pieces[] = {"one ", "", "two"};
  const std::vector<std::span<const std::byte>> bytes = {bytes_of(pieces[0]), bytes_of(pieces[1]),
                                                         bytes_of(pieces[2])};
  ASSERT_TRUE(write_durably(path("f"), bytes).ok());
  EXPECT_EQ(contents("f"), "one two");
  ASSERT_TRUE(write_durably(path("f"), "short").ok());  // replaces, does not overlay
  EXPECT_EQ(contents("f"), "short");
}

TEST_F(DurableFileTest, AFileGivenUpIsGone) {
  {
    Result<DurableFile> file = DurableFile::create(path("f"));
    ASSERT_TRUE(file.ok()) << file.status().message();
    const DurableFile moved = std::move(file).value();
    EXPECT_TRUE(fs::exists(path("f")));
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(DurableFileTest, AFullDiskLeavesNothing) {
  const std::string text(5000, 'x');
  const FileSizeLimit limit(4096);
  const Status status = write_durably(path("f"), text);
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_NE(status.message().find(path("f")), std::string::npos);
  EXPECT_TRUE(names().empty());
}

TEST_F(DurableFileTest, ADeviceIsWrittenToAndStays) {
  // Under names of the test's own: if they were removed, the devices would not be.
  fs::create_symlink("/dev/null", path("null"));
  fs::create_symlink("/dev/full", path("full"));
  EXPECT_TRUE(write_durably(path("null"), "text").ok());
  EXPECT_EQ(write_durably(path("full"), "text").code(), Code::kResourceExhausted);
  EXPECT_EQ(names().size(), 2U);
}

TEST_F(DurableFileTest, APlaceThatCannotBeIsTheUsersMistake) {
  ASSERT_TRUE(write_durably(path("f"), "text").ok());
  for (const std::string& place : {path("f") + "/below_a_file", path("none/f"), directory_}) {
    EXPECT_EQ(write_durably(place, "text").code(), Code::kInvalidArgument) << place;
  }
  EXPECT_EQ(sync_directory(path("none")).code(), Code::kInvalidArgument);
}

TEST_F(DurableFileTest, WriteFailureTellsThreeKindsApart) {
  const auto code = [](int error) {
    return write_failure("f", "cannot write", std::error_code(error, std::generic_category())).code();
  };
  EXPECT_EQ(code(ENOSPC), Code::kResourceExhausted);
  EXPECT_EQ(code(EDQUOT), Code::kResourceExhausted);
  EXPECT_EQ(code(EACCES), Code::kInvalidArgument);
  EXPECT_EQ(code(EIO), Code::kIoError);
}

TEST_F(DurableFileTest, ADirectoryTakesTheOthersPlace) {
  make_directory("part", "first");
  ASSERT_TRUE(replace_directory(path("part"), path("final")).ok());
  EXPECT_EQ(contents("final/file"), "first");
  make_directory("part", "second");
  ASSERT_TRUE(replace_directory(path("part"), path("final")).ok());
  EXPECT_EQ(contents("final/file"), "second");
  EXPECT_EQ(names(), std::vector<std::string>{"final"});
}

TEST_F(DurableFileTest, ADirectoryThatCannotBeReplacedStays) {
  make_directory("part", "second");
  make_directory("final", "first");
  make_directory("part.old", "in the way");  // moving aside onto a directory that is not empty fails
  EXPECT_FALSE(replace_directory(path("part"), path("final")).ok());
  EXPECT_EQ(contents("final/file"), "first");
  EXPECT_EQ(contents("part/file"), "second");
}

}  // namespace
}  // namespace tessera
