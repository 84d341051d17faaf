// Megatron's indexed dataset (megatron/core/datasets/indexed_dataset.py there). The .bin is tokens alone;
// the .idx says what they are:
//
//   0   "MMIDIDX\0\0"                 18  u64 S, sequences
//   9   u64 version = 1               26  u64 I, document indices
//   17  u8 type code                  34  i32 length[S], i64 first_byte[S], i64 document[I], [i8 mode[S]]
//
// document[i] is the first sequence of document i; the last entry is S.
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "runtime/data/packed_tokens.h"
#include "runtime/data/token_formats.h"

namespace tessera::runtime {
namespace {

constexpr std::size_t kHeaderBytes = 34;
const char* const kRemedy =
    "the .bin and .idx must come from one run of the same tool: copy both again, or make them with "
    "scripts/prepare_data.py";

struct Index {
  std::int64_t tokens = 0;
  std::vector<std::int64_t> document_starts;
};

class IndexFile {
 public:
  IndexFile(std::span<const std::byte> bytes, std::string path) : bytes_(bytes), path_(std::move(path)) {}

  Status check_header() {
    if (bytes_.size() < kHeaderBytes ||
        std::memcmp(bytes_.data(), kMegatronMagic, kMegatronMagicBytes) != 0) {
      return refuse("magic", "another file, or a cut one", "MMIDIDX and a header of 34 bytes");
    }
    const auto version = load<std::uint64_t>(bytes_, 9);
    if (version != 1) return refuse("version", fmt::format("{}", version), "1");
    type_ = load<std::uint8_t>(bytes_, 17);
    constexpr int kSizes[] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
    if (type_ >= std::size(kSizes) || kSizes[type_] == 0) {
      return refuse("type code", fmt::format("{}", type_),
                    "1 (u8), 2 (i8), 3 (i16), 4 (i32), 5 (i64) or 8 (u16)");
    }
    token_bytes_ = kSizes[type_];
    sequences_ = load<std::uint64_t>(bytes_, 18);
    indices_ = load<std::uint64_t>(bytes_, 26);
    // Compared by division: the counts are the file's and may be anything.
    const std::uint64_t body = bytes_.size() - kHeaderBytes;
    if (sequences_ > body / 12 || indices_ > (body - sequences_ * 12) / 8) {
      return refuse("length", fmt::format("{} bytes", bytes_.size()),
                    fmt::format("room for {} sequences and {} document indices", sequences_, indices_));
    }
    const std::uint64_t rest = body - sequences_ * 12 - indices_ * 8;
    if (rest != 0 && rest != sequences_) {  // with and without one mode byte per sequence
      return refuse("length", fmt::format("{} bytes", bytes_.size()),
                    fmt::format("{} bytes for {} sequences and {} document indices", bytes_.size() - rest,
                                sequences_, indices_));
    }
    return {};
  }

  /// Sequences follow each other from the .bin's first byte to its last; documents are runs of sequences.
  Result<Index> read(std::uint64_t bin_bytes) {
    if (bin_bytes % static_cast<std::uint64_t>(token_bytes_) != 0) {
      return refuse("type code",
                    fmt::format("{} bytes per token, but a .bin of {} bytes", token_bytes_, bin_bytes),
                    "a .bin of whole tokens");
    }
    Index index;
    std::uint64_t document = 0;
    std::uint64_t at = 0;  // bytes
    if (indices_ == 0) return refuse("document_indices", "none", "at least one, the first being 0");
    for (std::uint64_t s = 0; s < sequences_; ++s) {
      for (; document < indices_ && document_index(document) <= static_cast<std::int64_t>(s); ++document) {
        TS_TRY(check_document(document));
        const auto start = static_cast<std::int64_t>(at) / token_bytes_;
        if (index.document_starts.empty() || index.document_starts.back() != start) {
          index.document_starts.push_back(start);
        }
      }
      if (s == 0 && document == 0) {
        return refuse("document_indices[0]", fmt::format("{}", document_index(0)), "0");
      }
      const auto first = load<std::int64_t>(bytes_, kHeaderBytes + sequences_ * 4 + s * 8);
      const auto length = load<std::int32_t>(bytes_, kHeaderBytes + s * 4);
      if (first != static_cast<std::int64_t>(at)) {
        return refuse(fmt::format("sequence_pointers[{}]", s), fmt::format("{}", first),
                      fmt::format("{}, where the sequence before it ends", at));
      }
      const std::uint64_t room = (bin_bytes - at) / static_cast<std::uint64_t>(token_bytes_);
      if (length < 0 || static_cast<std::uint64_t>(length) > room) {
        return refuse(fmt::format("sequence_lengths[{}]", s), fmt::format("{} tokens", length),
                      fmt::format("0 to {} tokens, as many as the .bin has from there", room));
      }
      at += static_cast<std::uint64_t>(length) * static_cast<std::uint64_t>(token_bytes_);
    }
    for (; document < indices_; ++document) TS_TRY(check_document(document));
    if (at != bin_bytes) {
      return refuse("sequence_lengths", fmt::format("{} bytes in all", at),
                    fmt::format("{} bytes, the length of the .bin", bin_bytes));
    }
    if (at == 0) return refuse("sequence_lengths", "no tokens", "at least one token");
    index.tokens = static_cast<std::int64_t>(at) / token_bytes_;
    if (index.document_starts.back() == index.tokens) index.document_starts.pop_back();  // empty at the end
    return index;
  }

  [[nodiscard]] int type() const { return type_; }

 private:
  [[nodiscard]] std::int64_t document_index(std::uint64_t i) const {
    return load<std::int64_t>(bytes_, kHeaderBytes + sequences_ * 12 + i * 8);
  }
  [[nodiscard]] Status check_document(std::uint64_t i) const {
    const std::int64_t least = i == 0 ? 0 : document_index(i - 1);
    const std::int64_t most = i == 0 ? 0 : static_cast<std::int64_t>(sequences_);
    const std::int64_t found = document_index(i);
    if (found >= least && found <= most) return {};
    return refuse(fmt::format("document_indices[{}]", i), fmt::format("{}", found),
                  i == 0 ? "0" : fmt::format("an index from {} to {}", least, most));
  }
  [[nodiscard]] Status refuse(const std::string& field, const std::string& found,
                              const std::string& expected) const {
    return bad_input(
        {.file = path_, .field = field, .found = found, .expected = expected, .remedy = kRemedy});
  }

  std::span<const std::byte> bytes_;
  std::string path_;
  std::uint8_t type_ = 0;
  int token_bytes_ = 1;
  std::uint64_t sequences_ = 0;
  std::uint64_t indices_ = 0;
};

}  // namespace

Result<std::unique_ptr<TokenSource>> open_megatron(const std::string& bin_path, const std::string& idx_path) {
  const tessera::MappedFile idx =
      TS_TRY(tessera::MappedFile::open(idx_path, "the .idx that belongs to a Megatron .bin", kRemedy));
  tessera::MappedFile bin =
      TS_TRY(tessera::MappedFile::open(bin_path, "the .bin that belongs to a Megatron .idx", kRemedy));
  IndexFile file(idx.bytes(), idx_path);
  TS_TRY(file.check_header());
  Index index = TS_TRY(file.read(bin.bytes().size()));
  const auto make = [&]<class T>(T /*token*/, const char* type) -> Result<std::unique_ptr<TokenSource>> {
    std::string description = fmt::format("{}: Megatron, {} tokens ({}) in {} documents", bin_path,
                                          index.tokens, type, index.document_starts.size());
    return {std::make_unique<PackedTokens<T>>(std::move(bin), 0, index.tokens,
                                              std::move(index.document_starts), std::move(description))};
  };
  switch (file.type()) {
    case 1: return make(std::uint8_t{}, "u8");
    case 2: return make(std::int8_t{}, "i8");
    case 3: return make(std::int16_t{}, "i16");
    case 4: return make(std::int32_t{}, "i32");
    case 5: return make(std::int64_t{}, "i64");
    default: return make(std::uint16_t{}, "u16");  // 8: check_header admits no other
  }
}

}  // namespace tessera::runtime
