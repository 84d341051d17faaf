#include "recovery/store/object_store.h"

namespace tessera::recovery {

Result<std::unique_ptr<Store>> open_object_store(const std::string& url,
                                                 const ObjectStoreOptions& /*options*/) {
  return bad_input(
      {url, "", "a program built without libcurl, OpenSSL or expat", "one built with them",
       "install libcurl4-openssl-dev, libssl-dev and libexpat1-dev (scripts/setup does) and build again, "
       "or name a directory instead"},
      Code::kFailedPrecondition);
}

}  // namespace tessera::recovery
