// The pin protocol in every order of its threads' steps, and that no part of it can be left out.

#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/pin_protocol_model.h"
#include "tests/model/tso_explorer.h"

namespace test_model {
namespace {

TsoModel Eviction(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .touch = true, .change = true}),
                       MakeReader(protocol, {.thread = 1}), MakeEvictor(protocol, {{1, 2}})},
                      1);
}
// The page comes back to its frame while the reader looks at it.
TsoModel Return(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.rounds = 2, .touch = true, .change = true}),
                       MakeEvictor(protocol, {{1, 2}, {2, 1}, {1, 3}})},
                      1);
}
// The entry of page 2 moves to where that of page 1 was.
TsoModel Neighbour(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .page = 2, .touch = true}),
                       MakeReader(protocol, {.thread = 1, .page = 2, .change = true}),
                       MakeEvictor(protocol, {{1, 3}, {2, 1}})},
                      2);
}
TsoModel Sync(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .rounds = 2, .change = true}),
                       MakeReader(protocol, {.thread = 1, .change = true}), MakeSync(protocol)},
                      1);
}
TsoModel SyncAndEviction(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .change = true}),
                       MakeReader(protocol, {.thread = 1, .change = true}), MakeSync(protocol),
                       MakeEvictor(protocol, {{1, 2}, {2, 1}})},
                      1);
}
TsoModel UnlatchedWrite(const Protocol& protocol) {
  return MakePinModel(
      {MakeReader(protocol, {.thread = 0, .rounds = 2, .change = true}),
       MakeReader(protocol, {.thread = 1}), MakeEvictor(protocol, {{1, 2}}, WriteBack::kUnlatched)},
      1);
}
TsoModel UnlatchedWriteAndSync(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.rounds = 2, .change = true}), MakeSync(protocol),
                       MakeEvictor(protocol, {{1, 2}, {2, 1}}, WriteBack::kUnlatched)},
                      1);
}
TsoModel UnlatchedWriteAndExclusion(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.rounds = 2, .change = true}), MakeWriter(protocol),
                       MakeEvictor(protocol, {{1, 2}}, WriteBack::kUnlatched)},
                      1);
}
TsoModel UnlatchedWriteTwice(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.rounds = 2, .change = true}),
                       MakeEvictor(protocol, {{1, 2}}, WriteBack::kUnlatched),
                       MakeEvictor(protocol, {{1, 3}}, WriteBack::kUnlatched)},
                      1);
}
TsoModel Growth(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .touch = true}),
                       MakeReader(protocol, {.thread = 1, .change = true}), MakeGrowth(protocol),
                       MakeEvictor(protocol, {{1, 2}, {2, 1}})},
                      1);
}
TsoModel Exclusion(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.thread = 0, .touch = true, .change = true}),
                       MakeReader(protocol, {.thread = 1}), MakeWriter(protocol)},
                      1);
}
TsoModel TwoWriters(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {.rounds = 2, .change = true}), MakeWriter(protocol),
                       MakeWriter(protocol)},
                      1);
}
// The table grows while the writer sleeps or writes.
TsoModel ExclusionAndGrowth(const Protocol& protocol) {
  return MakePinModel({MakeReader(protocol, {}), MakeWriter(protocol), MakeGrowth(protocol)}, 1);
}
// The entry of page 1 moves, and somebody wants to evict page 1 meanwhile.
TsoModel ExclusionAndEviction(const Protocol& protocol) {
  TsoModel model = MakePinModel({MakeReader(protocol, {.rounds = 2, .change = true}),
                                 MakeWriter(protocol), MakeEvictor(protocol, {{2, 3}, {1, 2}})},
                                2);
  std::swap(model.begin.memory[address::Entry(0, 0)], model.begin.memory[address::Entry(0, 1)]);
  return model;
}
// A pin on frame 1 is in a slot of this reader, who has given its address away.
TsoModel GivenAwayBy(Word reader, std::vector<Program> programs) {
  TsoModel model = MakePinModel(std::move(programs), 1);
  model.begin.memory[address::Slot(reader, 0)] = 1;
  model.begin.memory[address::Pins(1)] = 1;
  return model;
}
TsoModel ForeignPut(const Protocol& protocol) {
  return GivenAwayBy(0, {MakeReader(protocol, {.rounds = 2, .settle = true}),
                         MakeForeignPut(protocol, true), MakeEvictor(protocol, {{1, 2}, {2, 1}})});
}
// Reader A settles what is owed for reader B's slot: then its own put is a foreign one.
TsoModel ForeignSettle(const Protocol& protocol) {
  return GivenAwayBy(
      1, {MakeReader(protocol, {.thread = 0, .settle = true}), MakeReader(protocol, {.thread = 1}),
          MakeForeignPut(protocol, false), MakeEvictor(protocol, {{1, 2}})});
}
TsoModel ForeignPutAndExclusion(const Protocol& protocol) {
  return GivenAwayBy(0, {MakeReader(protocol, {.settle = true}), MakeForeignPut(protocol, false),
                         MakeWriter(protocol)});
}
TsoModel ForeignSettleAndExclusion(const Protocol& protocol) {
  return GivenAwayBy(1, {MakeReader(protocol, {.settle = true}), MakeForeignPut(protocol, false),
                         MakeWriter(protocol)});
}

struct Scenario {
  const char* name;
  TsoModel (*make)(const Protocol&);
};
constexpr Scenario kScenarios[] = {
    {"Eviction", Eviction},
    {"Return", Return},
    {"Neighbour", Neighbour},
    {"Sync", Sync},
    {"SyncAndEviction", SyncAndEviction},
    {"UnlatchedWrite", UnlatchedWrite},
    {"UnlatchedWriteAndSync", UnlatchedWriteAndSync},
    {"UnlatchedWriteAndExclusion", UnlatchedWriteAndExclusion},
    {"UnlatchedWriteTwice", UnlatchedWriteTwice},
    {"Growth", Growth},
    {"Exclusion", Exclusion},
    {"TwoWriters", TwoWriters},
    {"ExclusionAndGrowth", ExclusionAndGrowth},
    {"ExclusionAndEviction", ExclusionAndEviction},
    {"ForeignPut", ForeignPut},
    {"ForeignSettle", ForeignSettle},
    {"ForeignPutAndExclusion", ForeignPutAndExclusion},
    {"ForeignSettleAndExclusion", ForeignSettleAndExclusion},
};

// What the whole protocol does in a scenario: searched once.
const Exploration& Explored(const Scenario& scenario) {
  static std::map<std::string, Exploration> explored;
  const auto [place, is_new] = explored.try_emplace(scenario.name);
  if (is_new) place->second = Explore(scenario.make(Protocol()));
  return place->second;
}

std::ostream& operator<<(std::ostream& out, const Scenario& scenario) {
  return out << scenario.name;
}

class PinProtocol : public testing::TestWithParam<Scenario> {};

TEST_P(PinProtocol, HoldsInEveryOrderOfSteps) {
  const Exploration& explored = Explored(GetParam());
  EXPECT_TRUE(explored.violation.empty()) << explored.violation;
  std::cout << explored.states << " states\n";
}
INSTANTIATE_TEST_SUITE_P(, PinProtocol, testing::ValuesIn(kScenarios),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(PinProtocolScenarios, MakeEveryStep) {
  std::set<std::string> made, unmade;
  for (const Scenario& scenario : kScenarios) {
    const Exploration& explored = Explored(scenario);
    made.insert(explored.made.begin(), explored.made.end());
    unmade.insert(explored.unmade.begin(), explored.unmade.end());
  }
  for (const std::string& step : unmade) EXPECT_TRUE(made.contains(step)) << step;
}

// The latch alone is enough, in whichever order.
TEST(PinProtocolOwed, NeedsNoOrderUnderTheLatch) {
  const Protocol protocol{.slots_before_owed = false, .settle_owed_first = false};
  for (const auto make : {ForeignPut, ForeignSettle, ForeignPutAndExclusion}) {
    EXPECT_EQ(Explore(make(protocol)).violation, "");
  }
}
// The order alone keeps the frame of a pinned page.
TEST(PinProtocolOwed, NeedsNoLatchForEvictionInOrder) {
  const Protocol protocol{.owed_latched = false};
  for (const auto make : {ForeignPut, ForeignSettle}) {
    EXPECT_EQ(Explore(make(protocol)).violation, "");
  }
}

struct Omission {
  const char* name;
  std::vector<bool Protocol::*> parts;
  TsoModel (*make)(const Protocol&);
  const char* violation;
};
std::ostream& operator<<(std::ostream& out, const Omission& omission) {
  return out << omission.name;
}

std::vector<Omission> Omissions() {
  using P = Protocol;
  constexpr const char* kFrameTaken = "the frame of a pinned page is taken";
  constexpr const char* kNotDirty = "a page differs from the file and is not dirty";
  constexpr const char* kLost = "a change is lost";
  constexpr const char* kBothIn = "a writer is in a page that is pinned";
  constexpr const char* kSleeps = "waits for ever";
  return {
      {"Barrier", {&P::barrier}, Eviction, kFrameTaken},
      {"BarrierOfTheWriter", {&P::barrier}, Exclusion, kBothIn},
      {"Recheck", {&P::recheck}, Eviction, kFrameTaken},
      {"CloseBeforeScan", {&P::close_before_scan}, Eviction, kFrameTaken},
      {"ScanBeforeDirty", {&P::scan_before_dirty}, Eviction, kLost},
      {"TouchByExchange", {&P::touch_by_exchange}, Eviction, kFrameTaken},
      {"ZeroOldTable", {&P::zero_old_table}, Growth, kFrameTaken},
      {"AlwaysMarkDirty", {&P::always_mark_dirty}, Sync, kNotDirty},
      {"ExchangeDirty", {&P::exchange_dirty}, Sync, kNotDirty},
      {"MarkRescue", {&P::mark_rescue}, UnlatchedWriteAndExclusion, kFrameTaken},
      {"SyncWaits", {&P::sync_waits}, UnlatchedWriteAndSync, kNotDirty},
      {"WaitBeforeBarrier", {&P::wait_before_barrier}, Exclusion, kSleeps},
      {"RetreatNotifies", {&P::retreat_notifies}, Exclusion, kSleeps},
      {"FindAgainInTable", {&P::find_again_after_sleep}, ExclusionAndGrowth, kSleeps},
      {"FindAgainInPlace", {&P::find_again_after_sleep}, ExclusionAndEviction, kSleeps},
      {"CountOwed", {&P::count_owed}, ForeignPutAndExclusion, kSleeps},
      {"LatchAndSlotsBeforeOwed",
       {&P::owed_latched, &P::slots_before_owed},
       ForeignPut,
       kFrameTaken},
      {"LatchAndSettleOwedFirst",
       {&P::owed_latched, &P::settle_owed_first},
       ForeignPut,
       kFrameTaken},
  };
}

class PinProtocolWithout : public testing::TestWithParam<Omission> {};

TEST_P(PinProtocolWithout, IsFoundOut) {
  Protocol protocol;
  for (const auto part : GetParam().parts) protocol.*part = false;
  const Exploration explored = Explore(GetParam().make(protocol));
  EXPECT_THAT(explored.violation, testing::HasSubstr(GetParam().violation));
  std::cout << explored.states << " states; " << explored.violation;
}
INSTANTIATE_TEST_SUITE_P(, PinProtocolWithout, testing::ValuesIn(Omissions()),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace test_model
