// Every lifecycle answers every event in every state, and the drawings in docs/states show the same.
#include "scheduler/transitions.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace shoal::scheduler {
namespace {

template <class TableType>
void ExpectEveryPairDefined(const TableType& table) {
  for (int state = 0; state < table.states(); ++state) {
    for (int event = 0; event < table.events(); ++event) {
      EXPECT_NE(table.At(state, event).kind, Kind::kUndefined) << "state " << state << ", event " << event;
    }
  }
}

TEST(Transitions, EveryPairOfStateAndEventIsDefined) {
  ExpectEveryPairDefined(NodeTransitions());
  ExpectEveryPairDefined(ActorTransitions());
  ExpectEveryPairDefined(GroupTransitions());
  ExpectEveryPairDefined(JobTransitions());
}

// Whatever happens to it, something that is over stays over, except that a dead node may come back.
TEST(Transitions, TheEndIsTheEnd) {
  for (int event = 0; event < ActorTransitionTable::events(); ++event) {
    EXPECT_NE(ActorTransitions().At(static_cast<int>(ActorState::kDead), event).kind, Kind::kGo);
  }
  for (int event = 0; event < GroupTable::events(); ++event) {
    EXPECT_NE(GroupTransitions().At(static_cast<int>(PlacementGroupStateKind::kRemoved), event).kind, Kind::kGo);
  }
  for (int event = 0; event < JobTransitionTable::events(); ++event) {
    EXPECT_NE(JobTransitions().At(static_cast<int>(JobState::kFinished), event).kind, Kind::kGo);
  }
}

TEST(TransitionsDeathTest, AnImpossibleEventIsABug) {
  EXPECT_DEATH(ActorTransitions().Next(ActorState::kPending, ActorEvent::kStarted), "event");
}

// Rows of the table "| STATE | cell | cell |" in docs/states/NAME.md, by order.
std::vector<std::vector<std::string>> RowsOf(const std::string& name) {
  std::ifstream file(std::string(SHOAL_SOURCE_DIR) + "/docs/states/" + name + ".md");
  EXPECT_TRUE(file.good()) << name;
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] != '|') continue;
    std::vector<std::string> cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) {
      const size_t first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
      cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
    }
    rows.push_back(cells);
  }
  if (rows.size() >= 2) rows.erase(rows.begin(), rows.begin() + 2);  // heading and rule
  return rows;
}

template <class State, class TableType>
void ExpectDocumented(const std::string& name, const TableType& table) {
  const auto rows = RowsOf(name);
  ASSERT_EQ(rows.size(), static_cast<size_t>(table.states())) << name;
  for (int state = 0; state < table.states(); ++state) {
    const auto& row = rows[static_cast<size_t>(state)];
    ASSERT_EQ(row.size(), static_cast<size_t>(table.events()) + 1) << name;
    EXPECT_EQ(row[0], NameOf(static_cast<State>(state))) << name;
    for (int event = 0; event < table.events(); ++event) {
      const auto outcome = table.At(state, event);
      const std::string expected = outcome.kind == Kind::kGo     ? NameOf(outcome.next)
                                   : outcome.kind == Kind::kStay ? "stays"
                                                                 : "never";
      EXPECT_EQ(row[static_cast<size_t>(event) + 1], expected) << name << ": " << row[0] << ", event " << event;
    }
  }
}

TEST(Transitions, AreDrawnAsTheyAre) {
  ExpectDocumented<NodeState>("node", NodeTransitions());
  ExpectDocumented<ActorState>("actor", ActorTransitions());
  ExpectDocumented<PlacementGroupStateKind>("placement_group", GroupTransitions());
  ExpectDocumented<JobState>("job", JobTransitions());
}

}  // namespace
}  // namespace shoal::scheduler
