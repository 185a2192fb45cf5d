#include "rsm/segment.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tests/support/child.h"
#include "tests/support/interruptions.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm {
namespace {

using std::chrono::milliseconds;
using test_support::FillPages;
using test_support::Line;
using test_support::LockedBytes;
using test_support::OtherProcess;
using test_support::PageSize;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::TestMapping;
using test_support::TextOf;

using Reader = ImportedSegment<Access::kRead>;
using Writer = ImportedSegment<Access::kReadWrite>;

// --- Types --------------------------------------------------------------------------------------

static_assert(std::is_same_v<decltype(std::declval<Mapping<Access::kRead>>().bytes()),
                             absl::Span<const std::byte>>);
static_assert(std::is_same_v<decltype(std::declval<Mapping<Access::kReadWrite>>().bytes()),
                             absl::Span<std::byte>>);

template <typename Segment>
concept CanPut = requires(const Segment& segment, absl::Span<const std::byte> bytes) {
  segment.Put(0, bytes);
};
static_assert(CanPut<Writer> && !CanPut<Reader>);

static_assert(std::is_nothrow_move_constructible_v<ExportedSegment> &&
              std::is_nothrow_move_assignable_v<ExportedSegment>);
static_assert(!std::is_copy_constructible_v<ExportedSegment> &&
              !std::is_default_constructible_v<ExportedSegment>);

absl::Span<const std::byte> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Whether it is of that kind, and names the code, with rsm_error()'s words.
testing::AssertionResult Is(absl::StatusCode kind, const std::string& words,
                            const absl::Status& status) {
  if (status.code() == kind && std::string(status.message()).find(words) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << status;
}
template <typename Value>
testing::AssertionResult Is(absl::StatusCode kind, const std::string& words,
                            const absl::StatusOr<Value>& result) {
  return Is(kind, words, result.status());
}

// Memory of 2 pages.
class SegmentTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 2;
  const size_t kBytes = kPages * PageSize();

  SegmentTest() { FillPages(mapping_, kPages, "page "); }

  absl::Span<std::byte> memory() const { return {mapping_.page(0), kBytes}; }
  static ExportedSegment Create(absl::Span<std::byte> memory,
                                ExportedSegment::Options options = {}) {
    return *ExportedSegment::Create(memory, options);
  }

  const RsmFolder folder_;
  const TestMapping mapping_{kPages};
};

// --- Use ----------------------------------------------------------------------------------------

TEST_F(SegmentTest, IsReadAndWrittenByGetAndPut) {
  ExportedSegment segment = Create(memory());
  const absl::StatusOr<SegmentNumber> number = segment.Publish();
  ASSERT_TRUE(number.ok()) << number.status();
  const absl::StatusOr<Writer> remote = Writer::Connect(*number);
  ASSERT_TRUE(remote.ok()) << remote.status();
  EXPECT_EQ(remote->size(), kBytes);
  EXPECT_TRUE(remote->is_connected());
  std::byte bytes[7];
  EXPECT_EQ(remote->Get(PageSize(), absl::MakeSpan(bytes)), absl::OkStatus());
  EXPECT_EQ(TextOf(bytes, 7), "page 1.");
  EXPECT_EQ(remote->Put(3, BytesOf("importer")), absl::OkStatus());
  EXPECT_EQ(TextOf(mapping_.page(0), 11), "pagimporter");
}

TEST_F(SegmentTest, IsSeenThroughAMapping) {
  ExportedSegment segment = Create(memory());
  const Writer remote = *Writer::Connect(*segment.Publish());
  const absl::StatusOr<Mapping<Access::kReadWrite>> mapping = remote.Map();
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  ASSERT_EQ(mapping->bytes().size(), kBytes);
  mapping->bytes()[0] = std::byte{'P'};
  EXPECT_EQ(TextOf(mapping_.page(0), 5), "Page ");
  mapping_.page(0)[1] = std::byte{'A'};
  EXPECT_EQ(mapping->bytes()[1], std::byte{'A'});
}

TEST_F(SegmentTest, IsSeenInPartThroughAMappingOfAPart) {
  ExportedSegment segment = Create(memory());
  const Reader remote = *Reader::Connect(*segment.Publish());
  const Mapping<Access::kRead> mapping = *remote.Map(PageSize(), PageSize());
  EXPECT_EQ(mapping.bytes().size(), PageSize());
  EXPECT_EQ(TextOf(mapping.bytes().data(), 7), "page 1.");
}

TEST_F(SegmentTest, OfAReaderCannotBeMadeWritable) {
  ExportedSegment segment = Create(memory());
  const Reader remote = *Reader::Connect(*segment.Publish());
  const Mapping<Access::kRead> mapping = *remote.Map();
  EXPECT_EQ(
      mprotect(const_cast<std::byte*>(mapping.bytes().data()), PageSize(), PROT_READ | PROT_WRITE),
      -1);
}

TEST_F(SegmentTest, IsReboundWithoutTheImportersDoingAnything) {
  const TestMapping other(kPages);
  FillPages(other, kPages, "other ");
  ExportedSegment segment = Create(memory(), {.allow_rebind = true});
  const Reader remote = *Reader::Connect(*segment.Publish());
  const Mapping<Access::kRead> mapping = *remote.Map();
  EXPECT_EQ(segment.Rebind({other.page(0), kBytes}), absl::OkStatus());
  EXPECT_EQ(TextOf(mapping.bytes().data(), 8), "other 0.");
}

TEST_F(SegmentTest, HasTheNumberAndTheModeThatAreAskedFor) {
  ExportedSegment segment = Create(memory());
  const absl::StatusOr<SegmentNumber> number = segment.Publish({.number = 0x400001, .mode = 0444});
  ASSERT_TRUE(number.ok()) << number.status();
  EXPECT_EQ(*number, 0x400001u);
  EXPECT_TRUE(Reader::Connect(0x400001).ok());
  EXPECT_TRUE(
      Is(absl::StatusCode::kPermissionDenied, "RSMERR_PERM_DENIED: ", Writer::Connect(0x400001)));
}

TEST_F(SegmentTest, IsRepublishedForWhoConnectsLater) {
  ExportedSegment segment = Create(memory());
  const SegmentNumber number = *segment.Publish({.mode = 0444});
  EXPECT_EQ(segment.Republish(0666), absl::OkStatus());
  EXPECT_TRUE(Writer::Connect(number).ok());
}

TEST_F(SegmentTest, PostsAndWaitsForSignals) {
  ExportedSegment segment = Create(memory());
  const Reader remote = *Reader::Connect(*segment.Publish());
  EXPECT_EQ(remote.Post(), absl::OkStatus());
  EXPECT_EQ(remote.Post(), absl::OkStatus());
  EXPECT_EQ(segment.Wait(std::nullopt), absl::OkStatus());
  EXPECT_EQ(segment.Wait(milliseconds(0)), absl::OkStatus());
  EXPECT_TRUE(
      Is(absl::StatusCode::kDeadlineExceeded, "RSMERR_TIMEOUT: ", segment.Wait(milliseconds(1))));
  EXPECT_TRUE(Is(absl::StatusCode::kDeadlineExceeded, "", segment.Wait(milliseconds(-5))))
      << "what is past already";
  std::thread exporter([&] { EXPECT_EQ(segment.Post(), absl::OkStatus()); });
  EXPECT_EQ(remote.Wait(milliseconds::max()), absl::OkStatus());
  exporter.join();
}

// --- Ends ---------------------------------------------------------------------------------------

TEST_F(SegmentTest, IsLockedAsLongAsItLives) {
  const uint64_t before = LockedBytes();
  {
    const ExportedSegment segment = Create(memory());
    EXPECT_EQ(LockedBytes(), before + kBytes);
  }
  EXPECT_EQ(LockedBytes(), before);
}

TEST_F(SegmentTest, IsMoved) {
  const TestMapping other(kPages);
  const uint64_t before = LockedBytes();
  ExportedSegment one = Create(memory());
  const SegmentNumber number = *one.Publish();
  ExportedSegment two = std::move(one);
  const Reader remote = *Reader::Connect(number);
  EXPECT_EQ(two.Post(), absl::OkStatus());
  EXPECT_EQ(remote.Wait(milliseconds(0)), absl::OkStatus());
  two = Create({other.page(0), kBytes});
  EXPECT_EQ(LockedBytes(), before + kBytes) << "the one that was there has ended";
  EXPECT_FALSE(remote.is_connected());
  EXPECT_TRUE(Is(absl::StatusCode::kNotFound, "", Reader::Connect(number)));
}

TEST_F(SegmentTest, LivesOnAsAMappingWithoutTheImportedSegment) {
  ExportedSegment segment = Create(memory());
  std::optional<Mapping<Access::kReadWrite>> mapping;
  {
    Writer remote = *Writer::Connect(*segment.Publish());
    const Writer moved = std::move(remote);
    mapping = *moved.Map();
  }
  mapping->bytes()[0] = std::byte{'X'};
  EXPECT_EQ(mapping_.page(0)[0], std::byte{'X'});
  EXPECT_EQ(segment.Post(), absl::OkStatus()) << "the connection is there still";
  const std::byte* const address = mapping->bytes().data();
  mapping.reset();
  EXPECT_EQ(msync(const_cast<std::byte*>(address), PageSize(), MS_ASYNC), -1) << "not mapped";
}

TEST_F(SegmentTest, CanBeMappedAgainOnceTheMappingHasEnded) {
  ExportedSegment segment = Create(memory());
  const Reader remote = *Reader::Connect(*segment.Publish());
  {
    const Mapping<Access::kRead> mapping = *remote.Map();
    const Mapping<Access::kRead> same = mapping;  // NOLINT: a copy holds it too
    EXPECT_TRUE(
        Is(absl::StatusCode::kFailedPrecondition, "RSMERR_SEG_ALREADY_MAPPED: ", remote.Map()));
  }
  EXPECT_TRUE(remote.Map().ok());
}

TEST_F(SegmentTest, LeavesImportersACopyWhenItEnds) {
  std::optional<ExportedSegment> segment = Create(memory());
  const Writer remote = *Writer::Connect(*segment->Publish());
  const Mapping<Access::kReadWrite> mapping = *remote.Map();
  segment.reset();
  EXPECT_FALSE(remote.is_connected());
  std::byte byte = {};
  EXPECT_TRUE(Is(absl::StatusCode::kAborted, "RSMERR_CONN_ABORTED: the exporter of segment",
                 remote.Get(0, {&byte, 1})));
  EXPECT_EQ(byte, std::byte{'p'}) << "what was copied is of the memory that it left";
  EXPECT_TRUE(Is(absl::StatusCode::kAborted, "", remote.Put(0, BytesOf("importer"))));
  EXPECT_TRUE(Is(absl::StatusCode::kAborted, "", remote.Wait(std::nullopt)));
  EXPECT_TRUE(Is(absl::StatusCode::kAborted, "", remote.Post()));
  EXPECT_EQ(TextOf(mapping.bytes().data(), 8), "importer");
  EXPECT_EQ(TextOf(mapping_.page(0), 7), "page 0.");
}

TEST_F(SegmentTest, LeavesImportersACopyWhenItIsUnpublished) {
  ExportedSegment segment = Create(memory());
  const SegmentNumber number = *segment.Publish();
  const Writer remote = *Writer::Connect(number);
  EXPECT_EQ(segment.Unpublish(), absl::OkStatus());
  EXPECT_FALSE(remote.is_connected());
  EXPECT_TRUE(
      Is(absl::StatusCode::kNotFound, "RSMERR_SEG_NOT_PUBLISHED: ", Reader::Connect(number)));
  EXPECT_TRUE(segment.Publish({.number = number}).ok());
  EXPECT_TRUE(Reader::Connect(number)->is_connected());
}

TEST_F(SegmentTest, NoticesTheExportersDeath) {
  OtherProcess exporter([this](const Line& line) {
    ExportedSegment segment = Create(memory());
    line.Say(*segment.Publish());
    line.Hear();
  });
  const absl::StatusOr<Reader> remote =
      Reader::Connect(static_cast<SegmentNumber>(exporter.Hear()));
  ASSERT_TRUE(remote.ok()) << remote.status();
  EXPECT_TRUE(remote->is_connected());
  exporter.Kill();
  EXPECT_FALSE(remote->is_connected());
}

TEST_F(SegmentTest, OfTheParentIsOfNoUseInAForkedChildAndEndsThereWithoutHarm) {
  ExportedSegment segment = Create(memory());
  const Reader remote = *Reader::Connect(*segment.Publish());
  RunInChild([&] {
    EXPECT_TRUE(
        Is(absl::StatusCode::kFailedPrecondition, "RSMERR_NOT_CREATOR: ", segment.Unpublish()));
    std::byte byte = {};
    EXPECT_TRUE(Is(absl::StatusCode::kFailedPrecondition,
                   "RSMERR_BAD_SEG_HNDL: ", remote.Get(0, {&byte, 1})));
    EXPECT_FALSE(remote.is_connected());
    EXPECT_EQ(remote.size(), 0u);
    const ExportedSegment ended = std::move(segment);
  });
  EXPECT_TRUE(remote.is_connected());
  EXPECT_EQ(segment.Unpublish(), absl::OkStatus());
}

// --- Statuses -----------------------------------------------------------------------------------

TEST_F(SegmentTest, TellsInvalidArguments) {
  constexpr auto kKind = absl::StatusCode::kInvalidArgument;
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_ADDR: ", ExportedSegment::Create({})));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_LENGTH: ", ExportedSegment::Create(memory().first(0))));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_MEM_ALIGNMENT: ", ExportedSegment::Create(memory().first(7))));
  ExportedSegment segment = Create(memory());
  EXPECT_TRUE(Is(kKind, "RSMERR_RESERVED_SEGID: ", segment.Publish({.number = 7})));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_ACL: ", segment.Publish({.mode = 0777})));
  const Reader remote = *Reader::Connect(*segment.Publish());
  std::byte byte = {};
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_LENGTH: ", remote.Get(kBytes, {&byte, 1})));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_OFFSET: ", remote.Get(SIZE_MAX, {&byte, 1})));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_MEM_ALIGNMENT: ", remote.Map(1, PageSize())));
  EXPECT_TRUE(Is(kKind, "RSMERR_BAD_LENGTH: ", remote.Map(0, 0)));
}

TEST_F(SegmentTest, TellsWhatIsDenied) {
  constexpr auto kKind = absl::StatusCode::kPermissionDenied;
  ASSERT_EQ(mprotect(mapping_.page(0), PageSize(), PROT_READ), 0);
  EXPECT_TRUE(Is(kKind, "RSMERR_PERM_DENIED: ", ExportedSegment::Create(memory())));
}

TEST_F(SegmentTest, TellsThatANumberIsTaken) {
  const TestMapping other(1);
  ExportedSegment one = Create(memory()), two = Create({other.page(0), PageSize()});
  ASSERT_TRUE(one.Publish({.number = 0x400001}).ok());
  EXPECT_TRUE(Is(absl::StatusCode::kAlreadyExists,
                 "RSMERR_SEGID_IN_USE: ", two.Publish({.number = 0x400001})));
}

TEST_F(SegmentTest, TellsThatTheLockLimitIsReached) {
  RunInChild(test_support::Limited(PageSize()), [this] {
    EXPECT_TRUE(Is(absl::StatusCode::kResourceExhausted,
                   "RSMERR_INSUFFICIENT_MEM: ", ExportedSegment::Create(memory())));
  });
}

TEST_F(SegmentTest, TellsThatItIsNotInThatState) {
  constexpr auto kKind = absl::StatusCode::kFailedPrecondition;
  ExportedSegment segment = Create(memory());
  EXPECT_TRUE(Is(kKind, "RSMERR_REBIND_NOT_ALLOWED: ", segment.Rebind(memory())));
  ASSERT_TRUE(segment.Publish().ok());
  EXPECT_TRUE(Is(kKind, "RSMERR_SEG_ALREADY_PUBLISHED: ", segment.Publish()));
}

TEST_F(SegmentTest, TellsThatNobodyPublishesIt) {
  constexpr auto kKind = absl::StatusCode::kNotFound;
  EXPECT_TRUE(Is(kKind, "RSMERR_SEG_NOT_PUBLISHED: segment 0x400001", Reader::Connect(0x400001)));
  ExportedSegment segment = Create(memory());
  EXPECT_TRUE(Is(kKind, "RSMERR_SEG_NOT_PUBLISHED: ", segment.Unpublish()));
  EXPECT_TRUE(Is(kKind, "RSMERR_SEG_NOT_PUBLISHED: ", segment.Republish(0600)));
}

TEST_F(SegmentTest, TellsThatASignalOfAnotherKindCame) {
  const ExportedSegment segment = Create(memory());
  const test_support::Interruptions interruptions;
  EXPECT_TRUE(Is(absl::StatusCode::kCancelled, "RSMERR_INTERRUPTED: ", segment.Wait(std::nullopt)));
}

TEST_F(SegmentTest, TellsThatTheExporterDoesNotAnswer) {
  OtherProcess exporter([this](const Line& line) {
    ExportedSegment segment = Create(memory());
    line.Say(*segment.Publish());
    line.Hear();
  });
  const auto number = static_cast<SegmentNumber>(exporter.Hear());
  exporter.Stop();
  EXPECT_TRUE(Is(absl::StatusCode::kUnavailable,
                 "RSMERR_REMOTE_NODE_UNREACHABLE: ", Reader::Connect(number)));
  exporter.Continue();
  EXPECT_TRUE(Reader::Connect(number).ok());
}

}  // namespace
}  // namespace rsm
