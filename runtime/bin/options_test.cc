#include "runtime/bin/options.h"

#include "gtest/gtest.h"
#include "runtime/bin/node_options.h"

namespace shoal::bin {
namespace {

const Command kCommand = {.name = "start",
                          .summary = "start things",
                          .options = {{"head", "", "be the head"},
                                      {"num-cpus", "N", "CPUs to offer"},
                                      {"memory", "BYTES", "memory to offer"},
                                      {"labels", "K=V", "labels", false, true},
                                      {"life-fd", "N", "internal", true}},
                          .examples = {"shoal start --head"}};

using Words = std::vector<std::string>;

std::string ErrorOf(const Command& command, const Words& words) {
  return std::string(ParseOptions(command, words).status().message());
}

TEST(OptionsTest, ValuesFollowOrAreJoinedByAnEqualsSign) {
  const absl::StatusOr<Options> options = ParseOptions(kCommand, {"--head", "--num-cpus=2.5", "--memory", "2GiB", "--labels", "a=1,b=x=y",
                                                                  "--labels", "a=2"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->Has("head"));
  EXPECT_EQ(*options->Number("num-cpus", 1, 0, 1000), 2.5);
  EXPECT_EQ(*options->Bytes("memory", 0), uint64_t{2} << 30);
  const auto labels = ParsePairs("labels", options->All("labels"));
  EXPECT_EQ(*labels, (std::map<std::string, std::string>{{"a", "2"}, {"b", "x=y"}}));
  EXPECT_EQ(options->Get("life-fd", "none"), "none");
}

TEST(OptionsTest, MistakesAreNamedWithTheWayOut) {
  EXPECT_EQ(ErrorOf(kCommand, {"--num-cpu", "2"}),
            "`shoal start` has no option --num-cpu; did you mean --num-cpus?; see `shoal start --help`");
  EXPECT_EQ(ErrorOf(kCommand, {"--num-cpus"}), "--num-cpus wants a value: --num-cpus N");
  EXPECT_EQ(ErrorOf(kCommand, {"--head=1"}), "--head takes no value");
  EXPECT_EQ(ErrorOf(kCommand, {"--head", "--head"}), "--head is given twice");
  EXPECT_NE(ErrorOf(kCommand, {"word"}).find("takes no argument, but 'word'"), std::string::npos);
}

TEST(OptionsTest, NumbersAreBounded) {
  for (const char* wrong : {"x", "-1", "1001", "nan", "inf", ""}) {
    const absl::StatusOr<Options> options = ParseOptions(kCommand, {"--num-cpus", wrong});
    EXPECT_FALSE(options->Number("num-cpus", 1, 0, 1000).ok()) << wrong;
  }
  for (const char* wrong : {"x", "-1", "1XB", "1e30", "GB"}) {
    EXPECT_FALSE(ParseOptions(kCommand, {"--memory", wrong})->Bytes("memory", 0).ok()) << wrong;
  }
  EXPECT_EQ(*ParseOptions(kCommand, {"--memory", "100000000"})->Bytes("memory", 0), 100'000'000u);
  EXPECT_EQ(*ParseOptions(kCommand, {"--memory", "1.5kB"})->Bytes("memory", 0), 1500u);
}

TEST(OptionsTest, PairsMustBePairs) {
  EXPECT_FALSE(ParsePairs("labels", {"novalue"}).ok());
  EXPECT_FALSE(ParsePairs("labels", {"=x"}).ok());
  EXPECT_TRUE(ParsePairs("labels", {"empty="}).ok());
}

TEST(NodeOptionsTest, AGpuIsNamedAsAcceleratorTypeSaysIt) {
  EXPECT_EQ(AcceleratorType("NVIDIA H100 80GB HBM3"), "H100");
  EXPECT_EQ(AcceleratorType("NVIDIA A100-SXM4-40GB"), "A100");
  EXPECT_EQ(AcceleratorType("Tesla T4"), "T4");
  EXPECT_EQ(AcceleratorType("Quadro"), "Quadro");
}

TEST(OptionsTest, TwoDashesEndTheOptions) {
  const Command submit = {.name = "submit", .positional = "-- CMD...", .options = {{"json", "", ""}}};
  const absl::StatusOr<Options> options = ParseOptions(submit, {"--", "python3", "--flag"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->positional(), Words({"python3", "--flag"}));
  // So does the command itself.
  EXPECT_EQ(ParseOptions(submit, {"--json", "python3", "--flag", "--"})->positional(), Words({"python3", "--flag", "--"}));
}

TEST(OptionsTest, HelpShowsWhatPeopleMayUse) {
  const std::string help = HelpOf(kCommand);
  EXPECT_NE(help.find("--num-cpus N"), std::string::npos);
  EXPECT_NE(help.find("  shoal start --head\n"), std::string::npos);
  EXPECT_EQ(help.find("life-fd"), std::string::npos);
}

}  // namespace
}  // namespace shoal::bin
