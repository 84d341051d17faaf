// The program as a user meets it: what it prints, what it exits with.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/run_shell.h"

namespace tessera::runtime {
namespace {

const std::string kData = TESSERA_TEST_DATA;
const std::string kTokens = kData + "/llama/grouped_untied";  // 64 tokens
const std::string kBytes = kData + "/curve";                  // 256 tokens: text

struct Outcome : test::Outcome {
  std::string err;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Outcome generate(const std::string& arguments) {
  const std::string err_path = ::testing::TempDir() + "tessera_generate_stderr";
  Outcome outcome{
      test::run_shell(std::string(TESSERA_GENERATE) + " --threads 1 " + arguments + " 2>" + err_path), {}};
  outcome.err = read_file(err_path);
  return outcome;
}

nlohmann::json expected_of(const std::string& directory) {
  return nlohmann::json::parse(read_file(directory + "/expected.json"));
}

std::string joined(const nlohmann::json& tokens, const char* separator) {
  std::string text;
  for (const auto& token : tokens) text += (text.empty() ? "" : separator) + std::to_string(token.get<int>());
  return text;
}

TEST(TesseraGenerate, ContinuesTokensAsTransformersDoes) {
  const auto expected = expected_of(kTokens);
  const std::string count = std::to_string(expected["greedy"].size());
  const Outcome outcome = generate("--model " + kTokens + " --temperature 0 --max-new-tokens " + count +
                                   " --prompt-tokens " + joined(expected["prompt"], ","));
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(outcome.out, joined(expected["prompt"], " ") + " " + joined(expected["greedy"], " ") + "\n");
}

TEST(TesseraGenerate, PrintsJson) {
  const auto expected = expected_of(kTokens);
  const Outcome outcome = generate("--json --model " + kTokens + " --temperature 0 --max-new-tokens 3" +
                                   " --prompt-tokens " + joined(expected["prompt"], ","));
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  const auto answer = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(answer["prompt_tokens"], expected["prompt"]);
  EXPECT_EQ(answer["tokens"].size(), 3U);
  EXPECT_EQ(answer["tokens"][0], expected["greedy"][0]);
  EXPECT_EQ(answer["stopped_by"], "max_new_tokens");
}

TEST(TesseraGenerate, ByteModelsSpeakText) {
  const std::string arguments = "--model " + kBytes + " --prompt 'In the beginning' --max-new-tokens 20 ";
  const Outcome first = generate(arguments + "--seed 5");
  ASSERT_EQ(first.exit, 0) << first.err;
  EXPECT_EQ(first.out.substr(0, 16), "In the beginning");
  EXPECT_EQ(first.out.size(), 16U + 20U + 1U);
  EXPECT_EQ(generate(arguments + "--seed 5").out, first.out);
  EXPECT_NE(generate(arguments + "--seed 6").out, first.out);
}

TEST(TesseraGenerate, WritesLogitsForNumPy) {
  const auto expected = expected_of(kTokens);
  const std::string path = ::testing::TempDir() + "tessera_generate_logits.npy";
  const Outcome outcome = generate("--model " + kTokens + " --max-new-tokens 0 --logits " + path +
                                   " --prompt-tokens " + joined(expected["tokens"][0], ","));
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::string npy = read_file(path);
  const std::string logits = read_file(kTokens + "/logits.bin");
  ASSERT_GT(npy.size(), 128U);
  EXPECT_EQ(npy.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const std::size_t header =
      10U + static_cast<unsigned char>(npy[8]) + 256U * static_cast<unsigned char>(npy[9]);
  EXPECT_EQ(header % 64, 0U);
  EXPECT_NE(npy.find("'shape': (24,64,)"), std::string::npos);
  EXPECT_EQ(npy[header - 1], '\n');
  ASSERT_EQ(npy.size() - header, 24U * 64U * 4U);
  for (std::size_t i = 0; i < std::size_t{24} * 64; ++i) {  // the first sequence of the fixture
    float ours = 0;
    float theirs = 0;
    std::memcpy(&ours, npy.data() + header + 4 * i, 4);
    std::memcpy(&theirs, logits.data() + 4 * i, 4);
    ASSERT_NEAR(ours, theirs, 1e-4) << i;
  }
}

TEST(TesseraGenerate, HelpAndVersionSucceed) {
  EXPECT_EQ(generate("--version").exit, 0);
  const Outcome help = generate("--help");
  EXPECT_EQ(help.exit, 0);
  for (const char* flag : {"--model", "--prompt", "--prompt-tokens", "--max-new-tokens", "--temperature",
                           "--top-k", "--top-p", "--seed", "--threads", "--json", "--logits"}) {
    EXPECT_NE(help.out.find(flag), std::string::npos) << flag;
  }
}

TEST(TesseraGenerate, WrongInputExitsWithTwoAndSaysWhatToDo) {
  const struct {
    std::string arguments;
    std::string says;
  } cases[] = {
      {"", "--model"},
      {"--model /nowhere --prompt x", "config.json"},
      {"--model " + kTokens + " --prompt text", "--prompt-tokens"},
      {"--model " + kTokens, "nothing to continue"},
      {"--model " + kTokens + " --prompt-tokens 1,64", "0 to 63"},
      {"--model " + kTokens + " --prompt-tokens 1,2x", "token numbers"},
      {"--model " + kTokens + " --prompt-tokens 1 --top-p 0", "--top-p"},
      {"--model " + kTokens + " --prompt-tokens 1 --temperature -1", "--temperature"},
      {"--model " + kTokens + " --prompt-tokens 1 --max-new-tokens -1", "--max-new-tokens"},
      {"--model " + kTokens + " --prompt-tokens 1 --no-such-flag", "--no-such-flag"},
      {"--model " + kTokens + " --prompt-tokens 1 --logits /nowhere/x.npy --max-new-tokens 0",
       "/nowhere/x.npy"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = generate(c.arguments);
    EXPECT_EQ(outcome.exit, 2) << c.arguments;
    EXPECT_NE(outcome.err.find(c.says), std::string::npos) << c.arguments << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "") << c.arguments;
    EXPECT_LE(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 24) << c.arguments;
  }
}

}  // namespace
}  // namespace tessera::runtime
