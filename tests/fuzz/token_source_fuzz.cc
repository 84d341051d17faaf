// Token files of any bytes are refused with a message, or every token and document start can be read.
//
// Input: n (u16, little-endian), then n bytes of .idx, then the .bin. With n == 0 there is no .idx, and the
// .bin is llm.c tokens or text.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "runtime/data/token_source.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

namespace fs = std::filesystem;

/// A folder of this process that goes with it, in memory where the system has one.
class Folder {
 public:
  Folder() {
    std::string name = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string();
    name += "/tessera_token_fuzz_XXXXXX";
    tessera::fuzz::require_property(::mkdtemp(name.data()) != nullptr, "a temporary folder", name);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write(const std::string& path, const std::uint8_t* data, std::size_t size) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  tessera::fuzz::require_property(out.good(), "the temporary file is written", path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  static const Folder folder;
  if (size < 2) return 0;
  const std::size_t idx_bytes = std::min<std::size_t>(data[0] | data[1] << 8, size - 2);
  const std::string bin = folder.file("t.bin");
  const std::string idx = folder.file("t.idx");
  if (idx_bytes > 0) {
    write(idx, data + 2, idx_bytes);
  } else {
    fs::remove(idx);
  }
  write(bin, data + 2 + idx_bytes, size - 2 - idx_bytes);

  const auto opened = runtime::open_token_source(bin);
  if (!opened.ok()) {
    fuzz::require_complaint(opened.status().message(), folder.file("t."));
    return 0;
  }
  const runtime::TokenSource& source = *opened.value();
  fuzz::require_property(source.tokens() > 0, "an open source has tokens");
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(source.tokens()));
  source.read(0, tokens);
  const auto starts = source.document_starts();
  fuzz::require_property(!starts.empty() && starts.front() == 0, "the first document starts at 0");
  fuzz::require_property(starts.back() < source.tokens(), "documents start inside");
  fuzz::require_property(
      std::adjacent_find(starts.begin(), starts.end(), std::greater_equal<>()) == starts.end(),
      "document starts increase");
  constexpr std::int64_t kVocabulary = 1000;
  const bool all_inside =
      std::all_of(tokens.begin(), tokens.end(), [](std::int32_t t) { return t >= 0 && t < kVocabulary; });
  fuzz::require_property(runtime::check_vocabulary(source, kVocabulary).ok() == all_inside,
                         "check_vocabulary finds exactly the tokens outside");
  return 0;
}
