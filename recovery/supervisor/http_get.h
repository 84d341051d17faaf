/// One small HTTP request, bounded in time and size. libcurl.
#pragma once

#include <string>
#include <vector>

#include "algos/base/status.h"

namespace tessera::recovery {

struct HttpAnswer {
  long code = 0;
  std::string body;
};

/// No redirects, no proxy: a metadata service is on this machine's own link.
/// Errors    kUnavailable: no answer in time, or one of more than 64 KiB.
[[nodiscard]] Result<HttpAnswer> http_request(const std::string& method, const std::string& url,
                                              const std::vector<std::string>& headers, double timeout_s);

}  // namespace tessera::recovery
