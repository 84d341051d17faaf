// A build without libdivsufsort: this test links linear_bwt_absent.cc, whatever the machine has.
#include <vector>

#include <gtest/gtest.h>

#include "algos/strings/bwt.h"

namespace tessera::strings {
namespace {

TEST(BwtWithoutLibrary, LongTextsAreRefusedWithARemedyAndUntouched) {
  ASSERT_FALSE(has_linear_method());
  std::vector<std::uint8_t> text(kAutoLimitWithoutLinear + 1, 'a');
  text[0] = 'b';
  const auto before = text;
  std::vector<std::uint32_t> lyn(text.size());
  for (const Status& status : {bwt(text).status(), bwt_lyndon(text, lyn).status()}) {
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_NE(status.message().find("libdivsufsort-dev"), std::string::npos) << status.message();
  }
  EXPECT_EQ(text, before);
}

TEST(BwtWithoutLibrary, ShorterTextsAreServedInPlace) {
  EXPECT_EQ(chosen_method(kAutoLimitWithoutLinear, true), Method::kInPlace);
  std::vector<std::uint8_t> text(5000, 'a');
  text[2500] = 'b';
  EXPECT_TRUE(bwt(text).ok());
}

}  // namespace
}  // namespace tessera::strings
