/// A small training job for tests: 2 layers, bytes, a text made of sentences so that there is something to
/// learn, in a directory of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "planner/spec/train_spec.h"

namespace tessera::runtime::testing {

class TrainJob : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = ::testing::TempDir() + "/tessera_" + std::to_string(::getpid()) + "_" + info->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ + "/text.txt") << text();
    std::ofstream(directory_ + "/config.json") << R"({"architectures": ["LlamaForCausalLM"],
      "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
      "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
      "tie_word_embeddings": false, "initializer_range": 0.02})";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] planner::TrainSpec spec() const {
    planner::TrainSpec spec;
    spec.model = directory_ + "/config.json";
    spec.data = {directory_ + "/text.txt"};
    spec.out = directory_ + "/out";
    spec.sequence_length = 61;  // ragged on every number of ranks
    spec.global_batch = 4;
    spec.micro_batch = 1;
    spec.steps = 50;
    spec.learning_rate = 3e-3;
    spec.min_learning_rate = 3e-4;
    spec.warmup = 5;
    spec.eval_interval = 25;
    spec.eval_sequences = 6;
    spec.checkpoint_interval = 0;
    spec.deadline = 60;
    spec.log_style = "quiet";
    return spec;
  }

  static std::string text() {
    static const std::vector<std::string> kWords = {"the ",  "ring ",  "sends ", "rows ",   "and ",
                                                    "tile ", "waits ", "for ",   "keys.\n", "a "};
    std::string out;
    for (std::uint64_t i = 0; out.size() < 20000; ++i) {
      out += kWords[static_cast<std::size_t>(uniform(5, i) * static_cast<double>(kWords.size()))];
    }
    return out;
  }

  std::string directory_;
};

}  // namespace tessera::runtime::testing
