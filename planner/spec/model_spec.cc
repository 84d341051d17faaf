#include "planner/spec/model_spec.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <numbers>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/require.h"

namespace tessera::planner {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMaxConfigBytes = std::int64_t{4} << 20;
constexpr int kMaxDepth = 64;  // printing a value recurses
struct TooDeep {};
const char* const kFromModelPage = "copy the value from the model's Hugging Face page";

/// A value as the user wrote it, short enough for one line.
std::string shown(const Json& value) {
  std::string text = value.dump();
  constexpr std::size_t kLongest = 60;
  if (text.size() > kLongest) {
    std::size_t end = kLongest;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // whole UTF-8 only
    text = text.substr(0, end) + "...";
  }
  return text;
}

/// Reads fields of one JSON object; `prefix` is its dotted path. An absent or null field keeps its default.
class Object {
 public:
  Object(const Json& json, std::string file, std::string prefix = "")
      : json_(json), file_(std::move(file)), prefix_(std::move(prefix)) {}

  [[nodiscard]] bool has(const char* name) const {
    const auto at = json_.find(name);
    return at != json_.end() && !at->is_null();
  }
  [[nodiscard]] const Json& at(const char* name) const { return *json_.find(name); }

  [[nodiscard]] Status refuse(const char* name, const std::string& expected,
                              const std::string& remedy) const {
    return bad_input({.file = file_,
                      .field = prefix_ + name,
                      .found = json_.contains(name) ? shown(at(name)) : "nothing",
                      .expected = expected,
                      .remedy = remedy});
  }

  template <class Int>
  Status integer(const char* name, std::int64_t least, std::int64_t greatest, Int& value,
                 bool required = false) const {
    const std::string expected = fmt::format("an integer from {} to {}", least, greatest);
    if (!has(name)) return required ? refuse(name, expected, kFromModelPage) : Status();
    const Json& found = at(name);
    if (!found.is_number_integer()) return refuse(name, expected, kFromModelPage);
    // An unsigned number above the signed range wraps to a negative one, which no range here contains.
    const bool too_large =
        found.is_number_unsigned() && found.get<std::uint64_t>() > static_cast<std::uint64_t>(greatest);
    const auto number = too_large ? greatest : found.get<std::int64_t>();
    if (too_large || number < least || number > greatest) return refuse(name, expected, kFromModelPage);
    value = static_cast<Int>(number);
    return {};
  }

  /// least <= value <= greatest; with `open` both ends are excluded.
  Status real(const char* name, double least, double greatest, bool open, double& value,
              bool required = false) const {
    const std::string expected = open ? fmt::format("a number above {} and below {}", least, greatest)
                                      : fmt::format("a number from {} to {}", least, greatest);
    if (!has(name)) return required ? refuse(name, expected, kFromModelPage) : Status();
    if (!at(name).is_number()) return refuse(name, expected, kFromModelPage);
    const auto number = at(name).get<double>();
    const bool inside = open ? number > least && number < greatest : number >= least && number <= greatest;
    if (!inside) return refuse(name, expected, kFromModelPage);
    value = number;
    return {};
  }

  Status boolean(const char* name, bool& value) const {
    if (!has(name)) return {};
    if (!at(name).is_boolean()) return refuse(name, "true or false", kFromModelPage);
    value = at(name).get<bool>();
    return {};
  }

 private:
  const Json& json_;
  std::string file_;
  std::string prefix_;
};

/// What would make the model another function than the one this runtime computes.
Status refuse_other_models(const Object& config) {
  const char* const only_llama =
      "Tessera trains LlamaForCausalLM models: choose such a checkpoint, or convert this one";
  if (config.has("model_type") && config.at("model_type") != "llama") {
    return config.refuse("model_type", "\"llama\"", only_llama);
  }
  if (config.has("architectures")) {
    const Json& names = config.at("architectures");
    if (!names.is_array() || std::find(names.begin(), names.end(), "LlamaForCausalLM") == names.end()) {
      return config.refuse("architectures", "a list with \"LlamaForCausalLM\"", only_llama);
    }
  }
  if (config.has("hidden_act") && config.at("hidden_act") != "silu" && config.at("hidden_act") != "swish") {
    return config.refuse("hidden_act", "\"silu\"", only_llama);
  }
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    bool value = false;
    TS_TRY(config.boolean(bias, value));
    if (value) return config.refuse(bias, "false: projections have no bias", only_llama);
  }
  if (config.has("pretraining_tp")) {
    std::int64_t degree = 1;
    TS_TRY(config.integer("pretraining_tp", 1, 1 << 20, degree));
    if (degree != 1) {
      return config.refuse("pretraining_tp", "1", "set it to 1: the weights are the same for every value");
    }
  }
  if (config.has("quantization_config")) {
    return config.refuse("quantization_config", "no such field: weights in F32, BF16 or F16",
                         "use the model's unquantised checkpoint");
  }
  return {};
}

Status read_rope_scaling(const Object& rope, ModelSpec& spec) {
  const char* const key = rope.has("rope_type") ? "rope_type" : "type";
  if (!rope.has(key)) {
    if (rope.has("factor")) {
      return rope.refuse("rope_type", "\"llama3\", \"linear\" or \"default\"", kFromModelPage);
    }
    return {};
  }
  const Json& type = rope.at(key);
  if (type == "default") return {};
  RopeScaling scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
  } else if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
  } else {
    return rope.refuse(key, "\"llama3\", \"linear\" or \"default\"",
                       "choose a checkpoint with one of these, or train without scaling");
  }
  TS_TRY(rope.real("factor", 1, 1e6, false, scaling.factor, true));
  if (scaling.kind == RopeScaling::Kind::kLlama3) {
    TS_TRY(rope.real("low_freq_factor", 0, 1e6, true, scaling.low_freq_factor, true));
    TS_TRY(rope.real("high_freq_factor", scaling.low_freq_factor, 1e6, true, scaling.high_freq_factor, true));
    // As transformers: the length the model was made for, unless the original one is given.
    scaling.original_max_position_embeddings = spec.max_position_embeddings;
    TS_TRY(rope.integer("original_max_position_embeddings", 1, std::int64_t{1} << 40,
                        scaling.original_max_position_embeddings));
  }
  spec.rope_scaling = scaling;
  return {};
}

/// rope_theta and rope_scaling at the top (transformers 4), or both in rope_parameters (transformers 5).
Status read_rope(const Object& config, const std::string& file, ModelSpec& spec) {
  TS_TRY(config.real("rope_theta", 1, 1e12, false, spec.rope_theta));
  double part = 1;
  TS_TRY(config.real("partial_rotary_factor", 0, 1, false, part));
  if (part != 1) {
    return config.refuse("partial_rotary_factor", "1: the whole head is rotated",
                         "choose a checkpoint that rotates whole heads");
  }
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(name)) continue;
    if (!config.at(name).is_object()) return config.refuse(name, "an object or null", kFromModelPage);
    const Object rope(config.at(name), file, std::string(name) + ".");
    double theta = spec.rope_theta;
    TS_TRY(rope.real("rope_theta", 1, 1e12, false, theta));
    if (config.has("rope_theta") && theta != spec.rope_theta) {
      return rope.refuse("rope_theta", fmt::format("the {} that rope_theta at the top says", spec.rope_theta),
                         "keep one of the two");
    }
    spec.rope_theta = theta;
    TS_TRY(rope.real("partial_rotary_factor", 0, 1, false, part));
    if (part != 1) {
      return rope.refuse("partial_rotary_factor", "1: the whole head is rotated",
                         "choose a checkpoint that rotates whole heads");
    }
    TS_TRY(read_rope_scaling(rope, spec));
    if (spec.rope_scaling) break;  // transformers, too, prefers rope_scaling
  }
  return {};
}

Status read_token_id(const Object& config, const char* name, std::int64_t& id) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (config.has(name) && config.at(name).is_array()) {  // several end tokens: the first is the model's own
    const Json& ids = config.at(name);
    if (ids.empty() || !ids[0].is_number_integer()) {
      return config.refuse(name, "a token id or a list of them", kFromModelPage);
    }
    const Json first = {{name, ids[0]}};
    return Object(first, "", "").integer(name, -1, kMost, id).ok()
               ? Status()
               : config.refuse(name, "a token id or a list of them", kFromModelPage);
  }
  return config.integer(name, -1, kMost, id);
}

}  // namespace

Result<ModelSpec> parse_model_spec(const std::string& json_text, const std::string& file_name) {
  Json json;
  try {
    json = Json::parse(json_text, [](int depth, Json::parse_event_t /*event*/, const Json& /*parsed*/) {
      if (depth > kMaxDepth) throw TooDeep{};
      return true;
    });
  } catch (const TooDeep&) {
    return bad_input({.file = file_name,
                      .field = "",
                      .found = fmt::format("JSON nested more than {} deep", kMaxDepth),
                      .expected = "a JSON object with the fields of a LlamaForCausalLM",
                      .remedy = "copy config.json from the model's Hugging Face page"});
  } catch (const nlohmann::json::exception& error) {  // also out_of_range: 1e999
    return bad_input(
        {.file = file_name,
         .field = "",
         .found = fmt::format("text that is no JSON: {}", error.what()),
         .expected = "the config.json of a LlamaForCausalLM",
         .remedy = "correct the text there, or copy the file from the model's Hugging Face page"});
  }
  if (!json.is_object()) {
    return bad_input({.file = file_name,
                      .field = "",
                      .found = shown(json),
                      .expected = "a JSON object with the fields of a LlamaForCausalLM",
                      .remedy = "copy config.json from the model's Hugging Face page"});
  }
  const Object config(json, file_name);
  TS_TRY(refuse_other_models(config));

  ModelSpec spec;
  TS_TRY(config.integer("hidden_size", 1, 1 << 20, spec.hidden_size, true));
  TS_TRY(config.integer("intermediate_size", 1, 1 << 22, spec.intermediate_size, true));
  TS_TRY(config.integer("num_hidden_layers", 1, 1 << 12, spec.layers, true));
  TS_TRY(config.integer("num_attention_heads", 1, 1 << 14, spec.heads, true));
  TS_TRY(config.integer("vocab_size", 1, 1 << 24, spec.vocab_size, true));
  spec.kv_heads = spec.heads;
  TS_TRY(config.integer("num_key_value_heads", 1, 1 << 14, spec.kv_heads));
  if (spec.heads % spec.kv_heads != 0) {
    return config.refuse("num_key_value_heads",
                         fmt::format("a divisor of num_attention_heads ({})", spec.heads), kFromModelPage);
  }
  if (spec.hidden_size % spec.heads != 0) {
    return config.refuse(
        "hidden_size",
        fmt::format("a multiple of num_attention_heads ({}), as transformers requires", spec.heads),
        kFromModelPage);
  }
  spec.head_dim = static_cast<int>(spec.hidden_size / spec.heads);
  TS_TRY(config.integer("head_dim", 2, 1 << 12, spec.head_dim));
  if (spec.head_dim % 2 != 0 || spec.head_dim > (1 << 12)) {
    return config.refuse("head_dim",
                         fmt::format("an even integer from 2 to 4096; without the field it is hidden_size / "
                                     "num_attention_heads = {}",
                                     spec.hidden_size / spec.heads),
                         "rotary embedding turns pairs of elements: choose an even head width");
  }
  TS_TRY(config.integer("max_position_embeddings", 1, std::int64_t{1} << 40, spec.max_position_embeddings));
  TS_TRY(config.real("rms_norm_eps", 0, 1, false, spec.rms_norm_eps));
  TS_TRY(config.boolean("tie_word_embeddings", spec.tie_word_embeddings));
  TS_TRY(config.real("initializer_range", 0, 1, false, spec.initializer_range));
  TS_TRY(config.real("attention_dropout", 0, 1, false, spec.attention_dropout));
  if (spec.attention_dropout == 1) {
    return config.refuse("attention_dropout", "a number from 0 to below 1", "0 is what Llama models use");
  }
  TS_TRY(read_token_id(config, "bos_token_id", spec.bos_token_id));
  TS_TRY(read_token_id(config, "eos_token_id", spec.eos_token_id));
  TS_TRY(read_rope(config, file_name, spec));
  return spec;
}

Result<ModelSpec> read_model_spec(const std::string& path) {
  const char* const remedy =
      "name the config.json of a LlamaForCausalLM, or the Hugging Face directory that holds it";
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return bad_input({.file = path,
                      .field = "",
                      .found = "no readable file",
                      .expected = "a config.json",
                      .remedy = remedy},
                     Code::kNotFound);
  }
  std::string text(static_cast<std::size_t>(kMaxConfigBytes) + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.gcount() == 0 && !in.eof())) {  // a directory opens, but does not read
    return bad_input({.file = path,
                      .field = "",
                      .found = "something that cannot be read as a file",
                      .expected = "a config.json",
                      .remedy = remedy},
                     Code::kNotFound);
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (static_cast<std::int64_t>(text.size()) > kMaxConfigBytes) {
    return bad_input({.file = path,
                      .field = "",
                      .found = fmt::format("more than {} bytes", kMaxConfigBytes),
                      .expected = "a config.json",
                      .remedy = remedy});
  }
  return parse_model_spec(text, path);
}

std::string to_config_json(const ModelSpec& spec) {
  nlohmann::ordered_json json;
  json["architectures"] = {"LlamaForCausalLM"};
  json["model_type"] = "llama";
  json["hidden_act"] = "silu";
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["hidden_size"] = spec.hidden_size;
  json["intermediate_size"] = spec.intermediate_size;
  json["num_hidden_layers"] = spec.layers;
  json["num_attention_heads"] = spec.heads;
  json["num_key_value_heads"] = spec.kv_heads;
  json["head_dim"] = spec.head_dim;
  json["vocab_size"] = spec.vocab_size;
  json["max_position_embeddings"] = spec.max_position_embeddings;
  json["rms_norm_eps"] = spec.rms_norm_eps;
  json["rope_theta"] = spec.rope_theta;
  json["rope_scaling"] = nullptr;
  if (spec.rope_scaling) {
    const RopeScaling& scaling = *spec.rope_scaling;
    nlohmann::ordered_json rope;
    if (scaling.kind == RopeScaling::Kind::kLinear) {
      rope["rope_type"] = "linear";
      rope["factor"] = scaling.factor;
    } else {
      rope["rope_type"] = "llama3";
      rope["factor"] = scaling.factor;
      rope["low_freq_factor"] = scaling.low_freq_factor;
      rope["high_freq_factor"] = scaling.high_freq_factor;
      rope["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
    }
    json["rope_scaling"] = std::move(rope);
  }
  json["tie_word_embeddings"] = spec.tie_word_embeddings;
  json["initializer_range"] = spec.initializer_range;
  json["attention_dropout"] = spec.attention_dropout;
  json["bos_token_id"] = spec.bos_token_id < 0 ? Json(nullptr) : Json(spec.bos_token_id);
  json["eos_token_id"] = spec.eos_token_id < 0 ? Json(nullptr) : Json(spec.eos_token_id);
  json["use_cache"] = true;
  return json.dump(2) + "\n";
}

std::int64_t ModelSpec::parameters() const {
  const std::int64_t attention =
      hidden_size * head_dim * (2 * std::int64_t{heads} + 2 * std::int64_t{kv_heads});
  const std::int64_t mlp = 3 * hidden_size * intermediate_size;
  const std::int64_t embeddings = vocab_size * hidden_size * (tie_word_embeddings ? 1 : 2);
  return embeddings + layers * (attention + mlp + 2 * hidden_size) + hidden_size;
}

std::vector<double> rope_inverse_frequencies(const ModelSpec& spec) {
  TS_REQUIRE(spec.head_dim > 0 && spec.head_dim % 2 == 0, spec.head_dim);
  // Each step is rounded to float where transformers holds a float tensor: at position 100000 one float ulp
  // of a frequency near 1 is 0.006 radian, so more precise frequencies would be another model.
  std::vector<double> result;
  result.reserve(static_cast<std::size_t>(spec.head_dim / 2));
  const auto base = static_cast<float>(spec.rope_theta);
  for (int i = 0; i < spec.head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(spec.head_dim);
    const auto power = static_cast<float>(std::pow(double{base}, double{exponent}));
    float frequency = 1.0F / power;
    if (spec.rope_scaling && spec.rope_scaling->kind == RopeScaling::Kind::kLinear) {
      frequency /= static_cast<float>(spec.rope_scaling->factor);
    } else if (spec.rope_scaling) {
      const RopeScaling& scaling = *spec.rope_scaling;
      const auto original = static_cast<float>(scaling.original_max_position_embeddings);
      const auto factor = static_cast<float>(scaling.factor);
      const auto low = static_cast<float>(scaling.low_freq_factor);
      const auto range = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
      const auto longest = static_cast<float>(static_cast<double>(scaling.original_max_position_embeddings) /
                                              scaling.low_freq_factor);
      const auto shortest = static_cast<float>(static_cast<double>(scaling.original_max_position_embeddings) /
                                               scaling.high_freq_factor);
      const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
      if (wavelength > longest) {
        frequency /= factor;
      } else if (wavelength >= shortest) {
        const float smooth = (original / wavelength - low) / range;
        frequency = (1.0F - smooth) * frequency / factor + smooth * frequency;
      }
    }
    result.push_back(frequency);
  }
  return result;
}

}  // namespace tessera::planner
