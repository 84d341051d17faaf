#include "runtime/model/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/durable_file.h"
#include "algos/base/require.h"
#include "kernels/cast/cast.h"

namespace tessera::runtime {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::int64_t kMaxDims = 16;
constexpr const char* kRemedy = "the file is damaged or not safetensors: copy or export it again";

Status malformed(const std::string& file, std::string field, std::string found, std::string expected) {
  return bad_input({file, std::move(field), std::move(found), std::move(expected), kRemedy});
}

std::optional<std::int64_t> dtype_bytes(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, std::int64_t>, 13> kSizes{{{"BOOL", 1},
                                                                                     {"U8", 1},
                                                                                     {"I8", 1},
                                                                                     {"F8_E5M2", 1},
                                                                                     {"F8_E4M3", 1},
                                                                                     {"I16", 2},
                                                                                     {"U16", 2},
                                                                                     {"F16", 2},
                                                                                     {"BF16", 2},
                                                                                     {"I32", 4},
                                                                                     {"F32", 4},
                                                                                     {"I64", 8},
                                                                                     {"F64", 8}}};
  for (const auto& [name, bytes] : kSizes) {
    if (name == dtype) return bytes;
  }
  return std::nullopt;
}

bool is_count(const json& value) {
  // As std::uint64_t: the library compares mixed signs as signed, where 2^63 is negative.
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

/// Product of the dims times the element size, or nothing when it overflows.
std::optional<std::int64_t> tensor_bytes(const std::vector<std::int64_t>& shape, std::int64_t element) {
  std::int64_t bytes = element;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return bytes;
}

Result<TensorEntry> parse_entry(const std::string& file, const std::string& name, const json& entry,
                                std::int64_t data_bytes) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    return malformed(file, name, "an entry without them", "dtype, shape and data_offsets");
  }
  TensorEntry tensor;
  tensor.name = name;
  const json& dtype = entry["dtype"];
  if (!dtype.is_string() || !dtype_bytes(dtype.get<std::string>())) {
    return malformed(file, name + ".dtype", dtype.dump(-1, ' ', true),
                     "a safetensors dtype such as F32, BF16, F16");
  }
  tensor.dtype = dtype.get<std::string>();
  const json& shape = entry["shape"];
  if (!shape.is_array() || shape.size() > kMaxDims || !std::all_of(shape.begin(), shape.end(), is_count)) {
    return malformed(file, name + ".shape", shape.dump(-1, ' ', true), "an array of at most 16 counts");
  }
  tensor.shape = shape.get<std::vector<std::int64_t>>();
  const json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !is_count(offsets[0]) || !is_count(offsets[1])) {
    return malformed(file, name + ".data_offsets", offsets.dump(-1, ' ', true), "two counts, begin and end");
  }
  tensor.begin = offsets[0].get<std::int64_t>();
  tensor.end = offsets[1].get<std::int64_t>();
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    return malformed(file, name + ".data_offsets", fmt::format("[{}, {}]", tensor.begin, tensor.end),
                     fmt::format("begin <= end <= {}, the bytes of data in the file", data_bytes));
  }
  const std::optional<std::int64_t> bytes = tensor_bytes(tensor.shape, *dtype_bytes(tensor.dtype));
  if (bytes != tensor.end - tensor.begin) {
    return malformed(file, name + ".data_offsets", fmt::format("{} bytes", tensor.end - tensor.begin),
                     bytes ? fmt::format("{} bytes for {} {}", *bytes, tensor.dtype, shape.dump())
                           : fmt::format("a size that can exist, not {} {}", tensor.dtype, shape.dump()));
  }
  return tensor;
}

Status write_values(DurableFile& file, const TensorToWrite& tensor, StorageType type) {
  if (type == StorageType::kF32) return file.write(std::as_bytes(std::span(tensor.values, tensor.count)));
  constexpr std::int64_t kPiece = std::int64_t{1} << 18;
  std::vector<std::uint16_t> piece(static_cast<std::size_t>(std::min(kPiece, tensor.count)));
  for (std::int64_t begin = 0; begin < tensor.count; begin += kPiece) {
    const std::int64_t n = std::min(kPiece, tensor.count - begin);
    if (type == StorageType::kBf16) {
      kernels::f32_to_bf16(piece.data(), tensor.values + begin, n);
    } else {
      kernels::f32_to_f16(piece.data(), tensor.values + begin, n);
    }
    TS_TRY(file.write(std::as_bytes(std::span(piece.data(), static_cast<std::size_t>(n)))));
  }
  return {};
}

}  // namespace

std::string_view storage_type_name(StorageType type) {
  switch (type) {
    case StorageType::kF32: return "F32";
    case StorageType::kBf16: return "BF16";
    case StorageType::kF16: return "F16";
  }
  return "?";
}

std::int64_t storage_bytes(StorageType type) { return type == StorageType::kF32 ? 4 : 2; }

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file, const std::string& file_name) {
  const auto size = static_cast<std::int64_t>(file.size());
  if (size < 8)
    return malformed(file_name, "", fmt::format("{} bytes", size), "at least the 8 of a header length");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<std::uint64_t>(file[i]);
  if (length > kMaxHeaderBytes || static_cast<std::int64_t>(length) > size - 8) {
    return malformed(file_name, "header length", fmt::format("{} bytes in a file of {}", length, size),
                     fmt::format("at most the {} that follow, and at most {}", size - 8, kMaxHeaderBytes));
  }
  SafetensorsHeader header;
  header.data_offset = 8 + static_cast<std::int64_t>(length);
  const std::int64_t data_bytes = size - header.data_offset;

  // The parser keeps the last of two equal names; the callback sees both.
  std::set<std::string> names;
  std::string twice;
  int deepest = 0;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    deepest = std::max(deepest, depth);
    if (event == json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return depth <= 4;  // nothing in the format nests deeper; what does is dropped, and refused below
  };
  const auto* text = reinterpret_cast<const char*>(file.data()) + 8;
  const json tree = json::parse(text, text + length, watch, /*allow_exceptions=*/false);
  if (tree.is_discarded() || !tree.is_object() || deepest > 4) {
    return malformed(file_name, "header", "text that is not such an object", "a JSON object of tensors");
  }
  if (!twice.empty()) return malformed(file_name, twice, "the name twice", "each tensor once");
  for (const auto& [name, entry] : tree.items()) {
    if (name != "__metadata__")
      header.tensors.push_back(TS_TRY(parse_entry(file_name, name, entry, data_bytes)));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry& x, const TensorEntry& y) {
    return std::pair(x.begin, x.end) < std::pair(y.begin, y.end);
  });
  std::int64_t covered = 0;
  for (const TensorEntry& tensor : header.tensors) {
    if (tensor.begin != covered) {
      return malformed(file_name, tensor.name + ".data_offsets", fmt::format("begin {}", tensor.begin),
                       fmt::format("{}, where the tensor before it ends", covered));
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    return malformed(file_name, "data", fmt::format("{} bytes", data_bytes),
                     fmt::format("{}, which is what the tensors cover", covered));
  }
  return header;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  MappedFile file = TS_TRY(
      MappedFile::open(path, "a safetensors file", "name a Hugging Face directory that holds its weights"));
  SafetensorsHeader header = TS_TRY(parse_safetensors(file.bytes(), path));
  return SafetensorsFile(path, std::move(file), std::move(header));
}

Status SafetensorsFile::read(const TensorEntry& entry, std::span<float> to) const {
  const std::byte* from = file_.bytes().data() + header_.data_offset + entry.begin;
  const auto n = static_cast<std::int64_t>(to.size());
  if (entry.dtype == "F32") {
    TS_REQUIRE(n * 4 == entry.end - entry.begin, n, entry.name);
    if (n > 0) std::memcpy(to.data(), from, to.size_bytes());
    return {};
  }
  if (entry.dtype != "BF16" && entry.dtype != "F16") {
    return bad_input({path_, entry.name + ".dtype", entry.dtype, "F32, BF16 or F16",
                      "convert the checkpoint to one of these"});
  }
  TS_REQUIRE(n * 2 == entry.end - entry.begin, n, entry.name);
  // Offsets of a foreign file need not be even: convert through an aligned piece.
  std::array<std::uint16_t, 4096> piece;
  for (std::int64_t begin = 0; begin < n; begin += static_cast<std::int64_t>(piece.size())) {
    const std::int64_t count = std::min<std::int64_t>(piece.size(), n - begin);
    std::memcpy(piece.data(), from + 2 * begin, static_cast<std::size_t>(2 * count));
    if (entry.dtype == "BF16") {
      kernels::bf16_to_f32(to.data() + begin, piece.data(), count);
    } else {
      kernels::f16_to_f32(to.data() + begin, piece.data(), count);
    }
  }
  return {};
}

std::int64_t safetensors_data_bytes(std::span<const TensorToWrite> tensors, StorageType type) {
  std::int64_t count = 0;
  for (const TensorToWrite& tensor : tensors) count += tensor.count;
  return count * storage_bytes(type);
}

Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors, StorageType type) {
  nlohmann::ordered_json tree;
  tree["__metadata__"] = {{"format", "pt"}};
  std::int64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::int64_t end = offset + tensor.count * storage_bytes(type);
    tree[tensor.name] = {
        {"dtype", storage_type_name(type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string header = tree.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');  // data starts at a multiple of 8
  std::array<std::byte, 8> length{};
  for (int i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(header.size() >> (8 * i) & 0xff);

  DurableFile file = TS_TRY(DurableFile::create(path));
  TS_TRY(file.write(length));
  TS_TRY(file.write(std::as_bytes(std::span(header))));
  for (const TensorToWrite& tensor : tensors) TS_TRY(write_values(file, tensor, type));
  return file.finish();
}

}  // namespace tessera::runtime
