/// tessera-generate: continues a prompt with a Hugging Face Llama directory, on this machine's cores.
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "planner/spec/model_spec.h"
#include "runtime/model/generator.h"
#include "runtime/model/hf_checkpoint.h"
#include "runtime/model/parameters.h"
#include "runtime/model/sampler.h"
#include "runtime/tools/npy.h"
#include "runtime/tools/program.h"

namespace tessera::runtime {
namespace {

constexpr std::int64_t kByteVocabulary = 256;

struct Options {
  std::string model;
  std::string prompt;
  std::string prompt_tokens;
  std::int64_t max_new_tokens = 128;
  SamplingOptions sampling;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::string logits;
  bool json = false;
};

void declare(CLI::App& app, Options& options) {
  app.set_version_flag("--version", std::string("tessera-generate ") + TESSERA_VERSION);
  app.add_option("--model", options.model, "Hugging Face directory: config.json and model.safetensors")
      ->required()
      ->type_name("DIR");
  auto* text =
      app.add_option("--prompt", options.prompt,
                     "text to continue; needs a byte model (vocab_size 256), whose text is its bytes");
  app.add_option("--prompt-tokens", options.prompt_tokens, "token numbers to continue, e.g. 1,15,42")
      ->type_name("LIST")
      ->excludes(text);
  app.add_option("--max-new-tokens", options.max_new_tokens, "how many tokens to add; 0 adds none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--temperature", options.sampling.temperature, "0 takes the likeliest token, from 0")
      ->capture_default_str();
  app.add_option("--top-k", options.sampling.top_k, "sample among the k likeliest; 0 = all")
      ->capture_default_str();
  app.add_option("--top-p", options.sampling.top_p, "sample among the likeliest that sum to p; in (0, 1]")
      ->capture_default_str();
  app.add_option("--seed", options.sampling.seed, "the same seed gives the same text")->capture_default_str();
  app.add_option("--threads", options.threads, "processor cores to use")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--logits", options.logits, "write the logits after each prompt token, [tokens, vocab_size]")
      ->type_name("FILE.npy");
  app.add_flag("--json", options.json, "print one JSON object at the end instead of streaming text");
  app.footer(
      "Text is streamed as it comes. Models with another vocabulary read and print token numbers.\n"
      "Exit status: 0 success, 1 system failure, 2 wrong input.\n\n"
      "  tessera-generate --model out/hf --prompt 'In the beginning' --temperature 0.8 --top-k 40");
}

Result<std::vector<std::int32_t>> parse_tokens(const std::string& text) {
  std::vector<std::int32_t> tokens;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    if (*at == ',' || *at == ' ' || *at == '\n') {
      ++at;
      continue;
    }
    std::int32_t token = 0;
    const auto [stop, error] = std::from_chars(at, end, token);
    if (error != std::errc() || (stop < end && *stop != ',' && *stop != ' ' && *stop != '\n')) {
      return bad_input({"--prompt-tokens", "", fmt::format("\"{}\"", std::string(at, std::min(end, at + 20))),
                        "token numbers separated by commas or spaces", "--prompt-tokens 1,15,42"});
    }
    tokens.push_back(token);
    at = stop;
  }
  return tokens;
}

/// The prompt as tokens of this model.
Result<std::vector<std::int32_t>> encode_prompt(const Options& options, const planner::ModelSpec& spec) {
  const bool has_tokenizer = std::filesystem::exists(std::filesystem::path(options.model) / "tokenizer.json");
  std::vector<std::int32_t> tokens;
  if (!options.prompt.empty() && spec.vocab_size != kByteVocabulary) {
    return bad_input(
        {"--prompt", "", fmt::format("text, for a model of {} tokens", spec.vocab_size),
         "--prompt-tokens: only byte models (vocab_size 256) read text",
         has_tokenizer
             ? fmt::format("encode it with {}/tokenizer.json: python3 -c \"import tokenizers; "
                           "print(*tokenizers.Tokenizer.from_file('{}/tokenizer.json').encode('TEXT').ids)\"",
                           options.model, options.model)
             : std::string("encode it with the model's tokenizer")});
  }
  if (!options.prompt_tokens.empty()) {
    tokens = TS_TRY(parse_tokens(options.prompt_tokens));
  } else {
    for (const char c : options.prompt) tokens.push_back(static_cast<unsigned char>(c));
  }
  if (tokens.empty() && spec.bos_token_id >= 0)
    tokens.push_back(static_cast<std::int32_t>(spec.bos_token_id));
  if (tokens.empty()) {
    return bad_input(
        {"--prompt", "", "nothing to continue", "at least one token",
         "give --prompt TEXT or --prompt-tokens LIST (the model has no bos_token_id to start from)"});
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= spec.vocab_size) {
      return bad_input({"--prompt-tokens", fmt::format("number {}", i + 1), fmt::format("{}", tokens[i]),
                        fmt::format("0 to {}", spec.vocab_size - 1),
                        "use the tokenizer this model was trained with"});
    }
  }
  return tokens;
}

/// Prints tokens as they come: bytes of a byte model as they are, others as numbers.
class Stream {
 public:
  Stream(bool bytes, bool silent) : bytes_(bytes), silent_(silent) {}
  void put(std::int32_t token) {
    if (silent_) return;
    if (bytes_) {
      std::fputc(token, stdout);
    } else {
      fmt::print("{}{}", first_ ? "" : " ", token);
    }
    first_ = false;
    std::fflush(stdout);
  }
  void end() {
    if (!silent_) std::fputc('\n', stdout);
  }

 private:
  bool bytes_;
  bool silent_;
  bool first_ = true;
};

std::string as_text(const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) text += static_cast<char>(token);
  return text;
}

Status run(const Options& options) {
  TS_TRY(check_sampling_options(options.sampling));
  const planner::ModelSpec spec =
      TS_TRY(planner::read_model_spec((std::filesystem::path(options.model) / "config.json").string()));
  const std::vector<std::int32_t> prompt = TS_TRY(encode_prompt(options, spec));
  const bool bytes = spec.vocab_size == kByteVocabulary;
  const auto length = static_cast<std::int64_t>(prompt.size()) + options.max_new_tokens;
  if (length > spec.max_position_embeddings) {
    fmt::print(stderr, "warning: {} tokens are more than the {} the model was made for\n", length,
               spec.max_position_embeddings);
  }
  if (!bytes && !options.json &&
      std::filesystem::exists(std::filesystem::path(options.model) / "tokenizer.json")) {
    fmt::print(stderr, "note: printing token numbers; {}/tokenizer.json turns them into text\n",
               options.model);
  }

  const ParameterLayout layout(spec);
  kernels::Buffer<float> parameters(layout.total());
  TS_TRY(read_hf_parameters(options.model, spec, layout, parameters.data()));
  kernels::ThreadPool pool(options.threads);
  const kernels::ScopedPool scoped(pool);
  Generator generator(spec, layout, parameters.data(), length);
  Sampler sampler(options.sampling, spec.vocab_size);
  Stream stream(bytes, options.json);
  const SystemClock clock;

  std::vector<float> every;
  if (!options.logits.empty()) every.resize(prompt.size() * static_cast<std::size_t>(spec.vocab_size));
  const Nanoseconds start = clock.now();
  auto logits = generator.feed(prompt, every.empty() ? nullptr : every.data());
  const double prompt_s = seconds(clock.now() - start);
  if (!every.empty()) {
    const std::int64_t shape[] = {static_cast<std::int64_t>(prompt.size()), spec.vocab_size};
    TS_TRY(write_npy(options.logits, every, shape));
  }

  if (options.max_new_tokens > 0) {
    for (const std::int32_t token : prompt) stream.put(token);
  }
  std::vector<std::int32_t> generated;
  bool ended = false;
  const Nanoseconds generation_start = clock.now();
  while (static_cast<std::int64_t>(generated.size()) < options.max_new_tokens && !ended) {
    for (const float logit : logits) {
      if (!std::isfinite(logit)) {
        return {Code::kDataLoss,
                fmt::format("{}: the model's logits are not finite after {} tokens: its weights "
                            "are damaged, or its training diverged",
                            options.model, generator.length())};
      }
    }
    const std::int32_t token = sampler.sample(logits, generator.length());
    generated.push_back(token);
    ended = token == spec.eos_token_id;
    stream.put(token);
    if (generator.length() + 1 < length && !ended) logits = generator.feed({&token, 1});
  }
  const double generation_s = seconds(clock.now() - generation_start);
  if (options.max_new_tokens > 0) stream.end();

  if (options.json) {
    nlohmann::ordered_json answer;
    answer["prompt_tokens"] = prompt;
    answer["tokens"] = generated;
    if (bytes) answer["text"] = as_text(generated);
    answer["stopped_by"] = ended ? "eos_token" : "max_new_tokens";
    answer["prompt_s"] = prompt_s;
    answer["generation_s"] = generation_s;
    // Bytes that are not UTF-8 come out as U+FFFD; `tokens` holds them exactly.
    fmt::print("{}\n", answer.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return {};
}

int tessera_generate(int argc, char** argv) {
  CLI::App app("Continue a prompt with a Llama model from a Hugging Face directory.", "tessera-generate");
  Options options;
  declare(app, options);
  if (const auto code = parse_arguments(app, argc, argv)) return *code;
  const Status status = run(options);
  if (!status.ok()) print_error(status);
  return exit_code(status);
}

}  // namespace
}  // namespace tessera::runtime

int main(int argc, char** argv) {
  return tessera::runtime::run_program(tessera::runtime::tessera_generate, argc, argv);
}
