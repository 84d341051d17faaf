#include "runtime/train/token_files.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::runtime {
namespace {

class JoinedTokens final : public TokenSource {
 public:
  explicit JoinedTokens(std::vector<std::unique_ptr<TokenSource>> sources) : sources_(std::move(sources)) {
    for (const auto& source : sources_) {
      begins_.push_back(total_);
      for (const std::int64_t start : source->document_starts()) documents_.push_back(total_ + start);
      total_ += source->tokens();
    }
    description_ = fmt::format("{} files", sources_.size());
  }

  [[nodiscard]] std::int64_t tokens() const override { return total_; }
  void read(std::int64_t begin, std::span<std::int32_t> out) const override {
    const auto count = static_cast<std::int64_t>(out.size());
    TS_REQUIRE(0 <= begin && begin + count <= total_, begin, count, total_);
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const std::int64_t first = std::max(begin, begins_[i]);
      const std::int64_t last = std::min(begin + count, begins_[i] + sources_[i]->tokens());
      if (first >= last) continue;
      sources_[i]->read(first - begins_[i], out.subspan(static_cast<std::size_t>(first - begin),
                                                        static_cast<std::size_t>(last - first)));
    }
  }
  [[nodiscard]] std::span<const std::int64_t> document_starts() const override { return documents_; }
  [[nodiscard]] const std::string& description() const override { return description_; }

 private:
  std::vector<std::unique_ptr<TokenSource>> sources_;
  std::vector<std::int64_t> begins_;
  std::vector<std::int64_t> documents_;
  std::int64_t total_ = 0;
  std::string description_;
};

}  // namespace

std::unique_ptr<TokenSource> join_token_sources(std::vector<std::unique_ptr<TokenSource>> sources) {
  return std::make_unique<JoinedTokens>(std::move(sources));
}

Result<std::unique_ptr<TokenSource>> open_token_files(std::span<const std::string> paths) {
  std::vector<std::unique_ptr<TokenSource>> sources;
  for (const std::string& path : paths) sources.push_back(TS_TRY(open_token_source(path)));
  if (sources.size() == 1) return std::move(sources.front());
  return join_token_sources(std::move(sources));
}

double unigram_entropy(const TokenSource& source, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> dense(std::size_t{1} << 18);  // every vocabulary in use fits
  std::unordered_map<std::int32_t, std::int64_t> rest;
  std::vector<std::int32_t> piece(std::size_t{1} << 16);
  for (std::int64_t at = begin; at < end;) {
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(end - at, std::ssize(piece)));
    source.read(at, std::span(piece).first(n));
    for (std::size_t i = 0; i < n; ++i) {
      const auto token = static_cast<std::uint32_t>(piece[i]);
      if (token < dense.size()) {
        ++dense[token];
      } else {
        ++rest[piece[i]];
      }
    }
    at += static_cast<std::int64_t>(n);
  }
  const double total = static_cast<double>(std::max<std::int64_t>(end - begin, 1));
  double entropy = 0;
  const auto add = [&](std::int64_t count) {
    const double p = static_cast<double>(count) / total;
    if (count > 0) entropy -= p * std::log(p);
  };
  for (const std::int64_t count : dense) add(count);
  for (const auto& [token, count] : rest) add(count);
  return entropy;
}

}  // namespace tessera::runtime
