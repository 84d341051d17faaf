// Documents as S3 sends them, and everything that only looks like one.
#include "recovery/store/s3_xml.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera::recovery {
namespace {

std::string list(const std::string& inner) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
         "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
         inner + "</ListBucketResult>";
}

TEST(S3Xml, ReadsAPage) {
  const auto page = parse_s3_list(
      list("<Name>bucket</Name><Prefix>job/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
           "<Contents><Key>job/a&amp;b</Key><ETag>&quot;1&quot;</ETag><Owner><ID>Key</ID></Owner></Contents>"
           "<Contents><Key>job%2Fc+d%zz%4</Key></Contents>"
           "<CommonPrefixes><Prefix>x</Prefix></CommonPrefixes>"
           "<NextContinuationToken>1/ab+c==</NextContinuationToken>"));
  ASSERT_TRUE(page.ok()) << page.status().message();
  EXPECT_EQ(page->keys, (std::vector<std::string>{"job/a&b", "job/c d%zz%4"}));
  EXPECT_EQ(page->continuation, "1/ab+c==");
}

TEST(S3Xml, TheLastPageHasNoToken) {
  const auto page =
      parse_s3_list(list("<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"));
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->keys.empty());
  EXPECT_EQ(page->continuation, "");
}

TEST(S3Xml, WhatIsNoListIsLostData) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "<a>";
  for (const std::string& text : std::vector<std::string>{
           "", "<", "<html></html>", "{}", list(""), list("<IsTruncated>perhaps</IsTruncated>"),
           list("<IsTruncated>true</IsTruncated>"), list("<IsTruncated>false</IsTruncated>").substr(0, 150),
           deep, list("<IsTruncated>false</IsTruncated>") + "<more/>", list("<IsTruncated>false</Truncated>"),
           list("<IsTruncated>false</IsTruncated>&undefined;"), list("<IsTruncated>false</IsTruncated>\xff"),
           "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">]>" + list("<IsTruncated>false</IsTruncated>").substr(39),
           "<Error><Code>SlowDown</Code></Error>"}) {
    const auto page = parse_s3_list(text);
    ASSERT_FALSE(page.ok()) << text;
    EXPECT_EQ(page.status().code(), Code::kDataLoss);
  }
}

TEST(S3Xml, EveryTruncatedListIsRefused) {
  const std::string text = list("<IsTruncated>false</IsTruncated><Contents><Key>job/a</Key></Contents>");
  ASSERT_TRUE(parse_s3_list(text).ok());
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(parse_s3_list(text.substr(0, size)).ok()) << size;
}

TEST(S3Xml, ReadsUploadIdsAndErrors) {
  const auto id = parse_s3_upload_id(
      "<InitiateMultipartUploadResult><Bucket>b</Bucket><UploadId>x-1</UploadId>"
      "</InitiateMultipartUploadResult>");
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id.value(), "x-1");
  EXPECT_FALSE(
      parse_s3_upload_id("<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>").ok());
  EXPECT_FALSE(parse_s3_upload_id("").ok());
  const S3Error error =
      parse_s3_error("<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>less</Message></Error>");
  EXPECT_EQ(error.code, "SlowDown");
  EXPECT_EQ(error.message, "less");
  EXPECT_EQ(parse_s3_error("no XML").code, "");
  EXPECT_TRUE(is_s3_document("<A><B/></A>", "A"));
  EXPECT_FALSE(is_s3_document("<A><B/></A>", "B"));
  EXPECT_FALSE(is_s3_document("<A><B/>", "A"));
}

}  // namespace
}  // namespace tessera::recovery
