#include "base/json.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(Json, WritesNestedObjectsAndArraysWithCommasBetween) {
  JsonWriter json;
  json.BeginArray();
  json.BeginObject().Field("name", "a").Field("n", 3).Field("on", true).EndObject();
  json.BeginObject().Key("list").BeginArray().Value(1).Value(2.5).EndArray().Key("none").BeginArray().EndArray().EndObject();
  json.EndArray();
  EXPECT_EQ(std::move(json).Finish(), R"([{"name":"a","n":3,"on":true},{"list":[1,2.5],"none":[]}])");
}

TEST(Json, EscapesWhatWouldEndOrBreakAString) {
  EXPECT_EQ(JsonQuote("a\"b\\c\n\t\r\x01\x7f"), R"("a\"b\\c\n\t\r\u0001\u007f")");
  EXPECT_EQ(JsonQuote(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(Json, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(JsonQuote("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
  EXPECT_EQ(JsonQuote("\xff"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(JsonQuote("\xc3"), "\"\xef\xbf\xbd\"") << "cut off";
  EXPECT_EQ(JsonQuote("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"") << "overlong";
  EXPECT_EQ(JsonQuote("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"") << "surrogate";
}

TEST(Json, NumbersReadBackAndWhatIsNoNumberIsNull) {
  EXPECT_EQ(JsonNumber(0.1), "0.1");
  EXPECT_EQ(JsonNumber(-2), "-2");
  EXPECT_EQ(JsonNumber(std::nan("")), "null");
  EXPECT_EQ(JsonNumber(std::numeric_limits<double>::infinity()), "null");
}

TEST(Json, ResourcesAreInUnits) {
  JsonWriter json;
  json.Value(ResourceSet::Of({{"CPU", 2}, {"GPU", 0.25}}));
  EXPECT_EQ(std::move(json).Finish(), R"({"CPU":2,"GPU":0.25})");
}

TEST(JsonDeathTest, UnfinishedTextIsABug) {
  EXPECT_DEATH(
      {
        JsonWriter json;
        json.BeginArray();
        std::move(json).Finish();
      },
      "unfinished JSON");
}

}  // namespace
}  // namespace shoal
