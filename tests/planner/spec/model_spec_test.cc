// config.json: what transformers writes is read, what is not a LlamaForCausalLM is refused by name, and
// inverse frequencies are those of transformers 5.24 (LlamaRotaryEmbedding(config).inv_freq).
#include "planner/spec/model_spec.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::planner {
namespace {

/// A small valid config with `more` fields (", \"name\": value") put last; a later field wins.
std::string config(const std::string& more = "") {
  return R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "vocab_size": 100, "max_position_embeddings": 131072, "tie_word_embeddings": true)" +
         more + "}";
}

const char* const kLlama31 =
    R"({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3")";

void expect_frequency(double found, double expected) {
  // pow in float and in double differ by at most one float ulp each: 2^-23, doubled for the reciprocal.
  EXPECT_NEAR(found, expected, 2.4e-7 * expected);
}

TEST(ModelSpec, ReadsTheFieldsAndCountsParameters) {
  const ModelSpec spec = parse_model_spec(config(), "config.json").value();
  EXPECT_EQ(spec.hidden_size, 256);
  EXPECT_EQ(spec.head_dim, 128);
  EXPECT_EQ(spec.kv_heads, 1);
  EXPECT_TRUE(spec.tie_word_embeddings);
  EXPECT_FALSE(spec.rope_scaling.has_value());
  const std::int64_t layer = 256 * 128 * (2 + 1 + 1 + 2) + 3 * 256 * 512 + 2 * 256;  // q k v o, mlp, norms
  EXPECT_EQ(spec.parameters(), 100 * 256 + 2 * layer + 256);
}

TEST(ModelSpec, NumbersBeyondDoubleAreRefused) {
  const auto spec = parse_model_spec(config(", \"rope_theta\": 1e999"), "config.json");
  ASSERT_FALSE(spec.ok());
  for (const char* part : {"config.json", "1e999", "remedy"}) {
    EXPECT_NE(spec.status().message().find(part), std::string::npos) << spec.status().message();
  }
}

TEST(ModelSpec, Llama3FrequenciesAreThoseOfTransformers) {
  // transformers 4 spells it with rope_theta and rope_scaling, transformers 5 with rope_parameters.
  for (const std::string& rope :
       {R"(, "rope_theta": 500000.0, "rope_scaling": )" + std::string(kLlama31) + "}",
        R"(, "rope_parameters": )" + std::string(kLlama31) + R"(, "rope_theta": 500000.0})"}) {
    const auto spec = parse_model_spec(config(rope), "config.json");
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    const std::vector<double> frequencies = rope_inverse_frequencies(spec.value());
    ASSERT_EQ(frequencies.size(), 64U);
    const std::vector<std::pair<int, double>> expected = {{0, 1.0},
                                                          {1, 0.8146172165870667},
                                                          {20, 0.016560440883040428},
                                                          {28, 0.0032114461064338684},
                                                          {30, 0.0013718936825171113},
                                                          {32, 0.0005248460220173001},
                                                          {34, 0.0001785077911335975},
                                                          {36, 7.784655463183299e-05},
                                                          {40, 3.428102354519069e-05},
                                                          {63, 3.068925877869333e-07}};
    for (const auto& [i, value] : expected) expect_frequency(frequencies[static_cast<std::size_t>(i)], value);
  }
}

TEST(ModelSpec, FrequenciesOfTheModelsMadeByTransformers) {
  const std::vector<std::pair<std::string, std::vector<double>>> models = {
      {"grouped_untied", {0x1p+0, 0x1.99999ap-4, 0x1.47ae14p-7, 0x1.0624dep-10}},
      {"tied_llama3_scaling_odd", {0x1p+0, 0x1.b23138p-3, 0x1.550388p-6, 0x1.89959cp-8, 0x1.c64266p-10}},
      {"linear_scaling_one_layer", {0x1p-1, 0x1.7c3d2ap-6, 0x1.1a62d2p-10}}};
  for (const auto& [name, expected] : models) {
    const auto spec = read_model_spec(std::string(TESSERA_TEST_DATA) + "/llama/" + name + "/config.json");
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    const std::vector<double> found = rope_inverse_frequencies(spec.value());
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) expect_frequency(found[i], expected[i]);
  }
}

TEST(ModelSpec, WrittenAndReadAgainIsTheSame) {
  for (const std::string& more :
       {std::string(), R"(, "rope_theta": 5e5, "rope_scaling": )" + std::string(kLlama31) + "}",
        std::string(R"(, "eos_token_id": [7, 8], "rope_scaling": {"type": "linear", "factor": 2})")}) {
    const ModelSpec spec = parse_model_spec(config(more), "config.json").value();
    const std::string text = to_config_json(spec);
    const auto again = parse_model_spec(text, "again");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(to_config_json(again.value()), text);
    EXPECT_EQ(again->rope_scaling.has_value(), spec.rope_scaling.has_value());
  }
}

TEST(ModelSpec, RefusesByName) {
  struct Case {
    std::string more;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {R"(, "model_type": "mistral")", {"config.json: model_type", "mistral", "\"llama\""}},
      {R"(, "architectures": ["LlamaModel"])", {"architectures", "LlamaForCausalLM"}},
      {R"(, "attention_bias": true)", {"attention_bias", "true", "no bias"}},
      {R"(, "mlp_bias": true)", {"mlp_bias"}},
      {R"(, "hidden_act": "gelu")", {"hidden_act", "gelu", "silu"}},
      {R"(, "pretraining_tp": 2)", {"pretraining_tp", "2", "set it to 1"}},
      {R"(, "quantization_config": {})", {"quantization_config", "unquantised"}},
      {R"(, "hidden_size": -3)", {"hidden_size", "-3", "1 to 1048576"}},
      {R"(, "hidden_size": 18446744073709551615)", {"hidden_size", "18446744073709551615"}},
      {R"(, "hidden_size": 256.5)", {"hidden_size", "256.5", "an integer"}},
      {R"(, "hidden_size": null)", {"hidden_size", "an integer"}},
      {R"(, "hidden_size": 255)", {"hidden_size", "255", "multiple of num_attention_heads (2)"}},
      {R"(, "num_key_value_heads": 3)", {"num_key_value_heads", "3", "divisor"}},
      {R"(, "head_dim": 7)", {"head_dim", "7", "even"}},
      {R"(, "attention_dropout": 1)", {"attention_dropout", "below 1"}},
      {R"(, "tie_word_embeddings": 1)", {"tie_word_embeddings", "true or false"}},
      {R"(, "rope_scaling": {"rope_type": "yarn", "factor": 4})",
       {"rope_scaling.rope_type", "yarn", "llama3"}},
      {R"(, "rope_scaling": {"rope_type": "linear"})", {"rope_scaling.factor", "nothing"}},
      {R"(, "rope_scaling": {"factor": 4})", {"rope_scaling.rope_type"}},
      {R"(, "rope_scaling": 4)", {"rope_scaling", "an object"}},
      {R"(, "rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5})",
       {"rope_parameters.rope_theta", "10000"}},
      {R"(, "partial_rotary_factor": 0.5)", {"partial_rotary_factor", "0.5"}},
  };
  for (const Case& c : cases) {
    const auto spec = parse_model_spec(config(c.more), "config.json");
    ASSERT_FALSE(spec.ok()) << c.more;
    EXPECT_EQ(spec.status().code(), Code::kInvalidArgument);
    for (const std::string& part : c.parts) {
      EXPECT_NE(spec.status().message().find(part), std::string::npos)
          << "no \"" << part << "\" in: " << spec.status().message();
    }
  }
  EXPECT_FALSE(parse_model_spec("", "f").ok());
  EXPECT_FALSE(parse_model_spec("[1]", "f").ok());
  EXPECT_FALSE(parse_model_spec("{\"a\": ", "f").ok());
  EXPECT_FALSE(parse_model_spec(std::string(100000, '['), "f").ok());
  EXPECT_EQ(read_model_spec("/nonexistent/config.json").status().code(), Code::kNotFound);
  EXPECT_EQ(read_model_spec("/").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace tessera::planner
