#include "runtime/bin/table.h"

#include "gtest/gtest.h"

namespace shoal::bin {
namespace {

using io::Json;

TEST(TableTest, ColumnsAreAsWideAsTheyNeedToBe) {
  Json rows = Json::Array();
  rows.Append(Json::Object().Set("name", "a").Set("cpus", 2).Set("nothing", ""));
  rows.Append(Json::Object().Set("name", "longer").Set("alive", true));
  EXPECT_EQ(FormatTable(rows), "name    cpus  alive\na       2\nlonger        yes\n");
  EXPECT_EQ(FormatTable(rows, {"cpus"}), "cpus\n2\n\n");
}

TEST(TableTest, NestedValuesAreReadable) {
  const Json value = Json::Object().Set("CPU", 2).Set("memory", 2048).Set("tags", Json::Array().Append("x").Append("y"));
  EXPECT_EQ(FormatCell(value), "CPU 2, memory 2 KiB, tags x, y");
}

TEST(TableTest, LongCellsAreCutBetweenCharacters) {
  Json rows = Json::Array();
  rows.Append(Json::Object().Set("t", std::string(56, 'a') + "\xc3\xa4" + std::string(20, 'b')));
  EXPECT_EQ(FormatTable(rows), "t\n" + std::string(56, 'a') + "...\n");
}

TEST(TableTest, BytesHaveUnits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3.0 * 1024 * 1024 * 1024), "3 GiB");
}

}  // namespace
}  // namespace shoal::bin
