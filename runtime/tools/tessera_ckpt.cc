/// tessera-ckpt: looks into models on disk and turns one form into another; one process, no ranks.
///
///   inspect DIR         what a Hugging Face directory or a checkpoint of tessera-train holds
///   export  SRC DST     either of them -> Hugging Face directory
///   import  SRC DST     Hugging Face directory -> the fp32 directory that tessera-train --model starts from
///   init    CONFIG DST  config.json -> the weights that tessera-train --seed starts from
///
/// Exit code 0: done. 2: the user's mistake, nothing was written. 1: it failed while running.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "algos/base/status.h"
#include "runtime/model/hf_checkpoint.h"
#include "runtime/tools/model_report.h"
#include "runtime/tools/model_source.h"
#include "runtime/tools/program.h"
#include "runtime/tools/tensor_stats.h"

namespace tessera::runtime {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string source;
  std::string target;
  std::string type = "f32";
  std::uint64_t max_shard_bytes = std::uint64_t{5} << 30;
  std::string tokenizer;
  std::int64_t seed = 1;  // default and range as tessera-train's
  bool json = false;
  bool stats = false;
};

Result<StorageType> parse_type(const std::string& text) {
  for (const auto& [name, type] : {std::pair("f32", StorageType::kF32), std::pair("bf16", StorageType::kBf16),
                                   std::pair("f16", StorageType::kF16)}) {
    if (text == name) return type;
  }
  return bad_input({"--type", "", text, "f32, bf16 or f16", "bf16 keeps the range of f32, f16 does not"});
}

Result<HfWriteOptions> write_options(const Options& options) {
  HfWriteOptions write;
  write.type = TS_TRY(parse_type(options.type));
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (options.max_shard_bytes == 0 || options.max_shard_bytes > kMost) {
    return bad_input({"--max-shard-size", "", fmt::format("{} bytes", options.max_shard_bytes),
                      "a size above 0", "such as 500MB or 5GiB"});
  }
  write.max_shard_bytes = static_cast<std::int64_t>(options.max_shard_bytes);
  return write;
}

/// Before anything is read: a name that is taken is told at once, not after minutes.
Status check_target(const std::string& target) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(target, error))) return {};
  return bad_input({target, "", "it exists", "a name that is free", "choose another, or move it away"});
}

/// The smallest magnitude that rounds to infinity: half a unit above the largest value.
double overflow_of(StorageType type) {
  switch (type) {
    case StorageType::kF32: break;
    case StorageType::kBf16: return 0x1.ffp127;
    case StorageType::kF16: return 65520;
  }
  return std::numeric_limits<double>::infinity();
}

/// A finite value must not become infinite on the way.
Status check_range(const std::string& source, const Model& model, StorageType type) {
  const double limit = overflow_of(type);
  for (const ParameterInfo& info : model.layout.parameters()) {
    for (std::int64_t i = 0; i < info.count; ++i) {
      const double value = model.flat[static_cast<std::size_t>(info.offset + i)];
      if (std::isfinite(value) && std::abs(value) >= limit) {
        return bad_input({source, info.name, fmt::format("{:g} at element {}", value, i),
                          fmt::format("magnitudes that {} holds", storage_type_name(type)),
                          "use --type bf16 or f32"});
      }
    }
  }
  return {};
}

/// The first tensor with an infinity or NaN in it.
Status check_finite(const std::string& source, const Model& model) {
  for (const ParameterInfo& info : model.layout.parameters()) {
    const TensorStats stats =
        tensor_stats({model.flat.data() + info.offset, static_cast<std::size_t>(info.count)});
    if (stats.non_finite == 0) continue;
    return bad_input(
        {source, info.name,
         fmt::format("{} values of {} that are no finite numbers", stats.non_finite, info.count),
         "finite weights", "the weights are damaged, or their training diverged: use older ones"},
        Code::kDataLoss);
  }
  return {};
}

Status write_model(const Model& model, const std::string& target, const HfWriteOptions& options) {
  TS_TRY(write_hf_directory(target, model.spec, model.layout, model.flat.data(), options));
  fmt::print("{}: {} parameters as {}\n", target, model.spec.parameters(), storage_type_name(options.type));
  return {};
}

Status inspect_command(const Options& options) {
  const SourceKind kind = TS_TRY(source_kind(options.source));
  const nlohmann::ordered_json report = TS_TRY(inspect_model(options.source, kind, options.stats));
  // What is not UTF-8, in a path, comes out as U+FFFD.
  fmt::print("{}", options.json ? report.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                                : to_text(report));
  return {};
}

Status export_command(const Options& options) {
  HfWriteOptions write = TS_TRY(write_options(options));
  TS_TRY(check_target(options.target));
  const SourceKind kind = TS_TRY(source_kind(options.source));
  write.tokenizer_from = options.tokenizer;
  if (!options.tokenizer.empty() && !fs::is_directory(options.tokenizer)) {
    return bad_input({"--tokenizer", "", options.tokenizer, "a directory with tokenizer files",
                      "name the Hugging Face directory that the text was tokenised with"});
  }
  if (write.tokenizer_from.empty() && kind == SourceKind::kHuggingFace) write.tokenizer_from = options.source;
  const Model model = TS_TRY(read_model(options.source, kind));
  TS_TRY(check_range(options.source, model, write.type));
  return write_model(model, options.target, write);
}

Status import_command(const Options& options) {
  TS_TRY(check_target(options.target));
  if (TS_TRY(source_kind(options.source)) == SourceKind::kCheckpoint) {
    return bad_input({options.source, "", "a checkpoint of tessera-train", "a Hugging Face directory",
                      fmt::format("tessera-train --resume {0} goes on from it; tessera-ckpt export {0} DST "
                                  "makes a Hugging Face directory of it",
                                  options.source)});
  }
  const Model model = TS_TRY(read_model(options.source, SourceKind::kHuggingFace));
  TS_TRY(check_finite(options.source, model));
  HfWriteOptions write;
  write.max_shard_bytes = std::numeric_limits<std::int64_t>::max();
  write.tokenizer_from = options.source;
  return write_model(model, options.target, write);
}

Status init_command(const Options& options) {
  HfWriteOptions write = TS_TRY(write_options(options));
  TS_TRY(check_target(options.target));
  const bool directory = fs::is_directory(options.source);
  if (directory) write.tokenizer_from = options.source;
  Model model(TS_TRY(directory ? read_hf_config(options.source) : planner::read_model_spec(options.source)));
  TS_TRY(allocate(model, options.source));
  initialize_parameters(model.spec, model.layout, static_cast<std::uint64_t>(options.seed),
                        model.flat.data());
  return write_model(model, options.target, write);
}

void declare_output(CLI::App& command, Options& options) {
  command.add_option("DST", options.target, "directory to write; must not exist")->required();
}

void declare_form(CLI::App& command, Options& options) {
  command
      .add_option("--type", options.type, "of the stored values: f32, bf16 or f16, rounded to nearest even")
      ->capture_default_str();
  command
      .add_option("--max-shard-size", options.max_shard_bytes,
                  "bytes of one file, as 500MB or 5GiB; a larger tensor has a file of its own; default 5GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))
      ->option_text("SIZE");
}

int tessera_ckpt(int argc, char** argv) {
  CLI::App app("Looks into models on disk and turns one form into another.", "tessera-ckpt");
  app.set_version_flag("--version", std::string("tessera-ckpt ") + TESSERA_VERSION);
  app.require_subcommand(1);
  app.footer(
      "A directory appears under its name when it is complete, never before.\n"
      "Exit status: 0 success, 1 system failure, 2 wrong input; then nothing is written.\n\n"
      "  tessera-ckpt inspect runs/mine/checkpoints/step-00000300 --stats\n"
      "  tessera-ckpt export runs/mine/checkpoints/step-00000300 out/model --type bf16\n"
      "  tessera-ckpt import Llama-3.2-1B start/llama && tessera-train --model start/llama …\n");
  Options options;

  CLI::App* inspect = app.add_subcommand("inspect", "show what a directory holds and whether it is whole");
  inspect->add_option("DIR", options.source, "Hugging Face directory or checkpoint of tessera-train")
      ->required();
  inspect->add_flag("--stats", options.stats, "read all values: range, mean, non-finite counts, checksums");
  inspect->add_flag("--json", options.json, "print one JSON object");

  CLI::App* to_hf =
      app.add_subcommand("export", "write a Hugging Face directory, for transformers and others");
  to_hf->add_option("SRC", options.source, "checkpoint of tessera-train or Hugging Face directory")
      ->required();
  declare_output(*to_hf, options);
  declare_form(*to_hf, options);
  to_hf
      ->add_option("--tokenizer", options.tokenizer,
                   "directory whose tokenizer files are copied along; a Hugging Face SRC brings its own")
      ->type_name("DIR");

  CLI::App* from_hf = app.add_subcommand(
      "import",
      "check a Hugging Face directory whole and write it as tessera-train --model reads it: fp32, one "
      "file, finite weights, its tokenizer along");
  from_hf->add_option("SRC", options.source, "Hugging Face directory, one file or shards, F32, BF16 or F16")
      ->required();
  declare_output(*from_hf, options);

  CLI::App* init =
      app.add_subcommand("init", "write the weights that tessera-train starts from with this seed");
  init->add_option("CONFIG", options.source, "config.json, or a directory that holds it")->required();
  declare_output(*init, options);
  init->add_option("--seed", options.seed, "seed of the initialisation")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  declare_form(*init, options);

  if (const auto code = parse_arguments(app, argc, argv)) return *code;
  const Status status = inspect->parsed()   ? inspect_command(options)
                        : to_hf->parsed()   ? export_command(options)
                        : from_hf->parsed() ? import_command(options)
                                            : init_command(options);
  if (!status.ok()) print_error(status);
  return exit_code(status);
}

}  // namespace
}  // namespace tessera::runtime

int main(int argc, char** argv) {
  return tessera::runtime::run_program(tessera::runtime::tessera_ckpt, argc, argv);
}
