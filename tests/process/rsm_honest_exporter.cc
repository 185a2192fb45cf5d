#include "tests/process/rsm_honest_exporter.h"

#include "tests/support/rsm_setting.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace hostile {

using test_support::Connect;
using test_support::CountDescriptors;
using test_support::Create;
using test_support::Eventually;
using test_support::ImportersOf;
using test_support::kSegment;
using test_support::Line;
using test_support::Publish;
using test_support::Succeeds;
using test_support::TaggedMemory;

namespace {

// Publishes a segment, and does what it is told.
void Serve(const Line& line, const std::function<void(rsm_memseg_export_handle_t)>& publish) {
  TaggedMemory memory(kPages, kTag);
  rsm_memseg_export_handle_t segment = nullptr;
  ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
  publish(segment);
  test_support::AwaitIdleThreads();
  line.Say(0);
  for (uint64_t order = line.Hear(); order != Line::kNothing; order = line.Hear()) {
    uint64_t answer = 0;
    switch (order) {
      case kCountDescriptors:
        test_support::AwaitIdleThreads();
        answer = CountDescriptors();
        break;
      case kLook:
        answer = memory.IsIntact() ? 1 : 0;
        break;
      case kPost:
        answer = static_cast<uint64_t>(rsm_intr_signal_post(segment, 0));
        break;
      case kWait:
        answer = static_cast<uint64_t>(rsm_intr_signal_wait(segment, 0));
        break;
      default:
        EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    }
    line.Say(answer);
  }
}

}  // namespace

Exporter::Exporter(int mode)
    : Exporter([mode](rsm_memseg_export_handle_t segment) {
        EXPECT_TRUE(Succeeds(Publish(segment, kSegment, mode)));
      }) {}

Exporter::Exporter(const std::function<void(rsm_memseg_export_handle_t)>& publish)
    : process_([&](const Line& line) { Serve(line, publish); }) {
  EXPECT_EQ(process_.Hear(), 0u);
  descriptors_ = Ask(kCountDescriptors);
}

uint64_t Exporter::Ask(Order order) const {
  process_.Say(order);
  return process_.Hear();
}

void Exporter::ExpectAsBefore(bool is_intact) const {
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
  EXPECT_TRUE(Eventually([&] { return Ask(kCountDescriptors) == descriptors_; }))
      << Ask(kCountDescriptors) << " descriptors, and " << descriptors_ << " at first";
  if (is_intact) {
    EXPECT_EQ(Ask(kLook), 1u) << "its memory has been changed";
  }
  ExpectServes();
}

void Exporter::ExpectServes() {
  rsm_memseg_import_handle_t import = nullptr;
  uint64_t word = 0;
  ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_READ)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
  EXPECT_EQ(word, TaggedMemory::Word(kTag, 0));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
}

}  // namespace hostile
