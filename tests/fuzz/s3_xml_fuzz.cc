// Whatever a server answers, reading it ends, is refused as lost data or gives a page whose keys and token
// came from the text.
#include <string>

#include "recovery/store/s3_xml.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string text(data, data + size);
  const auto page = recovery::parse_s3_list(text);
  if (page.ok()) {
    fuzz::require_property(recovery::is_s3_document(text, "ListBucketResult"), "a page is a list", text);
    std::size_t bytes = page->continuation.size();
    for (const std::string& key : page->keys) bytes += key.size();
    fuzz::require_property(bytes <= 3 * size, "nothing is longer than the text, in UTF-8, that it came from",
                           text);
  } else {
    fuzz::require_property(page.status().code() == Code::kDataLoss, "what is no list is lost data", text);
    fuzz::require_property(!page.status().message().empty(), "an error says something");
  }
  const auto id = recovery::parse_s3_upload_id(text);
  fuzz::require_property(!id.ok() || !id->empty(), "an upload has an identifier", text);
  const recovery::S3Error error = recovery::parse_s3_error(text);
  fuzz::require_property(error.code.size() + error.message.size() <= 3 * size, "an error came from the text",
                         text);
  return 0;
}
