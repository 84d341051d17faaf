// In place of http_get.cc where libcurl is absent: what asks for a notice is told so.
#include <fmt/format.h>

#include "recovery/supervisor/http_get.h"

namespace tessera::recovery {

Result<HttpAnswer> http_request(const std::string& method, const std::string& url,
                                const std::vector<std::string>& /*headers*/, double /*timeout_s*/) {
  return Status(Code::kUnavailable,
                fmt::format("{} {}: this program was built without libcurl", method, url));
}

}  // namespace tessera::recovery
