#include "recovery/store/open_store.h"

#include <utility>

#include "recovery/store/directory_store.h"

namespace tessera::recovery {

Result<std::unique_ptr<Store>> open_store(const std::string& address, const ObjectStoreOptions& options) {
  if (address.starts_with("s3://")) return open_object_store(address, options);
  if (address.empty() || address.find("://") != std::string::npos) {
    return bad_input({"a store's address", "", address.empty() ? "nothing" : address,
                      "s3://bucket/prefix or the path of a directory", "correct the address"});
  }
  std::unique_ptr<Store> store = TS_TRY(DirectoryStore::open(address));
  return store;
}

}  // namespace tessera::recovery
