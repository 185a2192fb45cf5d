// rsm_memseg_import_get(3) and _put(3), and those of words, sentence by sentence.

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/testing.h"
#include "rsm/rsmapi.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::Import;
using test_support::PageSize;
using test_support::Put;
using test_support::Succeeds;
using test_support::TestMapping;
using test_support::TextOf;

// The functions of one size of words.
template <typename Type>
struct Words;
template <>
struct Words<uint8_t> {
  static constexpr auto kGet = rsm_memseg_import_get8;
  static constexpr auto kPut = rsm_memseg_import_put8;
};
template <>
struct Words<uint16_t> {
  static constexpr auto kGet = rsm_memseg_import_get16;
  static constexpr auto kPut = rsm_memseg_import_put16;
};
template <>
struct Words<uint32_t> {
  static constexpr auto kGet = rsm_memseg_import_get32;
  static constexpr auto kPut = rsm_memseg_import_put32;
};
template <>
struct Words<uint64_t> {
  static constexpr auto kGet = rsm_memseg_import_get64;
  static constexpr auto kPut = rsm_memseg_import_put64;
};

// A segment of 2 pages, and a connection to it.
class RsmTransfer : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 2;
  const size_t kBytes = kPages * PageSize();
  const off_t kEnd = static_cast<off_t>(kBytes);

  RsmTransfer() {
    FillPages(mapping_, kPages, "page ");
    segment_ = Create(mapping_, kPages);
    number_ = Publish(segment_);
    remote_ = Connect(number_);
  }

  int GetInto(off_t offset, void* to, size_t bytes) const {
    return rsm_memseg_import_get(remote_.get(), offset, to, bytes);
  }
  int PutFrom(off_t offset, void* from, size_t bytes) const {
    return rsm_memseg_import_put(remote_.get(), offset, from, bytes);
  }

  const TestMapping mapping_{kPages};
  Export segment_;
  rsm_memseg_id_t number_ = 0;
  Import remote_;
};

// --- What they cost -----------------------------------------------------------------------------

TEST_F(RsmTransfer, NeitherFaultsNorEntersTheKernel) {
  if (test_support::kThreadSanitizer || test_support::kAddressSanitizer) {
    GTEST_SKIP() << "the sanitizer's own memory takes faults, and its runtime enters the kernel";
  }
  std::vector<char> bytes(PageSize(), 'x');
  uint64_t word = 7;
  const auto failures = [&] {
    int failed = 0;
    for (off_t offset = 0; offset < kEnd; offset += static_cast<off_t>(PageSize())) {
      failed += GetInto(offset, bytes.data(), PageSize()) != RSM_SUCCESS ? 1 : 0;
      failed += PutFrom(offset, bytes.data(), PageSize()) != RSM_SUCCESS ? 1 : 0;
      failed += Words<uint64_t>::kGet(remote_.get(), offset, &word, 1) != RSM_SUCCESS ? 1 : 0;
      failed += Words<uint64_t>::kPut(remote_.get(), offset, &word, 1) != RSM_SUCCESS ? 1 : 0;
    }
    return failed;
  };
  ASSERT_EQ(failures(), 0);
  int failed = 0;
  EXPECT_NO_PAGE_FAULTS(failed += failures());
  EXPECT_NO_SYSCALLS(failed += failures());
  EXPECT_EQ(failed, 0);
}

// --- Bytes --------------------------------------------------------------------------------------

TEST_F(RsmTransfer, GetCopiesBytesOutOfTheSegmentFromAnyOffsetToAnyAddress) {
  for (const size_t offset : {size_t{0}, size_t{1}, size_t{7}, PageSize() - 3, kBytes - 9}) {
    for (const size_t bytes : {1u, 2u, 9u}) {
      std::array<char, 12> to;
      to.fill('-');
      ASSERT_TRUE(Succeeds(GetInto(static_cast<off_t>(offset), to.data() + 1, bytes)));
      EXPECT_EQ(std::string(to.data(), to.size()),
                "-" + TextOf(mapping_.page(0) + offset, bytes) + std::string(11 - bytes, '-'));
    }
  }
}

TEST_F(RsmTransfer, PutCopiesBytesIntoTheSegmentAndNoOther) {
  std::string expected = TextOf(mapping_.page(0), kBytes);
  ASSERT_TRUE(Succeeds(Put(remote_, 3, "three")));
  expected.replace(3, 5, "three");
  ASSERT_TRUE(Succeeds(Put(remote_, kEnd - 3, "end")));
  expected.replace(kBytes - 3, 3, "end");
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), expected);
}

TEST_F(RsmTransfer, CopiesTheWholeSegmentAtOnce) {
  std::string bytes(kBytes, 'x');
  ASSERT_TRUE(Succeeds(PutFrom(0, bytes.data(), kBytes)));
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), bytes);
  FillPages(mapping_, kPages, "again ");
  ASSERT_TRUE(Succeeds(GetInto(0, bytes.data(), kBytes)));
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), bytes);
}

TEST_F(RsmTransfer, Of0BytesDoesNothing) {
  EXPECT_TRUE(Succeeds(GetInto(0, nullptr, 0)));
  EXPECT_TRUE(Succeeds(PutFrom(kEnd, nullptr, 0)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(remote_.get(), 8, nullptr, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, PutFrom(kEnd + 1, nullptr, 0)));
}

TEST_F(RsmTransfer, FailsWithBadSegHndlWhereTheHandleIsNone) {
  uint64_t word = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get(nullptr, 0, &word, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_put(nullptr, 0, &word, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get64(nullptr, 0, &word, 1)));
  const auto exported = reinterpret_cast<rsm_memseg_import_handle_t>(segment_.get());
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get(exported, 0, &word, 1)));
}

TEST_F(RsmTransfer, FailsWithBadAddrAtNull) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, GetInto(0, nullptr, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, PutFrom(0, nullptr, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_memseg_import_get8(remote_.get(), 0, nullptr, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_memseg_import_put32(remote_.get(), 0, nullptr, 1)));
}

TEST_F(RsmTransfer, FailsWithBadOffsetBelow0) {
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, GetInto(-1, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, PutFrom(std::numeric_limits<off_t>::min(), &byte, 1)));
}

TEST_F(RsmTransfer, FailsWithBadLengthOutsideTheSegmentAndCopiesNothing) {
  const std::string before = TextOf(mapping_.page(0), kBytes);
  std::array<char, 16> bytes;
  bytes.fill('-');
  const struct {
    off_t offset;
    size_t bytes;
  } kOutside[] = {{kEnd, 1},
                  {kEnd - 1, 2},
                  {0, kBytes + 1},
                  {1, SIZE_MAX},
                  {std::numeric_limits<off_t>::max(), 1},
                  {8, SIZE_MAX - 7}};
  for (const auto& each : kOutside) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, GetInto(each.offset, bytes.data(), each.bytes),
                          "the segment has"));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, PutFrom(each.offset, bytes.data(), each.bytes)));
  }
  EXPECT_EQ(std::string(bytes.data(), bytes.size()), std::string(16, '-'));
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), before);
}

TEST_F(RsmTransfer, FailsWithPermDeniedBeforeItLooksAtTheOffset) {
  const Import reader = Connect(number_, RSM_PERM_READ);
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, rsm_memseg_import_put(reader.get(), -1, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, rsm_memseg_import_put(reader.get(), kEnd, &byte, 1)));
}

TEST_F(RsmTransfer, FailsWithConnAbortedOnceTheExporterHasUnpublishedTheSegment) {
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  uint64_t word = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, GetInto(0, &word, 8)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, PutFrom(0, &word, 8)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get64(remote_.get(), 0, &word, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_put64(remote_.get(), 0, &word, 1)));
}

// --- Words --------------------------------------------------------------------------------------

template <typename Word>
class RsmWords : public RsmTransfer {
 protected:
  int GetWords(off_t offset, Word* to, ulong_t count) const {
    return Words<Word>::kGet(remote_.get(), offset, to, count);
  }
  int PutWords(off_t offset, Word* from, ulong_t count) const {
    return Words<Word>::kPut(remote_.get(), offset, from, count);
  }
};
using WordTypes = testing::Types<uint8_t, uint16_t, uint32_t, uint64_t>;
TYPED_TEST_SUITE(RsmWords, WordTypes);

TYPED_TEST(RsmWords, AreCopiedOutAsManyAsAreAskedFor) {
  constexpr size_t kCount = 5;
  std::array<TypeParam, kCount + 1> words = {}, expected = {};
  std::memcpy(expected.data(), this->mapping_.page(0) + sizeof(TypeParam),
              kCount * sizeof(TypeParam));
  ASSERT_TRUE(Succeeds(this->GetWords(sizeof(TypeParam), words.data(), kCount)));
  EXPECT_EQ(words, expected);
}

TYPED_TEST(RsmWords, AreCopiedInAsManyAsAreAskedFor) {
  std::string expected = TextOf(this->mapping_.page(0), this->kBytes);
  std::array<TypeParam, 3> words;
  std::memset(words.data(), 'w', sizeof(words));
  ASSERT_TRUE(Succeeds(this->PutWords(16, words.data(), 2)));
  expected.replace(16, 2 * sizeof(TypeParam), 2 * sizeof(TypeParam), 'w');
  EXPECT_EQ(TextOf(this->mapping_.page(0), this->kBytes), expected);
}

TYPED_TEST(RsmWords, AreCopiedUpToTheLastOneOfTheSegment) {
  const size_t all = this->kBytes / sizeof(TypeParam);
  std::vector<TypeParam> words(all, TypeParam{7});
  ASSERT_TRUE(Succeeds(this->PutWords(0, words.data(), all)));
  std::vector<TypeParam> got(all);
  ASSERT_TRUE(Succeeds(this->GetWords(0, got.data(), all)));
  EXPECT_EQ(got, words);
  const off_t last = this->kEnd - off_t{sizeof(TypeParam)};
  EXPECT_TRUE(Succeeds(this->GetWords(last, got.data(), 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, this->GetWords(last, got.data(), 2)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, this->PutWords(this->kEnd, got.data(), 1)));
}

TYPED_TEST(RsmWords, FailWithMisalignedOffsetWhereThatIsNotOfWords) {
  TypeParam word = {};
  for (off_t offset = 1; offset < off_t{sizeof(TypeParam)}; ++offset) {
    EXPECT_TRUE(FailsWith(RSMERR_MISALIGNED_OFFSET, this->GetWords(offset, &word, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_MISALIGNED_OFFSET, this->PutWords(offset, &word, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_MISALIGNED_OFFSET, this->PutWords(this->kEnd + offset, &word, 1)));
  }
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, this->GetWords(-off_t{sizeof(TypeParam)}, &word, 1)));
}

TYPED_TEST(RsmWords, FailWithBadMemAlignmentWhereTheAddressIsNotOfWords) {
  alignas(8) std::array<char, 16> memory = {};
  for (size_t shift = 1; shift < sizeof(TypeParam); ++shift) {
    auto* const address = reinterpret_cast<TypeParam*>(memory.data() + shift);
    EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, this->GetWords(0, address, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, this->PutWords(0, address, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, this->PutWords(1, address, 1)));
  }
}

TYPED_TEST(RsmWords, FailWithBadLengthWhereTheirCountOverflows) {
  TypeParam word = {};
  constexpr ulong_t kMax = std::numeric_limits<ulong_t>::max();
  for (const ulong_t count : {kMax, kMax / sizeof(TypeParam), kMax / sizeof(TypeParam) + 1,
                              kMax / sizeof(TypeParam) + 2, ulong_t{1} << 63}) {
    if (count <= 1) continue;  // there are as many bytes as that
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, this->GetWords(0, &word, count))) << count;
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, this->PutWords(8, &word, count))) << count;
  }
}

TYPED_TEST(RsmWords, FailWithPermDeniedWhereTheConnectionIsNotForIt) {
  const Import reader = this->Connect(this->number_, RSM_PERM_READ);
  const Import writer = this->Connect(this->number_, RSM_PERM_WRITE);
  TypeParam word = {};
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, Words<TypeParam>::kPut(reader.get(), 0, &word, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, Words<TypeParam>::kGet(writer.get(), 0, &word, 1)));
  EXPECT_TRUE(Succeeds(Words<TypeParam>::kGet(reader.get(), 0, &word, 1)));
  EXPECT_TRUE(Succeeds(Words<TypeParam>::kPut(writer.get(), 0, &word, 1)));
}

}  // namespace
