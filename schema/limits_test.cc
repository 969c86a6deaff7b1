#include "schema/limits.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

using absl::StatusCode;

TEST(Limits, OrdinaryThingsFit) {
  EXPECT_TRUE(CheckSize(TaskSpec()).ok());
  EXPECT_TRUE(CheckSize(Shape()).ok());
  EXPECT_TRUE(CheckSize(ActorSpec()).ok());
  EXPECT_TRUE(CheckSize(PlacementGroupSpec()).ok());
}

TEST(Limits, WhatIsTooLargeIsNamed) {
  TaskSpec task;
  task.name = std::string(kMostNameBytes + 1, 'x');
  EXPECT_EQ(CheckSize(task).message(), "the task's name takes 65537 bytes, 65536 at most");
  task = TaskSpec();
  task.args = Payload(std::string(kMostArgumentBytes + 1, 'x'));
  EXPECT_EQ(CheckSize(task).message(),
            "the task's arguments take 4194305 bytes, 4194304 at most; put them into one object and pass its reference");
  task = TaskSpec();
  task.num_returns = kMostReturns + 1;
  EXPECT_EQ(CheckSize(task).message(), "num_returns is 100001, 100000 at most: return lists of values");
  task = TaskSpec();
  task.nested.resize(kMostContained + 1);
  EXPECT_EQ(CheckSize(task).message(),
            "the task's arguments hold 100001 references, 100000 at most: put lists of them and pass the lists' references");

  Shape shape;
  shape.worker.env_vars = {{"X", std::string(kMostSettingsBytes, 'x')}};
  EXPECT_EQ(CheckSize(shape).code(), StatusCode::kInvalidArgument);
  ActorSpec actor;
  actor.shape = shape;
  EXPECT_EQ(CheckSize(actor).code(), StatusCode::kInvalidArgument);
  PlacementGroupSpec group;
  group.name = std::string(kMostNameBytes + 1, 'x');
  EXPECT_EQ(CheckSize(group).code(), StatusCode::kInvalidArgument);
}

TEST(Limits, LongTextsLoseTheirMiddle) {
  EXPECT_EQ(Shortened("short", 10), "short");
  EXPECT_EQ(Shortened("0123456789abcdef", 8), "0123\n... 8 bytes are left out here ...\ncdef");
  // Characters of several bytes stay whole.
  const std::string umlauts = "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4";
  EXPECT_EQ(Shortened(umlauts, 6), "\xC3\xA4\xC3\xA4\n... 6 bytes are left out here ...\n\xC3\xA4");
  // Neither does text that is no UTF-8 escape.
  EXPECT_LT(Shortened(std::string(1 << 20, '\x80'), 1000).size(), 1100u);
}

}  // namespace
}  // namespace shoal
