#include "runtime/train/tensorboard.h"

#include <array>
#include <bit>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

namespace tessera::runtime {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}

template <class Unsigned>
void append_little_endian(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof(value); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

// Protobuf wire types: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
void append_key(std::string& out, int field, int wire_type) {
  append_varint(out, static_cast<std::uint64_t>(field << 3 | wire_type));
}
void append_message(std::string& out, int field, std::string_view bytes) {
  append_key(out, field, 2);
  append_varint(out, bytes.size());
  out.append(bytes);
}

std::string event_at(double wall_time_s, std::int64_t step) {
  std::string out;
  append_key(out, 1, 1);
  append_little_endian(out, std::bit_cast<std::uint64_t>(wall_time_s));
  append_key(out, 2, 0);
  append_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xa282ead8U;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_crc_table();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 255] ^ (crc >> 8);
  return ~crc;
}

Result<TensorboardWriter> TensorboardWriter::make(const std::string& directory, double wall_time_s) {
  std::string path;
  for (int n = 0;; ++n) {  // a resumed run may start within the same second
    path = fmt::format("{}/events.out.tfevents.{:.0f}.tessera.{}", directory, wall_time_s, n);
    if (!std::filesystem::exists(path)) break;
  }
  std::ofstream file(path, std::ios::binary);
  if (!file) {
    return bad_input({path, "", "a file that cannot be created", "a writable directory",
                      "check --tensorboard-dir, or pass --tensorboard-dir none"});
  }
  TensorboardWriter writer(std::move(path), std::move(file));
  std::string event = event_at(wall_time_s, 0);
  append_message(event, 3, "brain.Event:2");
  writer.record(event);
  return writer;
}

void TensorboardWriter::record(std::string_view event) {
  std::string length;
  append_little_endian(length, static_cast<std::uint64_t>(event.size()));
  std::string out = length;
  append_little_endian(out, masked_crc(length));
  out.append(event);
  append_little_endian(out, masked_crc(event));
  file_.write(out.data(), static_cast<std::streamsize>(out.size()));
}

void TensorboardWriter::scalar(std::string_view tag, std::int64_t step, double value, double wall_time_s) {
  std::string entry;
  append_message(entry, 1, tag);
  append_key(entry, 2, 5);
  append_little_endian(entry, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  std::string summary;
  append_message(summary, 1, entry);
  std::string event = event_at(wall_time_s, step);
  append_message(event, 5, summary);
  record(event);
}

Status TensorboardWriter::flush() {
  errno = 0;
  file_.flush();
  if (file_) return {};
  return {errno == ENOSPC ? Code::kResourceExhausted : Code::kIoError,
          fmt::format("{}: events could not be written", path_)};
}

}  // namespace tessera::runtime
