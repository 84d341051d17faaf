// Lines of operations: what is read, and how a wrong line is named.
#include "algos/ttl/operation_lines.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::ttl {
namespace {

using ::testing::HasSubstr;
using Kind = OperationLine::Kind;

TEST(TtlOperationLines, EveryKindIsReadAndWrittenBack) {
  const std::string text =
      "# time op accounts amount\n"
      "0 credit alice 100\r\n"
      "\n"
      "   5\tspend  alice 18446744073709551615   \n"
      "6 transfer alice b\xc3\xb6ris 0\n"
      "9223372036854775807 balance alice\n"
      "7 resume";
  const auto lines = parse_operation_lines(text, "ops").value();
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0].line, 2U);
  EXPECT_EQ(lines[1].line, 4U);
  EXPECT_EQ(lines[1].kind, Kind::kSpend);
  EXPECT_EQ(lines[1].amount, ~Amount{0});
  EXPECT_EQ(lines[2].to, "b\xc3\xb6ris");
  EXPECT_EQ(lines[3].kind, Kind::kBalance);
  std::string again;
  for (const OperationLine& line : lines) again += to_line(line) + "\n";
  EXPECT_EQ(again,
            "0 credit alice 100\n5 spend alice 18446744073709551615\n6 transfer alice b\xc3\xb6ris 0\n"
            "9223372036854775807 balance alice\n7 resume\n");
}

TEST(TtlOperationLines, NothingIsNoOperation) {
  EXPECT_TRUE(parse_operation_lines("", "ops").value().empty());
  EXPECT_TRUE(parse_operation_lines("\n\n#\n \t\r\n", "ops").value().empty());
}

TEST(TtlOperationLines, AWrongLineIsNamed) {
  const auto complaint = [](const std::string& line) {
    const auto lines = parse_operation_lines("0 resume\n" + line + "\n", "ops.txt");
    EXPECT_EQ(lines.status().code(), Code::kInvalidArgument) << line;
    EXPECT_THAT(lines.status().message(), HasSubstr("ops.txt: line 2")) << line;
    return lines.status().message();
  };
  EXPECT_THAT(complaint("-1 credit a 1"), HasSubstr("\"-1\""));
  EXPECT_THAT(complaint("9223372036854775808 credit a 1"), HasSubstr("a time from 0"));
  EXPECT_THAT(complaint("1e3 credit a 1"), HasSubstr("a time from 0"));
  EXPECT_THAT(complaint("5"), HasSubstr("a time alone"));
  EXPECT_THAT(complaint("5 withdraw a 1"), HasSubstr("\"withdraw\""));
  EXPECT_THAT(complaint("5 credit a"), HasSubstr("3 words"));
  EXPECT_THAT(complaint("5 credit a 1 2"), HasSubstr("5 words"));
  EXPECT_THAT(complaint("5 transfer a 1"), HasSubstr("5 for transfer"));
  EXPECT_THAT(complaint("5 credit a -1"), HasSubstr("a whole amount"));
  EXPECT_THAT(complaint("5 credit a nan"), HasSubstr("a whole amount"));
  EXPECT_THAT(complaint("5 credit a 0.5"), HasSubstr("a whole amount"));
  EXPECT_THAT(complaint("5 credit a 18446744073709551616"), HasSubstr("a whole amount"));
  EXPECT_THAT(complaint("5 \x1b[31m a 1"), HasSubstr("\"\\x1b[31m\""))
      << "no control codes reach the terminal";
  EXPECT_THAT(complaint("5 " + std::string(500, 'x') + " a 1"), HasSubstr("...\""));
}

}  // namespace
}  // namespace tessera::ttl
