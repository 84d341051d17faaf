// A build without libcurl, OpenSSL or expat refuses S3 and says what to install.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recovery/store/open_store.h"

namespace tessera::recovery {
namespace {

TEST(ObjectStoreAbsent, IsRefusedWithWhatToInstall) {
  const auto store = open_store("s3://bucket/prefix");
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), Code::kFailedPrecondition);
  for (const char* part : {"s3://bucket/prefix", "libcurl4-openssl-dev", "libssl-dev", "libexpat1-dev"}) {
    EXPECT_THAT(store.status().message(), ::testing::HasSubstr(part));
  }
}

}  // namespace
}  // namespace tessera::recovery
