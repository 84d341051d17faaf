#include "runtime/train/tensorboard.h"

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

std::string contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::uint32_t word(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, 4);
  return value;
}

TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
}

TEST(Tensorboard, WritesTheBytesOfTheFormat) {
  const std::string directory = ::testing::TempDir() + "/tessera_tensorboard_test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  Result<TensorboardWriter> writer = TensorboardWriter::make(directory, 1.0);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  writer->scalar("loss", 300, 2.5, 3.0);
  ASSERT_TRUE(writer->flush().ok());

  const std::string bytes = contents(writer->path());
  // First record: wall_time 1.0, step 0, file_version.
  const std::string first = std::string("\x09") + std::string("\0\0\0\0\0\0\xf0\x3f", 8) +
                            std::string("\x10\0", 2) + "\x1a\x0d" + "brain.Event:2";
  ASSERT_GE(bytes.size(), 16 + first.size());
  EXPECT_EQ(word(bytes, 0), first.size());
  EXPECT_EQ(bytes.substr(12, first.size()), first);
  EXPECT_EQ(word(bytes, 12 + first.size()), std::rotr(crc32c(first), 15) + 0xa282ead8U);
  // Second: step 300 is the varint ac 02; summary { value { tag "loss", simple_value 2.5 } }.
  const std::string second = std::string("\x09") + std::string("\0\0\0\0\0\0\x08\x40", 8) + "\x10\xac\x02" +
                             "\x2a\x0d" + "\x0a\x0b" + "\x0a\x04" + "loss" + "\x15" +
                             std::string("\0\0\x20\x40", 4);
  EXPECT_EQ(bytes.substr(16 + first.size() + 12, second.size()), second);
  EXPECT_EQ(bytes.size(), 32 + first.size() + second.size());
  std::filesystem::remove_all(directory);
}

TEST(Tensorboard, AMissingDirectoryIsTheUsersError) {
  const Result<TensorboardWriter> writer = TensorboardWriter::make("/nonexistent/tessera", 1.0);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::runtime
