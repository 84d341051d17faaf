// Token files, written here byte by byte as the formats say, well-formed and malformed.
#include "runtime/data/token_source.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

template <class T>
std::string packed(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct MegatronIndex {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  std::uint64_t version = 1;
  std::uint8_t type = 8;  // u16
  std::vector<std::int32_t> lengths = {3, 2};
  std::vector<std::int64_t> pointers = {0, 6};
  std::vector<std::int64_t> documents = {0, 1, 2};
  std::uint64_t more_sequences = 0;
  [[nodiscard]] std::string bytes() const {
    return magic + packed<std::uint64_t>({version}) + packed<std::uint8_t>({type}) +
           packed<std::uint64_t>({lengths.size() + more_sequences, documents.size()}) + packed(lengths) +
           packed(pointers) + packed(documents);
  }
};

class TokenFiles : public testing::Test {
 protected:
  TokenFiles() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-tokens-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~TokenFiles() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& bytes) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static std::vector<std::int32_t> all(const TokenSource& source) {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(source.tokens()));
    source.read(0, tokens);
    return tokens;
  }
  static void expect_refused(const std::string& path, const std::vector<std::string>& parts) {
    const auto source = open_token_source(path);
    ASSERT_FALSE(source.ok()) << path;
    for (const std::string& part : parts) {
      EXPECT_NE(source.status().message().find(part), std::string::npos)
          << "no \"" << part << "\" in: " << source.status().message();
    }
  }
  std::string directory_;
};

TEST_F(TokenFiles, TextIsItsBytes) {
  const auto source = open_token_source(write("a.txt", "A\xc3\xa9\n")).value();
  EXPECT_EQ(all(*source), (std::vector<std::int32_t>{65, 0xc3, 0xa9, 10}));
  EXPECT_EQ(source->document_starts().size(), 1U);
  EXPECT_TRUE(check_vocabulary(*source, 256).ok());
}

TEST_F(TokenFiles, MegatronByAnyOfItsNames) {
  write("d.bin", packed<std::uint16_t>({7, 8, 65535, 1, 2}));
  write("d.idx", MegatronIndex().bytes());
  for (const char* name : {"/d.bin", "/d.idx", "/d"}) {
    const auto source = open_token_source(directory_ + name).value();
    EXPECT_EQ(all(*source), (std::vector<std::int32_t>{7, 8, 65535, 1, 2})) << name;
    const auto starts = source->document_starts();
    EXPECT_EQ(std::vector<std::int64_t>(starts.begin(), starts.end()), (std::vector<std::int64_t>{0, 3}));
  }
}

TEST_F(TokenFiles, MegatronDropsEmptyDocumentsAndReadsWideTokens) {
  MegatronIndex index;
  index.type = 5;  // i64
  index.lengths = {0, 2, 0, 1, 0};
  index.pointers = {0, 0, 16, 16, 24};
  index.documents = {0, 1, 3, 4, 5};
  write("e.idx", index.bytes());
  const std::int64_t huge = std::int64_t{1} << 40;
  const auto source = open_token_source(write("e.bin", packed<std::int64_t>({5, huge, -3}))).value();
  const auto starts = source->document_starts();
  EXPECT_EQ(std::vector<std::int64_t>(starts.begin(), starts.end()), (std::vector<std::int64_t>{0, 2}));
  const Status outside = check_vocabulary(*source, 100);
  ASSERT_FALSE(outside.ok());
  EXPECT_NE(outside.message().find("token 1"), std::string::npos) << outside.message();
  EXPECT_NE(outside.message().find("vocab_size is 100"), std::string::npos) << outside.message();
}

TEST_F(TokenFiles, MalformedMegatronIsRefused) {
  write("m.bin", packed<std::uint16_t>({7, 8, 9, 1, 2}));
  const auto refuse = [&](const std::string& idx, const std::vector<std::string>& parts) {
    expect_refused(write("m.idx", idx), parts);
  };
  MegatronIndex bad;
  bad.version = 2;
  refuse(bad.bytes(), {"m.idx: version", "2", "expected  1"});
  bad = {};
  bad.type = 6;  // f64
  refuse(bad.bytes(), {"type code", "6", "8 (u16)"});
  bad = {};
  bad.more_sequences = std::uint64_t{1} << 62;
  refuse(bad.bytes(), {"length", "sequences"});
  bad = {};
  bad.lengths[1] = 3;
  refuse(bad.bytes(), {"sequence_lengths[1]", "3 tokens", "0 to 2"});
  bad = {};
  bad.lengths[1] = -1;
  refuse(bad.bytes(), {"sequence_lengths[1]", "-1"});
  bad = {};
  bad.lengths[1] = 1;
  refuse(bad.bytes(), {"sequence_lengths", "8 bytes", "10 bytes"});
  bad = {};
  bad.pointers[1] = 4;
  refuse(bad.bytes(), {"sequence_pointers[1]", "4", "6"});
  bad = {};
  bad.documents = {1, 2};
  refuse(bad.bytes(), {"document_indices[0]", "0"});
  bad.documents = {0, 2, 1};
  refuse(bad.bytes(), {"document_indices[2]", "1", "2"});
  bad.documents = {0, 1, 3};
  refuse(bad.bytes(), {"document_indices[2]", "3"});
  bad.documents = {};
  refuse(bad.bytes(), {"document_indices", "none"});
  const std::string whole = MegatronIndex().bytes();
  for (std::size_t length = 9; length < whole.size(); ++length) refuse(whole.substr(0, length), {"m.idx"});
}

TEST_F(TokenFiles, LlmcOfBothVersions) {
  std::vector<std::int32_t> header(256);
  header[0] = 20240520;
  header[1] = 1;
  header[2] = 2;
  const std::string gpt2 = packed(header) + packed<std::uint16_t>({50256, 3});
  EXPECT_EQ(all(*open_token_source(write("g.bin", gpt2)).value()), (std::vector<std::int32_t>{50256, 3}));
  expect_refused(write("g.bin", gpt2.substr(0, gpt2.size() - 1)), {"length", "1027 bytes", "1028 bytes"});
  expect_refused(write("g.bin", gpt2.substr(0, 100)), {"header", "100 bytes", "1024"});
  header[2] = -1;
  expect_refused(write("g.bin", packed(header)), {"token count", "-1"});
  header[1] = 9;
  expect_refused(write("g.bin", packed(header)), {"version", "9", "1 (GPT-2"});
  header[0] = 20240801;
  header[1] = 7;
  header[2] = 2;
  const std::string llama = packed(header) + packed<std::uint32_t>({128000, 4000000000U});
  const auto source = open_token_source(write("l.bin", llama)).value();
  EXPECT_EQ(all(*source), (std::vector<std::int32_t>{128000, 2147483647}));
  EXPECT_FALSE(check_vocabulary(*source, 128256).ok());
}

TEST_F(TokenFiles, OtherFilesAreRefused) {
  expect_refused(directory_ + "/absent", {"absent", "no such file", "prepare_data.py"});
  expect_refused(directory_, {"a directory"});
  expect_refused(write("empty", ""), {"an empty file"});
  expect_refused(write("raw.bin", packed<std::uint16_t>({1, 2})), {"a zero byte at offset 1", ".idx"});
}

}  // namespace
}  // namespace tessera::runtime
