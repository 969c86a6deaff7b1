#include "runtime/io/json.h"

#include "gtest/gtest.h"

namespace shoal::io {
namespace {

TEST(JsonTest, ReadsBackWhatItWrote) {
  Json json = Json::Object();
  json.Set("text", "a \"quoted\"\nline\t\x01 \\").Set("number", 0.25).Set("whole", uint64_t{1} << 40).Set("yes", true);
  json.Set("list", Json::Array().Append(1).Append(Json()).Append(Json::Object()));
  const absl::StatusOr<Json> read = Json::Parse(json.ToString());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToString(), json.ToString());
  EXPECT_EQ(read->Text("text"), "a \"quoted\"\nline\t\x01 \\");
  EXPECT_EQ(read->Number("number"), 0.25);
  EXPECT_EQ(read->Find("whole")->ToString(), "1099511627776");
  EXPECT_TRUE(read->Boolean("yes"));
  EXPECT_EQ(read->Find("list")->items().size(), 3u);
}

TEST(JsonTest, ReadsEscapesOfEveryPlane) {
  const absl::StatusOr<Json> read = Json::Parse(R"(" \u00e4 \u20ac \ud83d\ude00 \/ ")");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text(), " \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 / ");
}

TEST(JsonTest, RefusesWhatIsNotExactlyOneValue) {
  for (const char* text : {"", "{", "{\"a\"}", "[1,]", "{\"a\":1,}", "1 2", "tru", "\"open", "\"\\q\"", "\"\\ud800\"", "nan", "1e999",
                           "{a:1}", "\"\x01\""}) {
    EXPECT_EQ(Json::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(Json::Parse(std::string(100'000, '[')).ok());
}

TEST(JsonTest, AMemberSetAgainIsReplaced) {
  EXPECT_EQ(Json::Object().Set("a", 1).Set("a", "x").ToString(), R"({"a":"x"})");
}

TEST(JsonTest, MissingMembersReadAsNothing) {
  const Json json = Json::Object().Set("a", 1);
  EXPECT_EQ(json.Find("b"), nullptr);
  EXPECT_EQ(json.Text("a"), "");
  EXPECT_EQ(json.Number("b"), 0);
}

TEST(JsonTest, NumbersReadBackAsTheSameNumber) {
  for (const double number : {1764030290.123456, 0.1, 1e-300, 1.8446744073709552e19, -2.5, 1e22}) {
    EXPECT_EQ(Json::Parse(Json(number).ToString())->number(), number) << Json(number).ToString();
  }
}

}  // namespace
}  // namespace shoal::io
