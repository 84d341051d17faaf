#include "recovery/store/s3_xml.h"

#include <expat.h>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace tessera::recovery {
namespace {

constexpr std::size_t kLargestDocument = std::size_t{64} << 20;
constexpr std::size_t kDeepest = 16;

/// Elements with text, in the order they end; "ListBucketResult/Contents/Key" and its text.
class Document {
 public:
  static Result<Document> parse(std::string_view xml) {
    Document document;
    if (xml.size() > kLargestDocument) return refused(fmt::format("{} bytes", xml.size()));
    const std::unique_ptr<XML_ParserStruct, void (*)(XML_Parser)> parser(XML_ParserCreate(nullptr),
                                                                         XML_ParserFree);
    if (parser == nullptr) throw std::bad_alloc();
    document.parser_ = parser.get();
    XML_SetUserData(parser.get(), &document);
    XML_SetElementHandler(parser.get(), start, end);
    XML_SetCharacterDataHandler(parser.get(), text);
    XML_SetStartDoctypeDeclHandler(parser.get(), doctype);
    const bool parsed =
        XML_Parse(parser.get(), xml.data(), static_cast<int>(xml.size()), XML_TRUE) == XML_STATUS_OK;
    document.parser_ = nullptr;
    if (!parsed) return refused(XML_ErrorString(XML_GetErrorCode(parser.get())));
    return document;
  }

  static Status refused(const std::string& found) {
    return {Code::kDataLoss, fmt::format("not the XML that S3 sends: {}", found)};
  }

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& elements() const { return elements_; }
  /// The text of the first element at that path; "" when there is none.
  [[nodiscard]] std::string first(std::string_view path) const {
    for (const auto& [at, text] : elements_) {
      if (at == path) return text;
    }
    return "";
  }

 private:
  static Document& self(void* data) { return *static_cast<Document*>(data); }
  void stop() { XML_StopParser(parser_, XML_FALSE); }

  static void start(void* data, const XML_Char* name, const XML_Char** /*attributes*/) {
    Document& document = self(data);
    if (document.open_.size() >= kDeepest) return document.stop();
    if (document.open_.empty()) document.root_ = name;
    document.open_.emplace_back(name, "");
  }
  static void text(void* data, const XML_Char* characters, int count) {
    Document& document = self(data);
    if (!document.open_.empty())
      document.open_.back().second.append(characters, static_cast<std::size_t>(count));
  }
  static void end(void* data, const XML_Char* /*name*/) {
    Document& document = self(data);
    if (document.open_.empty()) return document.stop();
    std::string path;
    for (const auto& [name, text] : document.open_) path += (path.empty() ? "" : "/") + name;
    document.elements_.emplace_back(std::move(path), std::move(document.open_.back().second));
    document.open_.pop_back();
  }
  static void doctype(void* data, const XML_Char* /*name*/, const XML_Char* /*system*/,
                      const XML_Char* /*public*/, int /*internal*/) {
    self(data).stop();
  }

  XML_Parser parser_ = nullptr;
  std::string root_;
  std::vector<std::pair<std::string, std::string>> open_;
  std::vector<std::pair<std::string, std::string>> elements_;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Of encoding-type=url, where a space is "+". Ill-formed escapes stay as they are: such a key is none of
/// ours.
std::string url_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(16 * high + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

Result<S3ListPage> parse_s3_list(std::string_view xml) {
  const Document document = TS_TRY(Document::parse(xml));
  if (document.root() != "ListBucketResult") return Document::refused("a document " + document.root());
  S3ListPage page;
  for (const auto& [path, text] : document.elements()) {
    if (path == "ListBucketResult/Contents/Key") page.keys.push_back(url_decoded(text));
  }
  const std::string truncated = document.first("ListBucketResult/IsTruncated");
  if (truncated != "true" && truncated != "false")
    return Document::refused("a list that does not say whether it ends");
  if (truncated == "false") return page;
  page.continuation = document.first("ListBucketResult/NextContinuationToken");
  if (page.continuation.empty()) return Document::refused("a list that goes on without a token");
  return page;
}

Result<std::string> parse_s3_upload_id(std::string_view xml) {
  const Document document = TS_TRY(Document::parse(xml));
  std::string id = document.first("InitiateMultipartUploadResult/UploadId");
  if (id.empty()) return Document::refused("an answer without an UploadId");
  return id;
}

S3Error parse_s3_error(std::string_view xml) {
  const Result<Document> document = Document::parse(xml);
  if (!document.ok()) return {};
  return {document->first("Error/Code"), document->first("Error/Message")};
}

bool is_s3_document(std::string_view xml, std::string_view name) {
  const Result<Document> document = Document::parse(xml);
  return document.ok() && document->root() == name;
}

}  // namespace tessera::recovery
