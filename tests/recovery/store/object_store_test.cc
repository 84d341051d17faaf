// The object store against a real S3 server: the conformance suite, and every fault survived or reported.
#include "recovery/store/object_store.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "recovery/store/open_store.h"
#include "tests/recovery/store/conformance.h"
#include "tests/recovery/store/s3_server.h"
#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

using ::testing::HasSubstr;
using ::testing::Not;

std::string fresh_url(const std::string& bucket = kBucket) {
  static std::atomic<int> number{0};
  return "s3://" + bucket + "/run/" + std::to_string(++number);
}

class S3Place final : public StorePlace {
 public:
  explicit S3Place(ObjectStoreOptions options) : options_(std::move(options)) {}
  std::unique_ptr<Store> open() override { return open_s3(url_, options_); }

 private:
  std::string url_ = fresh_url();
  ObjectStoreOptions options_;
};

std::unique_ptr<StorePlace> path_place() { return std::make_unique<S3Place>(s3_server().options()); }

std::unique_ptr<StorePlace> virtual_place() {
  ObjectStoreOptions options = s3_server().options();
  options.endpoint = s3_server().endpoint("localhost");
  options.addressing = S3Addressing::kVirtual;
  const Environment before = options.environment;
  options.environment = [before](const char* name) {
    return std::string(name) == "AWS_SESSION_TOKEN" ? std::optional<std::string>(kSessionToken)
                                                    : before(name);
  };
  return std::make_unique<S3Place>(options);
}

const std::vector<StoreKind> kKinds = {{"path_style", path_place},
                                       {"virtual_host_style_and_token", virtual_place}};
INSTANTIATE_TEST_SUITE_P(S3, StoreConformance, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

class ObjectStoreTest : public ::testing::Test {
 protected:
  ObjectStoreTest() : store_(open_s3(url_, options_)) { server().tell("forget"); }
  ~ObjectStoreTest() override { server().tell("clear"); }
  static S3Server& server() { return s3_server(); }
  [[nodiscard]] Store& store() { return *store_; }
  const std::string url_ = fresh_url();
  const ObjectStoreOptions options_ = s3_server().options();
  const std::vector<std::byte> small_ = random_bytes(1, 100'000);    // one request
  const std::vector<std::byte> large_ = random_bytes(2, 1'000'000);  // four parts

 private:
  std::unique_ptr<Store> store_;
};

TEST_F(ObjectStoreTest, LargeObjectsGoInPartsAndComeInRanges) {
  ASSERT_TRUE(put_bytes(store(), "large", large_).ok());
  EXPECT_EQ(server().count("PUT partNumber="), 4);
  EXPECT_EQ(server().count("POST uploads"), 1);
  EXPECT_EQ(server().count("POST uploadId="), 1);
  EXPECT_EQ(server().count("DELETE"), 0);
  std::vector<std::byte> into(large_.size());
  ASSERT_TRUE(store().read("large", 0, into).ok());
  EXPECT_EQ(into, large_);
  EXPECT_EQ(server().count("GET"), 4);
  ASSERT_TRUE(put_bytes(store(), "small", small_).ok());
  EXPECT_EQ(server().count("PUT"), 5);
}

TEST_F(ObjectStoreTest, ListsByPages) {
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(put_bytes(store(), "k" + std::to_string(i), {}).ok());
  server().tell("forget");
  EXPECT_EQ(keys_of(store()).size(), 60U);
  EXPECT_EQ(server().count("GET list-type=2"), 3);
}

class FaultTest : public ObjectStoreTest {
 protected:
  FaultTest() {
    EXPECT_OK(put_bytes(store(), "there", small_));
    EXPECT_OK(put_bytes(store(), "there-large", large_));
    server().tell("forget");
  }
  [[nodiscard]] Status put_small() { return put_bytes(store(), "new", small_); }
  [[nodiscard]] Status put_large() { return put_bytes(store(), "new", large_); }
  [[nodiscard]] Status read_back(const std::string& key, const std::vector<std::byte>& expected) {
    std::vector<std::byte> into(expected.size());
    TS_TRY(store().read(key, 0, into));
    return into == expected ? Status() : Status(Code::kInternal, "other bytes than were put");
  }
  [[nodiscard]] Status size_right() {
    const std::int64_t size = TS_TRY(store().size("there"));
    return size == static_cast<std::int64_t>(small_.size()) ? Status()
                                                            : Status(Code::kInternal, "another size");
  }
  [[nodiscard]] Status list_right() {
    const std::vector<std::string> keys = TS_TRY(store().list(""));
    return keys.size() >= 2 && keys[keys.size() - 2] == "there" ? Status()
                                                                : Status(Code::kInternal, "other keys");
  }
  /// Runs it, and says what it said.
  [[nodiscard]] Status run(const std::string& operation) {
    if (operation == "put") return put_small();
    if (operation == "size") return size_right();
    if (operation == "read") return read_back("there", small_);
    if (operation == "read in ranges") return read_back("there-large", large_);
    if (operation == "list") return list_right();
    if (operation == "remove") return store().remove("there");
    return put_large();  // "start of upload", "part of upload", "end of upload"
  }
  static std::string requests_of(const std::string& operation) {
    static const std::map<std::string, std::string> requests = {{"put", "PUT new"},
                                                                {"size", "HEAD"},
                                                                {"read", "GET there"},
                                                                {"read in ranges", "GET there-large"},
                                                                {"list", "GET list-type"},
                                                                {"remove", "DELETE there"},
                                                                {"start of upload", "POST uploads"},
                                                                {"part of upload", "PUT partNumber=3"},
                                                                {"end of upload", "POST uploadId="}};
    return requests.at(operation);
  }
};

const std::vector<std::string> kAll = {
    "put",          "size", "read", "read in ranges", "list", "remove", "start of upload", "part of upload",
    "end of upload"};

// The fault comes twice, then the network is well: nobody notices but the clock.
TEST_F(FaultTest, WhatPassesIsSurvived) {
  struct Row {
    std::string fault;
    std::vector<std::string> operations;
  };
  const std::vector<Row> rows = {
      {"500", kAll},
      {"502", kAll},
      {"503", kAll},
      {"504", kAll},
      {"429", kAll},
      {"reset", kAll},
      {"reset_after", kAll},
      {"garbage", kAll},
      {"truncate", {"read", "read in ranges", "list", "start of upload", "end of upload"}},
      {"empty", {"read", "read in ranges", "list", "start of upload", "part of upload", "end of upload"}},
      {"half_xml", {"read", "list", "start of upload", "end of upload"}},
      {"error_in_200", {"read", "list", "start of upload", "part of upload", "end of upload"}},
      {"wrong_range", {"read", "read in ranges"}},
      {"ignore_range", {"read in ranges"}},
  };
  int faults = 0;
  for (const Row& row : rows) {
    for (const std::string& operation : row.operations) {
      ASSERT_TRUE(put_bytes(store(), "there", small_).ok());
      server().tell("forget");
      server().tell("fault " + row.fault + " 2 " + requests_of(operation));
      const Status status = run(operation);
      EXPECT_TRUE(status.ok()) << row.fault << " on " << operation << ": " << status.message();
      EXPECT_GE(server().count(requests_of(operation)), 3) << row.fault << " on " << operation;
      server().tell("clear");
      if (operation == "put") {
        EXPECT_OK(read_back("new", small_));
      }
      if (operation.ends_with("upload")) {
        EXPECT_OK(read_back("new", large_));
      }
      ++faults;
    }
  }
  EXPECT_EQ(faults, 95);
}

TEST_F(FaultTest, AStallEndsAndIsSurvived) {
  for (const char* fault : {"stall", "stall_body"}) {
    server().tell(std::string("fault ") + fault + " 1 GET there");
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_OK(run("read"));
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_GT(waited, 0.9);  // the stall timeout is 1 s
    EXPECT_LT(waited, 15);
  }
}

// The fault stays: the operation ends with the reason, in bounded time, and nothing is left behind.
TEST_F(FaultTest, WhatStaysIsReported) {
  struct Row {
    std::string fault;
    Code code;
    int tries;
    std::string says;
  };
  const std::vector<Row> rows = {
      {"500", Code::kUnavailable, 4, "500 InternalError"},
      {"503", Code::kUnavailable, 4, "503 SlowDown"},
      {"502", Code::kUnavailable, 4, "502"},
      {"reset", Code::kUnavailable, 4, ""},
      {"garbage", Code::kUnavailable, 4, ""},
      {"403", Code::kInvalidArgument, 1, "403 AccessDenied"},
      {"400", Code::kIoError, 1, "400 InvalidArgument"},
      {"507", Code::kResourceExhausted, 1, "507 QuotaExceeded"},
  };
  for (const Row& row : rows) {
    for (const std::string& operation : kAll) {
      if (operation == "size" && (row.fault == "400" || row.fault == "403" || row.fault == "507")) continue;
      server().tell("forget");
      server().tell("fault " + row.fault + " 1000 " + requests_of(operation));
      const Status status = run(operation);
      server().tell("clear");
      EXPECT_EQ(status.code(), row.code) << row.fault << " on " << operation << ": " << status.message();
      // An answer to HEAD has no body to say the code in.
      EXPECT_THAT(status.message(), HasSubstr(operation == "size" ? row.says.substr(0, 3) : row.says));
      EXPECT_THAT(status.message(), HasSubstr("s3://tessera-test/"));
      if (operation != "read in ranges") {
        // libcurl itself tries once more where a kept connection turns out to be closed.
        const int closed = row.fault == "reset" ? row.tries : 0;
        const int requests = server().count(requests_of(operation));
        EXPECT_GE(requests, row.tries) << row.fault << " on " << operation;
        EXPECT_LE(requests, row.tries + closed) << row.fault << " on " << operation;
      }
      if (operation == "part of upload" || operation == "end of upload") {
        EXPECT_EQ(server().count("DELETE uploadId="), 1) << row.fault;
      }
      EXPECT_EQ(store().size("new").status().code(), Code::kNotFound) << row.fault << " on " << operation;
    }
  }
}

TEST_F(FaultTest, ALongStallIsReported) {
  ObjectStoreOptions options = options_;
  options.retry.tries = 2;
  const auto hasty = open_s3(url_, options);
  server().tell("fault stall 1000 GET there");
  std::vector<std::byte> into(10);
  const Status status = hasty->read("there", 0, into);
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded) << status.message();
  EXPECT_THAT(status.message(), HasSubstr("after 2 tries"));
}

TEST_F(FaultTest, AFailedUploadLeavesTheFormerObject) {
  server().tell("fault 500 1000 PUT partNumber=4");
  EXPECT_EQ(put_bytes(store(), "there", large_).code(), Code::kUnavailable);
  server().tell("clear");
  EXPECT_OK(read_back("there", small_));
}

// The end of an upload was done and its answer lost; asked again, the server says there is no such upload.
TEST_F(FaultTest, AnUploadWhoseEndWasNotHeardIsDoneAgain) {
  server().tell("fault reset_after 1 POST uploadId=");
  server().tell("fault gone 1 POST uploadId=");
  EXPECT_OK(put_large());
  EXPECT_EQ(server().count("POST uploads"), 2);
  EXPECT_OK(read_back("new", large_));
  server().tell("fault gone 1000 POST uploadId=");
  const Status status = put_large();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("NoSuchUpload"));
}

// A server takes its time to put the parts together; longer here than the stall timeout of 1 s.
TEST_F(FaultTest, ASlowEndOfAnUploadIsNoStall) {
  server().tell("fault think 1 POST uploadId=");
  EXPECT_OK(put_large());
  EXPECT_EQ(server().count("POST uploadId="), 1);
}

TEST_F(FaultTest, ASlowLinkIsNoStall) {
  server().tell("fault slow 1000 GET there-large");
  EXPECT_OK(run("read in ranges"));
  EXPECT_EQ(server().count("GET there-large"), 4);
}

TEST_F(FaultTest, NoMessageHoldsASecret) {
  ObjectStoreOptions options = options_;
  const Environment before = options.environment;
  options.environment = [before](const char* name) {
    return std::string(name) == "AWS_SESSION_TOKEN" ? std::optional<std::string>(kSessionToken)
                                                    : before(name);
  };
  const auto with_token = open_s3(url_, options);
  std::string said = with_token->describe();
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  std::vector<std::byte> into(10);
  for (const char* fault : {"echo", "500", "403", "400", "garbage", "reset", "empty", "truncate"}) {
    server().tell(std::string("fault ") + fault + " 1000");
    said += put_bytes(*with_token, "there", small_).message() +
            put_bytes(*with_token, "there", large_).message() + with_token->read("there", 0, into).message() +
            with_token->size("there").status().message() + with_token->list("").status().message() +
            with_token->remove("there").message();
    server().tell("clear");
  }
  said += ::testing::internal::GetCapturedStdout() + ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("x-amz-security-token: ***"));  // echoed, and struck out
  EXPECT_THAT(said, Not(HasSubstr(kSecretAccessKey)));
  EXPECT_THAT(said, Not(HasSubstr(kSessionToken)));
  EXPECT_GT(said.size(), 3000U);
}

TEST_F(FaultTest, AWrongSecretIsTheUsersMistake) {
  ObjectStoreOptions options = options_;
  options.environment = [](const char* name) -> std::optional<std::string> {
    if (std::string(name) == "AWS_ACCESS_KEY_ID") return kAccessKeyId;
    if (std::string(name) == "AWS_SECRET_ACCESS_KEY") return "another";
    return std::nullopt;
  };
  const auto wrong = open_s3(url_, options);
  const Status status = put_bytes(*wrong, "new", small_);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(status.message(), HasSubstr("use credentials that are valid"));
}

TEST_F(FaultTest, CredentialsThatWereRenewedAreTaken) {
  std::atomic<bool> renewed{false};
  ObjectStoreOptions options = options_;
  options.environment = [&](const char* name) -> std::optional<std::string> {
    if (std::string(name) == "AWS_ACCESS_KEY_ID") return kAccessKeyId;
    if (std::string(name) == "AWS_SECRET_ACCESS_KEY") return renewed ? kSecretAccessKey : "expired";
    return std::nullopt;
  };
  const auto renewing = open_s3(url_, options);
  EXPECT_EQ(put_bytes(*renewing, "new", small_).code(), Code::kInvalidArgument);
  renewed = true;
  EXPECT_OK(put_bytes(*renewing, "new", small_));
  EXPECT_OK(read_back("new", small_));
}

TEST_F(ObjectStoreTest, ABucketThatIsNotThereIsNamed) {
  const auto store = open_s3(fresh_url("another-bucket"), options_);
  std::vector<std::byte> into(1);
  for (const Status& status :
       {put_bytes(*store, "a", small_), store->list("").status(), store->read("a", 0, into)}) {
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("another-bucket"));
  }
}

TEST_F(ObjectStoreTest, AServerThatIsNotThereIsUnavailable) {
  ObjectStoreOptions options = options_;
  options.endpoint = "http://127.0.0.1:1";
  const Status status = open_s3(url_, options)->list("").status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("after 4 tries"));
}

TEST_F(ObjectStoreTest, HttpsNeedsACertificateThatIsVouchedFor) {
  const TemporaryFolder folder;
  const std::string certificate = folder.path() + "/certificate.pem";
  const std::string key = folder.path() + "/key.pem";
  const std::string make =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tessera -addext "
      "subjectAltName=IP:127.0.0.1 -keyout " +
      key + " -out " + certificate + " 2>/dev/null";
  if (std::system(make.c_str()) != 0) GTEST_SKIP() << "no openssl program to make a certificate with";
  const auto proxy = server().start_proxy({certificate, key});
  ObjectStoreOptions options = options_;
  options.endpoint = "https://127.0.0.1:" + std::to_string(proxy->port());
  const Status refused = put_bytes(*open_s3(url_, options), "a", small_);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument) << refused.message();
  EXPECT_THAT(refused.message(), HasSubstr("AWS_CA_BUNDLE"));
  options.ca_bundle = certificate;
  const auto store = open_s3(url_, options);
  EXPECT_OK(put_bytes(*store, "a", large_));
  const auto read = read_all(*store, "a");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), large_);
  // Every connection is reset in the middle of the upload; SIGPIPE, as it is by default, must not end the
  // process.
  EXPECT_EQ(proxy->ask("fault reset 1000 PUT"), "ok");
  EXPECT_EQ(put_bytes(*store, "b", large_).code(), Code::kUnavailable);
  EXPECT_EQ(proxy->ask("clear"), "ok");
  EXPECT_OK(put_bytes(*store, "b", large_));
  options.ca_bundle = folder.path() + "/absent.pem";
  EXPECT_EQ(put_bytes(*open_s3(url_, options), "a", small_).code(), Code::kInvalidArgument);
}

TEST_F(ObjectStoreTest, ForeignObjectsAreNotListed) {
  const auto above = open_s3(std::string("s3://") + kBucket, options_);
  const std::string prefix = url_.substr(std::string("s3://").size() + std::string(kBucket).size() + 1);
  ASSERT_TRUE(put_bytes(*above, prefix + "/mine", small_).ok());
  ASSERT_TRUE(put_bytes(*above, prefix + "-beside", small_).ok());
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{"mine"});
}

TEST(OpenStore, TellsAddressesApart) {
  const TemporaryFolder folder;
  const auto directory = open_store(folder.path() + "/store");
  ASSERT_TRUE(directory.ok()) << directory.status().message();
  EXPECT_EQ((*directory.value()).describe(), "directory " + folder.path() + "/store");
  const auto objects = open_store(std::string("s3://") + kBucket + "/prefix/", s3_server().options());
  ASSERT_TRUE(objects.ok()) << objects.status().message();
  EXPECT_THAT((*objects.value()).describe(), HasSubstr("s3://tessera-test/prefix at 127.0.0.1:"));
  for (const char* wrong : {"", "gs://bucket", "s3://", "s3://a", "s3://bucket//x", "s3://bucket/a b",
                            "s3://b?c=d/x", "s3://bucket/../x"}) {
    const auto store = open_store(wrong, s3_server().options());
    ASSERT_FALSE(store.ok()) << wrong;
    EXPECT_EQ(store.status().code(), Code::kInvalidArgument) << wrong;
  }
}

TEST(OpenStore, RefusesEndpointsAndOptions) {
  const std::string url = std::string("s3://") + kBucket;
  for (const char* endpoint : {"localhost:9000", "ftp://localhost", "http://", "http://user:hunter2@host",
                               "http://a/b", "http://a?b"}) {
    ObjectStoreOptions options = s3_server().options();
    options.endpoint = endpoint;
    const auto store = open_object_store(url, options);
    ASSERT_FALSE(store.ok()) << endpoint;
    EXPECT_EQ(store.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(store.status().message(), Not(HasSubstr("hunter2")));
  }
  const auto refused = [&](const std::function<void(ObjectStoreOptions&)>& change) {
    ObjectStoreOptions options = s3_server().options();
    change(options);
    return open_object_store(url, options).status().code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& options) { options.part_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& options) { options.connections = 0; }));
  EXPECT_TRUE(refused([](auto& options) { options.list_page = 1001; }));
  EXPECT_TRUE(refused([](auto& options) { options.retry.tries = 0; }));
  EXPECT_TRUE(refused([](auto& options) { options.environment = [](auto) { return std::nullopt; }; }));
}

}  // namespace
}  // namespace tessera::recovery
