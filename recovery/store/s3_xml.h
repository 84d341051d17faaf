/// What S3 answers in XML, as far as it is needed. Foreign bytes: read by expat, with limits, without
/// document types.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::recovery {

/// One page of ListObjectsV2, asked for with encoding-type=url; the keys are decoded here.
struct S3ListPage {
  std::vector<std::string> keys;
  std::string continuation;  // token of the next page; empty on the last
};
/// Errors    kDataLoss: not such a document, cut short, or truncated without a token.
[[nodiscard]] Result<S3ListPage> parse_s3_list(std::string_view xml);

/// The UploadId of InitiateMultipartUploadResult.
[[nodiscard]] Result<std::string> parse_s3_upload_id(std::string_view xml);

struct S3Error {
  std::string code;  // "SlowDown"; empty when the text is no error document
  std::string message;
};
[[nodiscard]] S3Error parse_s3_error(std::string_view xml);

/// Whether the document's outermost element has this name.
[[nodiscard]] bool is_s3_document(std::string_view xml, std::string_view name);

}  // namespace tessera::recovery
