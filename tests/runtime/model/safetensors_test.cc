// The container alone: what is written is read in each storage type, and each way a file can be malformed is
// refused with the place, what was found and what was expected.
#include "runtime/model/safetensors.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

/// Length, header text and `data_bytes` of data, as one file.
std::string container(const std::string& header, std::size_t data_bytes) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + std::string(data_bytes, 'x');
}

std::string with_length(std::uint64_t length, std::string file) {
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i) & 0xff);
  return file;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(": {"dtype": ")" + dtype + R"(", "shape": )" + shape + R"(, "data_offsets": )" +
         offsets + "}";
}

Result<SafetensorsHeader> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "m.safetensors");
}

struct Malformed {
  const char* what;
  std::string file;
  std::vector<std::string> parts;  // of the message, besides file name and remedy
};

TEST(Safetensors, MalformedFilesAreRefusedWithTheReason) {
  const std::string a = tensor("a", "F32", "[2]", "[0, 8]");
  const std::vector<Malformed> table = {
      {"empty", "", {"0 bytes", "at least the 8"}},
      {"truncated length", "1234567", {"7 bytes", "at least the 8"}},
      {"truncated header", container("{" + a + "}", 0).substr(0, 30), {"header length", "in a file of 30"}},
      {"length too big",
       with_length(std::uint64_t{1} << 63, container("{}", 0)),
       {"header length", "9223372036854775808 bytes in a file of 10", "at most the 2"}},
      {"length all ones",
       with_length(~std::uint64_t{0}, container("{}", 0)),
       {"header length", "18446744073709551615"}},
      {"no JSON", container("{\"a\": ", 0), {"header", "a JSON object of tensors"}},
      {"no object", container("[1]", 0), {"header", "a JSON object of tensors"}},
      {"nested deep",
       container("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", 0),
       {"header", "a JSON object of tensors"}},
      {"number beyond double", container("{\"a\": 1e999}", 0), {"header", "a JSON object of tensors"}},
      {"field missing",
       container(R"({"a": {"dtype": "F32", "shape": [2]}})", 8),
       {"a", "dtype, shape and data_offsets"}},
      {"truncated data",
       container("{" + a + "}", 7),
       {"a.data_offsets", "[0, 8]", "begin <= end <= 7, the bytes of data"}},
      {"outside",
       container("{" + tensor("a", "F32", "[2]", "[8, 16]") + "}", 8),
       {"a.data_offsets", "[8, 16]", "begin <= end <= 8"}},
      {"end before begin",
       container("{" + tensor("a", "F32", "[2]", "[8, 0]") + "}", 8),
       {"a.data_offsets", "[8, 0]"}},
      {"negative offset",
       container("{" + tensor("a", "F32", "[2]", "[-8, 0]") + "}", 8),
       {"a.data_offsets", "[-8,0]", "two counts"}},
      {"overlap",
       container("{" + a + ", " + tensor("b", "F32", "[1]", "[4, 8]") + "}", 8),
       {"b.data_offsets", "begin 4", "8, where the tensor before it ends"}},
      {"gap",
       container("{" + a + ", " + tensor("b", "F32", "[1]", "[12, 16]") + "}", 16),
       {"b.data_offsets", "begin 12", "8, where the tensor before it ends"}},
      {"uncovered end",
       container("{" + a + "}", 9),
       {"data", "9 bytes", "8, which is what the tensors cover"}},
      {"size of another shape",
       container("{" + tensor("a", "F32", "[3]", "[0, 8]") + "}", 8),
       {"a.data_offsets", "8 bytes", "12 bytes for F32 [3]"}},
      {"product beyond 2^63",
       container("{" + tensor("a", "F32", "[4294967296, 4294967296]", "[0, 8]") + "}", 8),
       {"a.data_offsets", "a size that can exist", "[4294967296,4294967296]"}},
      {"product that wraps to the size",
       container("{" + tensor("a", "F32", "[4611686018427387904, 4]", "[0, 0]") + "}", 0),
       {"a.data_offsets", "a size that can exist"}},
      {"negative dim",
       container("{" + tensor("a", "F32", "[-2]", "[0, 8]") + "}", 8),
       {"a.shape", "[-2]", "counts"}},
      {"dim beyond int64",
       container("{" + tensor("a", "F32", "[9223372036854775808]", "[0, 8]") + "}", 8),
       {"a.shape", "9223372036854775808", "counts"}},
      {"dims whose signed product is the size",
       container("{" + tensor("a", "F32", "[18446744073709551614, 18446744073709551614]", "[0, 16]") + "}",
                 16),
       {"a.shape", "18446744073709551614", "counts"}},
      {"fractional dim", container("{" + tensor("a", "F32", "[2.0]", "[0, 8]") + "}", 8), {"a.shape", "2.0"}},
      {"duplicate name", container("{" + a + ", " + a + "}", 8), {"a", "the name twice", "each tensor once"}},
      {"unknown dtype",
       container("{" + tensor("a", "F33", "[2]", "[0, 8]") + "}", 8),
       {"a.dtype", "\"F33\"", "F32, BF16, F16"}},
      {"dtype no text",
       container(R"({"a": {"dtype": 32, "shape": [2], "data_offsets": [0, 8]}})", 8),
       {"a.dtype", "32", "F32, BF16, F16"}},
  };
  for (const Malformed& row : table) {
    SCOPED_TRACE(row.what);
    const auto header = parse(row.file);
    ASSERT_FALSE(header.ok());
    EXPECT_EQ(header.status().code(), Code::kInvalidArgument);
    for (const char* part : {"m.safetensors", "remedy", "copy or export it again"}) {
      EXPECT_NE(header.status().message().find(part), std::string::npos) << header.status().message();
    }
    for (const std::string& part : row.parts) {
      EXPECT_NE(header.status().message().find(part), std::string::npos) << "lacks: " << part << "\n"
                                                                         << header.status().message();
    }
  }
}

TEST(Safetensors, TensorsComeInOrderOfTheirBytes) {
  const auto header = parse(container(
      "{\"__metadata__\": {\"format\": \"pt\"}, " + tensor("late", "BF16", "[]", "[8, 10]") + ", " +
          tensor("early", "F32", "[2, 1]", "[0, 8]") + ", " + tensor("none", "I64", "[0, 5]", "[0, 0]") + "}",
      10));
  ASSERT_TRUE(header.ok()) << header.status().message();
  ASSERT_EQ(header->tensors.size(), 3U);
  EXPECT_EQ(header->tensors[0].name, "none");
  EXPECT_EQ(header->tensors[1].name, "early");
  EXPECT_EQ(header->tensors[1].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(header->tensors[2].name, "late");
}

class SafetensorsRoundTrip : public ::testing::TestWithParam<StorageType> {
 protected:
  SafetensorsRoundTrip()
      : path_(::testing::TempDir() + "round_trip_" + std::string(storage_type_name(GetParam())) + "_" +
              std::to_string(::getpid()) + ".safetensors") {}
  ~SafetensorsRoundTrip() override {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  std::string path_;
};

TEST_P(SafetensorsRoundTrip, ReadsWhatWasWritten) {
  // 5003 values cross the reader's piece of 4096 with a ragged rest. |x| from 2^-3 to 2^5 is normal in all
  // three types, so rounding to p significant bits costs at most 2^-p of x: p = 8 in bf16, 11 in f16, and
  // nothing is lost in f32.
  std::vector<float> large(5003);
  for (std::size_t i = 0; i < large.size(); ++i) {
    const float magnitude = std::exp2(-3.0F + 8.0F * static_cast<float>(i) / 5003.0F);
    large[i] = i % 2 == 0 ? magnitude : -magnitude;
  }
  const std::vector<float> exact = {0.0F, -0.5F, 1.0F, 1024.0F, -1.5F, 0.125F};  // in all three types
  const std::vector<TensorToWrite> tensors = {
      {"exact", {2, 3}, exact.data(), 6},
      {"empty", {0, 4}, nullptr, 0},
      {"large", {5003}, large.data(), 5003},
  };
  ASSERT_TRUE(write_safetensors(path_, tensors, GetParam()).ok());
  const auto file = SafetensorsFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 3U);
  std::int64_t data_bytes = 0;
  for (const TensorEntry& entry : file->tensors()) {
    EXPECT_EQ(entry.dtype, storage_type_name(GetParam()));
    data_bytes += entry.end - entry.begin;
    const bool is_large = entry.name == "large";
    const std::vector<float>& expected = is_large ? large : exact;
    std::vector<float> found(entry.name == "empty" ? 0 : expected.size());
    ASSERT_TRUE(file->read(entry, found).ok());
    const double relative = !is_large || GetParam() == StorageType::kF32 ? 0
                            : GetParam() == StorageType::kBf16           ? std::exp2(-8)
                                                                         : std::exp2(-11);
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], relative * std::abs(expected[i])) << entry.name << " " << i;
    }
  }
  EXPECT_EQ(data_bytes, safetensors_data_bytes(tensors, GetParam()));
}

INSTANTIATE_TEST_SUITE_P(EachType, SafetensorsRoundTrip,
                         ::testing::Values(StorageType::kF32, StorageType::kBf16, StorageType::kF16),
                         [](const auto& info) { return std::string(storage_type_name(info.param)); });

}  // namespace
}  // namespace tessera::runtime
