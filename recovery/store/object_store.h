/// S3 and what speaks its protocol, as a Store. Large objects go up in parts and come down in ranges, several
/// at a time; requests that fail for a while are tried again (retries.h); a multipart upload that does not
/// end well is aborted, and none of its parts is ever seen.
///
/// Reading an object that is replaced meanwhile gives one of the two: ranges of different ETags are read
/// again.
///
/// Built without libcurl, opening is kFailedPrecondition.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "algos/base/clock.h"
#include "algos/base/status.h"
#include "recovery/store/retries.h"
#include "recovery/store/s3_settings.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

struct ObjectStoreOptions {
  // What is empty, or kAuto, comes from the environment or the profile: s3_settings.h.
  std::string profile;
  std::string region;
  std::string endpoint;   // "http://localhost:9000"
  std::string ca_bundle;  // a file
  S3Addressing addressing = S3Addressing::kAuto;

  std::int64_t part_bytes = std::int64_t{16} << 20;  // of uploads and ranges; S3 takes 5 MiB to 5 GiB
  int connections = 8;                               // at a time, for one put or read
  int list_page = 1000;                              // keys asked for at once, 1 to 1000
  Nanoseconds connect_timeout = std::chrono::seconds(5);
  Nanoseconds stall_timeout = std::chrono::seconds(20);  // less than 1 KiB/s for this long
  Nanoseconds request_timeout = std::chrono::minutes(10);
  RetryPolicy retry;
  Environment environment = process_environment();
};

/// "s3://bucket" or "s3://bucket/prefix"; the prefix is a key. Sends nothing.
/// Errors    kInvalidArgument: the address, the settings, no credentials.
[[nodiscard]] Result<std::unique_ptr<Store>> open_object_store(const std::string& url,
                                                               const ObjectStoreOptions& options);

}  // namespace tessera::recovery
