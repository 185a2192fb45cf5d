#include "mpool/internal/held_pins.h"

#include <gtest/gtest.h>

namespace mpool::internal {
namespace {

std::vector<PinReport> ReportOf(const HeldPins& pins) {
  return pins.Report([](FrameIndex frame) { return frame + 100; },
                     [](FrameIndex frame) { return frame < 50 ? frame : kNoFrame; });
}

PinReport Pin(uint32_t frame, int32_t pid, int32_t thread, uint32_t pins,
              bool for_writing = false) {
  return {.frame = frame,
          .page = frame + 100,
          .pid = pid,
          .thread = thread,
          .pins = pins,
          .for_writing = for_writing ? uint32_t{1} : uint32_t{0}};
}

TEST(HeldPins, ArePutTogetherByFrameProcessAndThread) {
  HeldPins pins;
  pins.AddHeld(3, 10, 11);
  pins.AddHeld(3, 10, 11);
  pins.AddHeld(3, 10, 12);
  pins.AddHeld(3, 20, 11);
  pins.AddHeld(2, 10, 11);
  pins.AddCounted(3, 10, 11, 4, 0, true);
  EXPECT_EQ(ReportOf(pins), (std::vector<PinReport>{Pin(2, 10, 11, 1), Pin(3, 10, 11, 6, true),
                                                    Pin(3, 10, 12, 1), Pin(3, 20, 11, 1)}));
}

TEST(HeldPins, ThatAreOverAreNotThere) {
  HeldPins pins;
  pins.AddHeld(3, 10, 11);
  pins.AddHeld(3, 10, 12);
  pins.AddHeld(3, 20, 21);
  pins.AddHeld(4, 10, 11);
  pins.AddCounted(3, 10, 0, 0, 2, false);
  EXPECT_EQ(ReportOf(pins), (std::vector<PinReport>{Pin(3, 20, 21, 1), Pin(4, 10, 11, 1)}));
}

TEST(HeldPins, OfFramesThatTheReportDoesNotHaveAreLeftOut) {
  HeldPins pins;
  pins.AddHeld(60, 10, 11);
  EXPECT_TRUE(ReportOf(pins).empty());
}

}  // namespace
}  // namespace mpool::internal
