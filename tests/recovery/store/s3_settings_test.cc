// The variables and files of AWS's programs, and which wins.
#include "recovery/store/s3_settings.h"

#include <fstream>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace tessera::recovery {
namespace {

using test::TemporaryFolder;

using ::testing::HasSubstr;
using ::testing::Not;

class S3SettingsTest : public ::testing::Test {
 protected:
  S3SettingsTest() { variables_["HOME"] = home_.path(); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(home_.path() + "/.aws");
    std::ofstream(home_.path() + "/" + name) << text;
  }
  [[nodiscard]] Result<S3Settings> find(const std::string& profile = "") const {
    return find_s3_settings(
        [this](const char* name) {
          const auto at = variables_.find(name);
          return at == variables_.end() ? std::nullopt : std::optional<std::string>(at->second);
        },
        profile);
  }
  TemporaryFolder home_;
  std::map<std::string, std::string> variables_;
};

constexpr const char* kCredentials =
    "# two accounts\n"
    "[default]\n"
    "aws_access_key_id = AKIADEFAULT\n"
    "aws_secret_access_key=secret-default\n"
    "\n"
    "[ team ]\r\n"
    "  aws_access_key_id =AKIATEAM\r\n"
    "  aws_secret_access_key = secret=team\r\n"
    "  aws_session_token = token-team\r\n";
constexpr const char* kConfig =
    "[default]\n"
    "region = eu-west-1\n"
    "s3 =\n"
    "    max_concurrent_requests = 20\n"
    "    addressing_style = path\n"
    "output = json\n"
    "; another\n"
    "[profile team]\n"
    "region=eu-north-1\n"
    "endpoint_url = https://minio.example:9000\n"
    "ca_bundle = /etc/minio.pem\n"
    "addressing_style = virtual\n"
    "[profile alone]\n"
    "aws_access_key_id = AKIAALONE\n"
    "aws_secret_access_key = secret-alone\n";

TEST_F(S3SettingsTest, VariablesAlone) {
  variables_["AWS_ACCESS_KEY_ID"] = "AKIA1";
  variables_["AWS_SECRET_ACCESS_KEY"] = "secret";
  auto settings = find();
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->credentials.access_key_id, "AKIA1");
  EXPECT_EQ(settings->credentials.secret_access_key.reveal(), "secret");
  EXPECT_TRUE(settings->credentials.session_token.empty());
  EXPECT_EQ(settings->region, "us-east-1");
  EXPECT_EQ(settings->endpoint, "");
  EXPECT_EQ(settings->addressing, S3Addressing::kAuto);
  variables_["AWS_SESSION_TOKEN"] = "token";
  variables_["AWS_DEFAULT_REGION"] = "eu-west-2";
  variables_["AWS_ENDPOINT_URL"] = "http://a";
  variables_["AWS_CA_BUNDLE"] = "/ca.pem";
  settings = find();
  EXPECT_EQ(settings->credentials.session_token.reveal(), "token");
  EXPECT_EQ(settings->region, "eu-west-2");
  EXPECT_EQ(settings->endpoint, "http://a");
  EXPECT_EQ(settings->ca_bundle, "/ca.pem");
  variables_["AWS_REGION"] = "eu-west-3";
  variables_["AWS_ENDPOINT_URL_S3"] = "http://b";
  settings = find();
  EXPECT_EQ(settings->region, "eu-west-3");
  EXPECT_EQ(settings->endpoint, "http://b");
}

TEST_F(S3SettingsTest, FilesAndProfiles) {
  write(".aws/credentials", kCredentials);
  write(".aws/config", kConfig);
  auto settings = find();
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->credentials.access_key_id, "AKIADEFAULT");
  EXPECT_EQ(settings->credentials.secret_access_key.reveal(), "secret-default");
  EXPECT_EQ(settings->region, "eu-west-1");
  EXPECT_EQ(settings->addressing, S3Addressing::kPath);
  variables_["AWS_PROFILE"] = "team";
  settings = find();
  EXPECT_EQ(settings->credentials.access_key_id, "AKIATEAM");
  EXPECT_EQ(settings->credentials.secret_access_key.reveal(), "secret=team");
  EXPECT_EQ(settings->credentials.session_token.reveal(), "token-team");
  EXPECT_EQ(settings->region, "eu-north-1");
  EXPECT_EQ(settings->endpoint, "https://minio.example:9000");
  EXPECT_EQ(settings->ca_bundle, "/etc/minio.pem");
  EXPECT_EQ(settings->addressing, S3Addressing::kVirtual);
  settings = find("alone");
  EXPECT_EQ(settings->credentials.access_key_id, "AKIAALONE");
}

TEST_F(S3SettingsTest, VariablesWinOverFilesButNotOverAProfileThatWasAskedFor) {
  write(".aws/credentials", kCredentials);
  variables_["AWS_ACCESS_KEY_ID"] = "AKIA1";
  variables_["AWS_SECRET_ACCESS_KEY"] = "secret";
  EXPECT_EQ(find()->credentials.access_key_id, "AKIA1");
  EXPECT_EQ(find("team")->credentials.access_key_id, "AKIATEAM");
  variables_.erase("AWS_SECRET_ACCESS_KEY");  // half a pair is none
  EXPECT_EQ(find()->credentials.access_key_id, "AKIADEFAULT");
}

TEST_F(S3SettingsTest, FilesElsewhere) {
  write("mine", kCredentials);
  write("settings", kConfig);
  variables_["AWS_SHARED_CREDENTIALS_FILE"] = home_.path() + "/mine";
  variables_["AWS_CONFIG_FILE"] = home_.path() + "/settings";
  const auto settings = find();
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->credentials.access_key_id, "AKIADEFAULT");
  EXPECT_EQ(settings->region, "eu-west-1");
}

TEST_F(S3SettingsTest, WithoutCredentialsItSaysWhereItLooked) {
  variables_["AWS_PROFILE"] = "nobody";
  write(".aws/credentials", kCredentials);
  const auto settings = find();
  ASSERT_FALSE(settings.ok());
  EXPECT_EQ(settings.status().code(), Code::kInvalidArgument);
  for (const char* part : {"AWS_ACCESS_KEY_ID", "profile nobody", "/.aws/credentials", "/.aws/config"}) {
    EXPECT_THAT(settings.status().message(), HasSubstr(part));
  }
}

TEST_F(S3SettingsTest, ALineThatIsNoneIsNamedAndNotShown) {
  for (const char* text : {"[default]\naws_secret_access_key hunter2\n", "hunter2 = x\n[default]\n",
                           "[hunter2\n", "[default]\n= hunter2\n"}) {
    write(".aws/credentials", text);
    const auto settings = find();
    ASSERT_FALSE(settings.ok()) << text;
    EXPECT_EQ(settings.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(settings.status().message(), HasSubstr("/.aws/credentials:"));
    EXPECT_THAT(settings.status().message(), Not(HasSubstr("hunter2")));
  }
  write(".aws/credentials", kCredentials);
  write(".aws/config", "[default]\naddressing_style = sideways\n");
  EXPECT_THAT(find().status().message(), HasSubstr("sideways"));
}

}  // namespace
}  // namespace tessera::recovery
