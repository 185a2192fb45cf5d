#include "rsm/internal/memory_kind.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "os/memory_object.h"
#include "rsm/internal/error.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_file.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {
namespace {

using test_support::MapInstead;
using test_support::MemoryFile;
using test_support::PageSize;
using test_support::SysVSegment;
using test_support::TestFile;
using test_support::TestMapping;
using Type = MemoryKind::Type;

testing::AssertionResult Fails(int code, int result, const std::string& words) {
  const std::string text = ErrorText();
  if (result == code && text.find(words) != text.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << ErrorName(result) << ": " << text;
}

MemoryKind KindOf(const TestMapping& mapping, size_t first, size_t pages) {
  MemoryKind kind;
  EXPECT_EQ(KindOfMemory(mapping.page(first), pages * PageSize(), kind), RSM_SUCCESS)
      << ErrorText();
  return kind;
}

int Look(void* address, size_t bytes) {
  MemoryKind kind;
  return KindOfMemory(address, bytes, kind);
}
int Look(const TestMapping& mapping, size_t pages) {
  return Look(mapping.page(0), pages * PageSize());
}

// Puts page `from` of the file in the place of page `to` of the mapping.
void MapPage(const TestMapping& mapping, size_t to, int file, size_t from) {
  ASSERT_EQ(mmap(mapping.page(to), PageSize(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                 static_cast<off_t>(from * PageSize())),
            mapping.page(to))
      << std::strerror(errno);
}

// --- What can be exported -----------------------------------------------------------------------

TEST(KindOfMemoryTest, KnowsPrivateMemory) {
  const TestMapping mapping(4);
  EXPECT_EQ(KindOf(mapping, 0, 4).type, Type::kPrivate);
  EXPECT_EQ(KindOf(mapping, 2, 1).offset, 0u);
}

TEST(KindOfMemoryTest, TakesPrivateMappingsOfAnyKindForPrivateMemory) {
  const TestFile file(3, static_cast<uint32_t>(PageSize()));
  const os::OwnedDescriptor memory = MemoryFile(1);
  const TestMapping mapping(4);
  MapInstead(mapping, 3, file.fd(), MAP_PRIVATE);
  MapInstead(mapping, 1, memory.get(), MAP_PRIVATE);
  EXPECT_EQ(KindOf(mapping, 0, 4).type, Type::kPrivate) << "a mixture of them too";
  EXPECT_EQ(KindOf(mapping, 1, 2).offset, 0u);
}

TEST(KindOfMemoryTest, KnowsAFileInMemoryAndWhereInIt) {
  const os::OwnedDescriptor file = MemoryFile(4);
  const TestMapping mapping(4, file.get());
  const MemoryKind kind = KindOf(mapping, 1, 3);
  EXPECT_EQ(kind.type, Type::kFile);
  EXPECT_EQ(kind.file, os::FileNumberOf(file.get()).value());
  EXPECT_EQ(kind.offset, PageSize());
  EXPECT_EQ(kind.sysv, -1);
}

TEST(KindOfMemoryTest, TakesMappingsOfAFileInMemoryThatContinueEachOther) {
  const os::OwnedDescriptor file = MemoryFile(4);
  const TestMapping mapping(4, file.get());
  ASSERT_EQ(madvise(mapping.page(1), PageSize(), MADV_DONTFORK), 0);  // a mapping of its own
  const MemoryKind kind = KindOf(mapping, 0, 4);
  EXPECT_EQ(kind.type, Type::kFile);
  EXPECT_EQ(kind.offset, 0u);
}

TEST(KindOfMemoryTest, KnowsASegmentOfShmgetAndWhereInIt) {
  const SysVSegment memory(4);
  MemoryKind kind;
  ASSERT_EQ(KindOfMemory(memory.page(1), 2 * PageSize(), kind), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(kind.type, Type::kSysV);
  EXPECT_EQ(kind.sysv, memory.number());
  EXPECT_EQ(kind.offset, PageSize());
}

// --- What cannot --------------------------------------------------------------------------------

TEST(KindOfMemoryTest, RefusesHolesAndWhatIsInaccessible) {
  TestMapping mapping(4);
  mapping.Forbid(1, 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 4), "PROT_NONE"));
  mapping.Unmap(1, 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 4), "nothing is mapped at"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping.page(1), PageSize()), "nothing is mapped at"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping.page(3), 2 * PageSize()), "nothing is mapped"));
  EXPECT_EQ(Look(mapping, 1), RSM_SUCCESS);
}

TEST(KindOfMemoryTest, RefusesWhatCannotBeReadAndWritten) {
  const TestMapping mapping(3);
  for (const int protection : {PROT_READ, PROT_READ | PROT_EXEC, PROT_EXEC}) {
    ASSERT_EQ(mprotect(mapping.page(2), PageSize(), protection), 0);
    EXPECT_TRUE(
        Fails(RSMERR_PERM_DENIED, Look(mapping, 3), "is not mapped for reading and writing"));
  }
  ASSERT_EQ(mprotect(mapping.page(2), PageSize(), PROT_WRITE), 0);
  EXPECT_TRUE(Fails(RSMERR_PERM_DENIED, Look(mapping, 3), "is not mapped for reading and writing"));
}

TEST(KindOfMemoryTest, RefusesSharedMemoryOfOtherKinds) {
  const TestFile file(2, static_cast<uint32_t>(PageSize()));
  const TestMapping of_file(2, file.fd()), of_none(2);
  MapInstead(of_none, 2, -1, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(of_file, 2), "a file must be mapped MAP_PRIVATE"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(of_none, 2), "a file must be mapped MAP_PRIVATE"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(of_none, 1), "/dev/zero"));
}

TEST(KindOfMemoryTest, RefusesASharedFileWithANameAlthoughItIsInMemory) {
  const os::OwnedDescriptor file(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) GTEST_SKIP() << "/dev/shm: " << std::strerror(errno);
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(PageSize())), 0);
  const TestMapping mapping(1, file.get());
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 1), "is a shared mapping of"));
}

TEST(KindOfMemoryTest, RefusesHugePages) {
  constexpr size_t kBytes = size_t{2} << 20;
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no huge pages: " << std::strerror(errno);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(memory, kBytes), "is of hugetlbfs"));
  EXPECT_EQ(munmap(memory, kBytes), 0);
}

TEST(KindOfMemoryTest, RefusesAMixture) {
  const os::OwnedDescriptor file = MemoryFile(4), other = MemoryFile(4);
  const TestMapping mapping(2);
  MapPage(mapping, 0, file.get(), 0);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 2), "is of another kind, or another object"));
  MapPage(mapping, 1, other.get(), 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 2), "is of another kind, or another object"));
  for (const size_t page : {0u, 2u, 3u}) {
    MapPage(mapping, 1, file.get(), page);
    EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping, 2), "is of another kind, or another object"));
  }
  MapPage(mapping, 1, file.get(), 1);
  EXPECT_EQ(Look(mapping, 2), RSM_SUCCESS);
}

TEST(KindOfMemoryTest, RefusesTheStackOfTheCallingThread) {
  const auto here =
      reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) / PageSize() * PageSize();
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR,
                    Look(reinterpret_cast<void*>(here - PageSize()), 2 * PageSize()),
                    "is the calling thread's stack"));
}

TEST(KindOfMemoryTest, RefusesWhatIsBeyondTheAddressSpace) {
  auto* const last = reinterpret_cast<void*>(0 - PageSize());
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(last, 2 * PageSize()), "beyond the address space"));
  const TestMapping mapping(1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Look(mapping.page(0), SIZE_MAX - PageSize() + 1),
                    "beyond the address space"));
}

TEST(KindOfMemoryTest, TellsThatItCannotLookWithoutADescriptor) {
  const TestMapping mapping(1);
  int result = RSM_SUCCESS;
  {
    const test_support::DescriptorHog hog(0);
    result = Look(mapping, 1);
  }
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files"));
}

// --- CheckMaps, and the parts that do -----------------------------------------------------------

class CheckMapsTest : public testing::Test {
 protected:
  int Check(size_t first, size_t pages, size_t offset) const {
    return CheckMaps(mapping_.page(first), pages * PageSize(), number_, offset * PageSize());
  }

  // As "first+count" in pages of the mapping.
  std::string Parts(size_t first, size_t pages, size_t offset) {
    std::string text;
    const int error = ForEachPartThatMaps(
        mapping_.page(first), pages * PageSize(), number_, offset * PageSize(),
        [&](void* address, size_t bytes) {
          const auto at = static_cast<size_t>(static_cast<std::byte*>(address) - mapping_.page(0));
          text += " " + std::to_string(at / PageSize()) + "+" + std::to_string(bytes / PageSize());
        });
    EXPECT_EQ(error, RSM_SUCCESS) << ErrorText();
    return text;
  }

  const os::OwnedDescriptor file_ = MemoryFile(4);
  const os::FileNumber number_ = os::FileNumberOf(file_.get()).value();
  TestMapping mapping_{4, file_.get()};
};

TEST_F(CheckMapsTest, FindsTheFileWhereItIsMapped) {
  EXPECT_EQ(Check(0, 4, 0), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(Check(1, 2, 1), RSM_SUCCESS) << ErrorText();
  ASSERT_EQ(madvise(mapping_.page(2), PageSize(), MADV_DONTFORK), 0);  // a mapping of its own
  EXPECT_EQ(Check(0, 4, 0), RSM_SUCCESS) << ErrorText();
}

TEST_F(CheckMapsTest, TellsAnotherPartOfTheFile) {
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 4, 1), "is not mapped any more"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(1, 1, 0), "is not mapped any more"));
  MapPage(mapping_, 3, file_.get(), 0);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 4, 0), "is not mapped any more"));
  EXPECT_EQ(Check(0, 3, 0), RSM_SUCCESS);
}

TEST_F(CheckMapsTest, TellsAnotherFileAndOtherMemory) {
  const os::OwnedDescriptor other = MemoryFile(4);
  MapPage(mapping_, 1, other.get(), 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 4, 0), "is not mapped any more"));
  mapping_.MapAgain(1, 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 4, 0), "is not mapped any more"));
  MapInstead(mapping_, 2, file_.get(), MAP_PRIVATE);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 2, 0), "is not mapped any more"));
}

TEST_F(CheckMapsTest, TellsAHole) {
  mapping_.Unmap(3, 1);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(0, 4, 0), "is not mapped any more"));
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, Check(3, 1, 3), "is not mapped any more"));
  EXPECT_EQ(Check(0, 3, 0), RSM_SUCCESS);
}

TEST_F(CheckMapsTest, TellsThatItCannotLookWithoutADescriptor) {
  void* const address = mapping_.page(0);
  const size_t bytes = 4 * PageSize();
  const os::FileNumber number = number_;
  int result = RSM_SUCCESS;
  {
    const test_support::DescriptorHog hog(0);
    result = CheckMaps(address, bytes, number, 0);
  }
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files"));
}

TEST_F(CheckMapsTest, TheWholeIsOnePartOfItself) {
  EXPECT_EQ(Parts(0, 4, 0), " 0+4");
  ASSERT_EQ(madvise(mapping_.page(2), PageSize(), MADV_DONTFORK), 0);  // a mapping of its own
  EXPECT_EQ(Parts(0, 4, 0), " 0+4");
  EXPECT_EQ(Parts(1, 2, 1), " 1+2");
  EXPECT_EQ(Parts(1, 2, 0), "");
}

TEST_F(CheckMapsTest, PartsAreBesideHolesAndOtherMemory) {
  mapping_.Unmap(1, 1);
  EXPECT_EQ(Parts(0, 4, 0), " 0+1 2+2");
  EXPECT_EQ(Parts(1, 3, 1), " 2+2");
  EXPECT_EQ(Parts(0, 2, 0), " 0+1");
  mapping_.MapAgain(1, 1);
  EXPECT_EQ(Parts(0, 4, 0), " 0+1 2+2");
  mapping_.MapAgain(0, 1);
  EXPECT_EQ(Parts(0, 4, 0), " 2+2");
  MapPage(mapping_, 3, file_.get(), 0);
  EXPECT_EQ(Parts(0, 4, 0), " 2+1");
}

TEST_F(CheckMapsTest, APartMayBeReplacedWhenItIsSeen) {
  mapping_.Unmap(1, 1);
  size_t seen = 0;
  ASSERT_EQ(ForEachPartThatMaps(mapping_.page(0), 4 * PageSize(), number_, 0,
                                [&](void* address, size_t bytes) {
                                  ++seen;
                                  ASSERT_NE(mmap(address, bytes, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                                            MAP_FAILED);
                                }),
            RSM_SUCCESS);
  EXPECT_EQ(seen, 2u);
  EXPECT_EQ(Parts(0, 4, 0), "");
}

}  // namespace
}  // namespace rsm::internal
