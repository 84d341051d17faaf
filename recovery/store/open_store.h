/// A store by its address: "s3://bucket/prefix" is an object store, anything else a directory's path.
#pragma once

#include <memory>
#include <string>

#include "algos/base/status.h"
#include "recovery/store/object_store.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

[[nodiscard]] Result<std::unique_ptr<Store>> open_store(const std::string& address,
                                                        const ObjectStoreOptions& options = {});

}  // namespace tessera::recovery
