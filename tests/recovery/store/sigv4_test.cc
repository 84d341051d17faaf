// AWS's published examples, and requests that botocore has signed (make_sigv4_vectors.py).
#include "recovery/store/sigv4.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera::recovery {
namespace {

using ::testing::HasSubstr;

const std::string kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string sha256_of(const std::string& text) {
  const Bytes piece = std::as_bytes(std::span(text));
  return sha256_hex({&piece, 1});
}

// "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference.
class S3Examples : public ::testing::Test {
 protected:
  static std::string signature(SigV4Request request) {
    request.headers.emplace_back("Host", "examplebucket.s3.amazonaws.com");
    request.headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
    request.headers.emplace_back("x-amz-date", "20130524T000000Z");
    return authorization(request, {"us-east-1", "s3", "20130524T000000Z"}, "AKIAIOSFODNN7EXAMPLE",
                         Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
  }
};

TEST_F(S3Examples, GetObject) {
  EXPECT_EQ(signature({"GET", "/test.txt", {}, {{"Range", "bytes=0-9"}}, kEmptySha256}),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Examples, PutObject) {
  const Fields headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                          {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  EXPECT_THAT(signature({"PUT",
                         "/" + uri_encode("test$file.text", false),
                         {},
                         headers,
                         sha256_of("Welcome to Amazon S3.")}),
              HasSubstr("SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
                        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST_F(S3Examples, GetBucketLifecycle) {
  EXPECT_THAT(signature({"GET", "/", {{"lifecycle", ""}}, {}, kEmptySha256}),
              HasSubstr("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST_F(S3Examples, ListObjects) {
  EXPECT_THAT(signature({"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, kEmptySha256}),
              HasSubstr("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

// The Signature Version 4 test suite.
class TestSuite : public ::testing::Test {
 protected:
  static std::string signature(SigV4Request request) {
    request.payload_sha256 = kEmptySha256;
    request.headers.emplace_back("Host", "example.amazonaws.com");
    request.headers.emplace_back("X-Amz-Date", "20150830T123600Z");
    return authorization(request, {"us-east-1", "service", "20150830T123600Z"}, "AKIDEXAMPLE",
                         Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
  }
};

TEST_F(TestSuite, GetVanilla) {
  EXPECT_THAT(signature({"GET", "/", {}, {}, ""}),
              HasSubstr("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
}

TEST_F(TestSuite, GetVanillaQueryOrderKeyCase) {
  EXPECT_THAT(signature({"GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {}, ""}),
              HasSubstr("Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
}

TEST_F(TestSuite, PostVanilla) {
  EXPECT_THAT(signature({"POST", "/", {}, {}, ""}),
              HasSubstr("Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
}

TEST(SigV4, SignsAsBotocoreDoes) {
  std::ifstream file(TESSERA_SIGV4_VECTORS);
  const nlohmann::json vectors = nlohmann::json::parse(file);
  ASSERT_EQ(vectors.size(), 60U);
  for (const auto& vector : vectors) {
    SigV4Request request;
    request.method = vector["method"];
    request.path = vector["path"];
    request.query = vector["query"].get<Fields>();
    request.headers = vector["headers"].get<Fields>();
    request.payload_sha256 = sha256_of(vector["body"].get<std::string>());
    EXPECT_EQ(canonical_request(request), vector["canonical_request"].get<std::string>());
    EXPECT_EQ(authorization(request, {vector["region"], "s3", vector["time"]}, vector["access_key_id"],
                            Secret(vector["secret_access_key"].get<std::string>())),
              vector["authorization"].get<std::string>());
  }
}

TEST(SigV4, EncodesAllButUnreserved) {
  EXPECT_EQ(uri_encode("a/b c~_.-é*", false), "a/b%20c~_.-%C3%A9%2A");
  EXPECT_EQ(uri_encode("a/b", true), "a%2Fb");
}

TEST(SigV4, WritesTimesInUtc) {
  EXPECT_EQ(sigv4_time(0), "19700101T000000Z");
  EXPECT_EQ(sigv4_time(1'369'353'600), "20130524T000000Z");
}

TEST(SigV4, HashesPieces) {
  const std::string all = "Welcome to Amazon S3.";
  const Bytes bytes = std::as_bytes(std::span(all));
  const std::vector<Bytes> pieces = {bytes.first(3), {}, bytes.subspan(3)};
  EXPECT_EQ(sha256_hex(pieces), sha256_of(all));
  EXPECT_EQ(sha256_hex({}), kEmptySha256);
}

}  // namespace
}  // namespace tessera::recovery
