/// Secret: a text that no stream and no formatter prints. Whoever needs it calls reveal(), which is easy to
/// find.
#pragma once

#include <string>
#include <utility>

namespace tessera::recovery {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const std::string& reveal() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string text_;
};

}  // namespace tessera::recovery
