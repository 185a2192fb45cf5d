// The areas, and measuring them: that faults are counted where pages are taken away, and nowhere
// else.

#include "cli/bench/area.h"

#include <chrono>
#include <span>
#include <vector>

#include "cli/bench/measure.h"
#include "cli/temporary_file.h"
#include "gtest/gtest.h"
#include "os/file.h"

namespace cli::bench {
namespace {

constexpr uint32_t kPages = 64;
constexpr auto kSlice = std::chrono::milliseconds(2);

class AreaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<os::OwnedDescriptor> file = CreateTemporaryFile();
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *std::move(file);
    const std::vector<std::byte> bytes(size_t{kPages} * kPageBytes, std::byte{1});
    const std::span<const std::byte> part(bytes);
    ASSERT_TRUE(os::BorrowFile(file_.get())->WriteAt({&part, 1}, 0).ok());
    ASSERT_TRUE(os::BorrowFile(file_.get())->Sync().ok());
  }

  std::unique_ptr<Area> Make(Mode mode) {
    absl::StatusOr<std::unique_ptr<Area>> area = MakeArea(mode, file_.get(), kPages);
    EXPECT_TRUE(area.ok()) << area.status();
    return area.ok() ? *std::move(area) : nullptr;
  }

  os::OwnedDescriptor file_;
};

TEST_F(AreaTest, HasAllPagesAtFirstAndTouchingThemTakesNoFault) {
  TouchProbe probe(100'000);
  for (const Mode mode : kModes) {
    const std::unique_ptr<Area> area = Make(mode);
    ASSERT_NE(area, nullptr);
    EXPECT_EQ(area->PresentPages(), kPages) << ModeName(mode);
    EXPECT_EQ(area->Residency(16), std::vector<double>(16, 1)) << ModeName(mode);
    EXPECT_EQ(area->Residency(1000).size(), kPages);
    probe.Begin(Clock::now(), kSlice, nullptr);
    ASSERT_TRUE(area->TouchPages(probe).ok());
    const Slice slice = probe.End();
    EXPECT_EQ(slice.faults.major, 0u) << ModeName(mode);
    EXPECT_GT(slice.touches, 0u);
    EXPECT_EQ(slice.touches, probe.latency().count());
    EXPECT_EQ(slice.max_ns, probe.latency().max());
  }
}

TEST_F(AreaTest, LockedOnesRefuseToBePagedOut) {
  for (const Mode mode : kModes) {
    const bool locked = mode == Mode::kMlock || mode == Mode::kPool;
    const std::unique_ptr<Area> area = Make(mode);
    ASSERT_NE(area, nullptr);
    EXPECT_EQ(area->PageOut(), locked) << ModeName(mode);
    if (locked) {
      EXPECT_EQ(area->PresentPages(), kPages) << ModeName(mode);
      EXPECT_GE(area->locked_bytes(), uint64_t{kPages} * kPageBytes) << ModeName(mode);
    } else {
      EXPECT_EQ(area->locked_bytes(), 0u) << ModeName(mode);
    }
    EXPECT_EQ(area->misses().has_value(), mode == Mode::kPool);
    EXPECT_EQ(area->misses().value_or(0), 0u);
  }
}

TEST_F(AreaTest, AMappingLosesItsPagesAndFaultsThemInAgain) {
  if (os::IsInMemory(file_.get())) GTEST_SKIP() << "no directory for temporary files is on a disk";
  const std::unique_ptr<Area> area = Make(Mode::kMmap);
  ASSERT_NE(area, nullptr);
  for (int i = 0; i < 10 && area->PresentPages() == kPages; ++i) (void)area->PageOut();
  EXPECT_LT(area->PresentPages(), kPages);
  TouchProbe probe(0);
  OutlierLog log;
  probe.Begin(Clock::now(), 10 * kSlice, &log);
  ASSERT_TRUE(area->TouchPages(probe).ok());
  EXPECT_GT(probe.End().faults.total(), 0u);
  EXPECT_GT(log.count(), 0u);
}

TEST_F(AreaTest, AreMeasuredInTurn) {
  std::vector<std::unique_ptr<Area>> areas;
  for (const Mode mode : kModes) areas.push_back(Make(mode));
  int begun = 0;
  const absl::StatusOr<Measurement> measured =
      Measure(areas, {.length = 20 * kSlice, .slice = kSlice, .page_out = true, .go_on = {}},
              [&] { ++begun; });
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_EQ(begun, 1);
  EXPECT_FALSE(measured->ended_early);
  ASSERT_EQ(measured->modes.size(), 4u);
  for (const ModeResult& mode : measured->modes) {
    uint64_t touches = 0;
    for (const Slice& slice : mode.slices) touches += slice.touches;
    EXPECT_EQ(touches, mode.latency.count()) << ModeName(mode.mode);
    EXPECT_GT(touches, 0u);
    EXPECT_EQ(mode.page_outs_refused + mode.page_outs_done, mode.slices.size());
  }
  EXPECT_EQ(measured->modes[3].faults.major, 0u);
  EXPECT_EQ(measured->modes[3].page_outs_done, 0u);
  EXPECT_EQ(measured->modes[3].present_pages, kPages);
}

TEST_F(AreaTest, MeasuringEndsEarlyWhenItIsToldTo) {
  std::vector<std::unique_ptr<Area>> areas;
  areas.push_back(Make(Mode::kMalloc));
  int asked = 0;
  const absl::StatusOr<Measurement> measured = Measure(
      areas,
      {.length = std::chrono::hours(1),
       .slice = kSlice,
       .go_on = [&](std::chrono::nanoseconds, std::span<const ModeResult>) { return ++asked < 4; }},
      [] {});
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_TRUE(measured->ended_early);
  EXPECT_EQ(measured->modes[0].slices.size(), 3u);
}

}  // namespace
}  // namespace cli::bench
