// Hugging Face directories: those that transformers wrote are read; ours are whole, or not there.
#include "runtime/model/hf_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

const std::string kModel = std::string(TESSERA_TEST_DATA) + "/llama/tied_llama3_scaling_odd";

class HfCheckpoint : public testing::Test {
 protected:
  HfCheckpoint()
      : spec(planner::read_model_spec(kModel + "/config.json").value()),
        layout(spec),
        weights(static_cast<std::size_t>(layout.total())) {
    std::string name = (fs::temp_directory_path() / "tessera-hf-XXXXXX").string();
    directory = ::mkdtemp(name.data());
    const Status read = read_hf_parameters(kModel, spec, layout, weights.data());
    EXPECT_TRUE(read.ok()) << read.message();
  }
  ~HfCheckpoint() override { fs::remove_all(directory); }
  [[nodiscard]] std::vector<float> read(const std::string& from) const {
    std::vector<float> values(weights.size());  // gaps stay zero; no weight of the model is zero
    const Status status = read_hf_parameters(from, spec, layout, values.data());
    EXPECT_TRUE(status.ok()) << status.message();
    return values;
  }
  [[nodiscard]] std::ptrdiff_t entries() const {
    return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
  }
  planner::ModelSpec spec;
  ParameterLayout layout;
  std::vector<float> weights;
  std::string directory;
};

TEST_F(HfCheckpoint, RoundTripsInOneFileAndInShards) {
  for (const std::int64_t shard : {std::int64_t{1}, std::int64_t{4000}, std::int64_t{5} << 30}) {
    HfWriteOptions options;
    options.max_shard_bytes = shard;
    options.overwrite = true;
    const std::string to = directory + "/model";
    ASSERT_TRUE(write_hf_directory(to, spec, layout, weights.data(), options).ok());
    EXPECT_EQ(fs::exists(to + "/model.safetensors"), shard > 4000);
    EXPECT_EQ(fs::exists(to + "/model.safetensors.index.json"), shard <= 4000);
    EXPECT_EQ(read(to), weights);
    EXPECT_EQ(entries(), 1);  // no temporary directory stays
  }
}

TEST_F(HfCheckpoint, SixteenBitsRoundOnce) {
  for (const auto& [type, ulp] :
       {std::pair(StorageType::kBf16, 0x1p-8F), std::pair(StorageType::kF16, 0x1p-11F)}) {
    HfWriteOptions options;
    options.type = type;
    options.overwrite = true;
    ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, weights.data(), options).ok());
    const std::vector<float> once = read(directory + "/m");
    for (std::size_t i = 0; i < weights.size(); ++i) {
      // Half an ulp of the significand; below 2^-14 binary16 is fixed-point with steps of 2^-24.
      ASSERT_NEAR(once[i], weights[i], std::max(std::abs(weights[i]) * ulp, 0x1p-25F));
    }
    ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, once.data(), options).ok());
    EXPECT_EQ(read(directory + "/m"), once);
  }
}

TEST_F(HfCheckpoint, AFullDiskLeavesNothing) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);  // the write fails with EFBIG instead
  const rlimit small{2048, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = write_hf_directory(directory + "/m", spec, layout, weights.data(), {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_EQ(entries(), 0);
}

TEST_F(HfCheckpoint, AnExistingModelIsKeptUnlessAsked) {
  ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, weights.data(), {}).ok());
  EXPECT_FALSE(write_hf_directory(directory + "/m", spec, layout, weights.data(), {}).ok());
  EXPECT_EQ(read(directory + "/m"), weights);
}

TEST_F(HfCheckpoint, WeightsOfAnotherConfigAreRefused) {
  planner::ModelSpec other = spec;
  other.intermediate_size += 1;
  const ParameterLayout wide(other);
  std::vector<float> values(static_cast<std::size_t>(wide.total()));
  const Status shape = read_hf_parameters(kModel, other, wide, values.data());
  ASSERT_FALSE(shape.ok());
  for (const char* part : {"model.safetensors", "mlp.", "[21, 37]", "[21, 38]", "remedy"}) {
    EXPECT_NE(shape.message().find(part), std::string::npos) << part << " in " << shape.message();
  }
  other = spec;
  other.layers += 1;
  const ParameterLayout deep(other);
  values.resize(static_cast<std::size_t>(deep.total()));
  const Status missing = read_hf_parameters(kModel, other, deep, values.data());
  EXPECT_NE(missing.message().find("model.layers.2."), std::string::npos) << missing.message();
}

TEST_F(HfCheckpoint, AnIndexThatNamesAnotherFileIsRefused) {
  HfWriteOptions options;
  options.max_shard_bytes = 4000;
  ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, weights.data(), options).ok());
  const std::string path = directory + "/m/model.safetensors.index.json";
  std::string text;
  std::getline(std::ifstream(path), text, '\0');
  const std::string norm = "\"model.norm.weight\": \"model-";
  const auto at = text.find(norm);
  ASSERT_NE(at, std::string::npos);
  text.replace(at + norm.size(), 5, "00001");  // the file of the embedding
  std::ofstream(path) << text;
  const Status status = read_hf_parameters(directory + "/m", spec, layout, weights.data());
  EXPECT_NE(status.message().find("weight_map.model.norm.weight"), std::string::npos) << status.message();
}

TEST_F(HfCheckpoint, TokenizerFilesGoAlong) {
  fs::create_directory(directory + "/from");
  std::ofstream(directory + "/from/tokenizer.json") << "{\"version\": \"1.0\"}";
  std::ofstream(directory + "/from/merges.txt");  // empty files, too
  std::ofstream(directory + "/from/pytorch_model.bin") << "weights of another format";
  HfWriteOptions options;
  options.tokenizer_from = directory + "/from";
  ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, weights.data(), options).ok());
  std::string text;
  std::getline(std::ifstream(directory + "/m/tokenizer.json"), text);
  EXPECT_EQ(text, "{\"version\": \"1.0\"}");
  EXPECT_TRUE(fs::exists(directory + "/m/merges.txt"));
  EXPECT_FALSE(fs::exists(directory + "/m/pytorch_model.bin"));
}

TEST_F(HfCheckpoint, FoldersMadeOnTheWayGoWithAFailure) {
  HfWriteOptions options;
  options.tokenizer_from = directory + "/from";
  fs::create_directories(directory + "/from/vocab.json");  // a directory cannot be copied as a file
  EXPECT_FALSE(write_hf_directory(directory + "/a/b/m", spec, layout, weights.data(), options).ok());
  EXPECT_FALSE(fs::exists(directory + "/a"));
  options.tokenizer_from.clear();
  EXPECT_TRUE(write_hf_directory(directory + "/a/b/m/", spec, layout, weights.data(), options).ok());
  EXPECT_EQ(read(directory + "/a/b/m"), weights);
}

TEST_F(HfCheckpoint, ACutFileIsRefusedAtEveryLength) {
  ASSERT_TRUE(write_hf_directory(directory + "/m", spec, layout, weights.data(), {}).ok());
  const std::string path = directory + "/m/model.safetensors";
  const auto size = fs::file_size(path);
  for (std::uintmax_t cut = size - 1; cut > 0; cut = cut * 7 / 8) {
    fs::resize_file(path, cut);
    const Status status = read_hf_parameters(directory + "/m", spec, layout, weights.data());
    ASSERT_FALSE(status.ok()) << cut;
    EXPECT_NE(status.message().find("model.safetensors"), std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::runtime
