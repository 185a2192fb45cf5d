// rsm_memseg_import_map(3) and _unmap(3), sentence by sentence.

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "os/memory.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::Import;
using test_support::MapAll;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::SysVSegment;
using test_support::TestMapping;
using test_support::TextOf;

off_t OffsetOf(size_t page) { return static_cast<off_t>(page * PageSize()); }

bool IsMapped(const void* address) {
  return msync(const_cast<void*>(address), PageSize(), MS_ASYNC) == 0;
}

os::Mapping MappingAt(const void* address) {
  const os::PageNumber page(reinterpret_cast<uintptr_t>(address) / PageSize());
  return **os::RealMemory().MappingAt(page);
}

// Of segments of shmget(2), in this process.
size_t CountSysVMappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(" /SYSV") != line.npos;
  return count;
}

// A segment of 4 pages, and a connection to it.
class RsmMap : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 4;
  const size_t kBytes = kPages * PageSize();

  RsmMap() {
    FillPages(mapping_, kPages, "page ");
    segment_ = Create(mapping_, kPages);
    number_ = Publish(segment_);
    remote_ = Connect(number_);
  }

  int Map(void** address, rsm_attribute_t attribute, size_t first, size_t pages) const {
    return rsm_memseg_import_map(remote_.get(), address, attribute, RSM_PERM_RDWR, OffsetOf(first),
                                 pages * PageSize());
  }
  int MapWith(off_t offset, size_t bytes, rsm_permission_t permission = RSM_PERM_RDWR) const {
    void* address = nullptr;
    const int result =
        rsm_memseg_import_map(remote_.get(), &address, RSM_MAP_NONE, permission, offset, bytes);
    EXPECT_EQ(address != nullptr, result == RSM_SUCCESS);
    return result;
  }

  const TestMapping mapping_{kPages};
  Export segment_;
  rsm_memseg_id_t number_ = 0;
  Import remote_;
};

TEST_F(RsmMap, ShowsTheExportersMemory) {
  std::byte* const map = MapAll(remote_, kPages);
  EXPECT_EQ(TextOf(map, kBytes), TextOf(mapping_.page(0), kBytes));
  std::memcpy(map + 5, "importer", 8);
  std::memcpy(mapping_.page(1), "exporter", 8);
  EXPECT_EQ(TextOf(mapping_.page(0), 13), "page importer");
  EXPECT_EQ(TextOf(map + PageSize(), 8), "exporter");
}

TEST_F(RsmMap, ShowsAPartWhereAPartIsAskedFor) {
  void* map = nullptr;
  ASSERT_TRUE(Succeeds(Map(&map, RSM_MAP_NONE, 1, 2)));
  EXPECT_EQ(TextOf(map, 2 * PageSize()), TextOf(mapping_.page(1), 2 * PageSize()));
  std::memcpy(map, "importer", 8);
  EXPECT_EQ(TextOf(mapping_.page(1), 8), "importer");
}

TEST_F(RsmMap, ShowsPartOfMemoryOfShmget) {
  const SysVSegment memory(6);
  std::memcpy(memory.page(3), "here", 4);
  const Export segment = CreateAt(memory.page(1), 4 * PageSize());
  const Import remote = Connect(Publish(segment));
  void* map = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_map(remote.get(), &map, RSM_MAP_NONE, RSM_PERM_RDWR,
                                             OffsetOf(2), PageSize())));
  EXPECT_EQ(TextOf(map, 4), "here");
  std::memcpy(map, "back", 4);
  EXPECT_EQ(TextOf(memory.page(3), 4), "back");
}

TEST_F(RsmMap, OfPartOfAPageOfMemoryOfShmgetLeavesNothingWhenItIsUnmapped) {
  const SysVSegment memory(6);
  const Export segment = CreateAt(memory.page(1), 4 * PageSize());
  const Import remote = Connect(Publish(segment));
  const size_t before = CountSysVMappings();
  EXPECT_GE(before, 2u);
  const size_t attachments = memory.CountAttachments();
  for (size_t i = 0; i < 100; ++i) {
    for (const size_t bytes : {size_t{100}, PageSize() + 1}) {
      void* map = nullptr;
      ASSERT_TRUE(Succeeds(rsm_memseg_import_map(remote.get(), &map, RSM_MAP_NONE, RSM_PERM_RDWR,
                                                 OffsetOf(i % 3), bytes)));
      ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(remote.get())));
    }
  }
  EXPECT_EQ(CountSysVMappings(), before);
  EXPECT_EQ(memory.CountAttachments(), attachments);
}

TEST_F(RsmMap, AcceptsALengthThatIsNotOfPages) {
  void* map = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_map(remote_.get(), &map, RSM_MAP_NONE, RSM_PERM_RDWR,
                                             OffsetOf(1), PageSize() + 1)));
  EXPECT_EQ(TextOf(map, PageSize() + 1), TextOf(mapping_.page(1), PageSize() + 1));
  EXPECT_TRUE(Succeeds(Put(remote_, OffsetOf(2), "x")));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, Put(remote_, OffsetOf(2) + 1, "x")));
}

TEST_F(RsmMap, ThatIsToReadCannotBeWrittenTo) {
  const std::byte* const map = MapAll(remote_, kPages, RSM_PERM_READ);
  EXPECT_EQ(TextOf(map, 7), "page 0.");
  EXPECT_FALSE(MappingAt(map).writable);
}

TEST_F(RsmMap, OfAConnectionToReadCannotBeMadeWritable) {
  const Import reader = Connect(number_, RSM_PERM_READ);
  std::byte* const map = MapAll(reader, kPages, RSM_PERM_READ);
  EXPECT_EQ(mprotect(map, PageSize(), PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST_F(RsmMap, ByAConnectionToWriteCanBeWrittenTo) {
  const Import writer = Connect(number_, RSM_PERM_WRITE);
  std::byte* const map = MapAll(writer, kPages, RSM_PERM_WRITE);
  std::memcpy(map, "written", 7);
  EXPECT_EQ(TextOf(mapping_.page(0), 7), "written");
}

TEST_F(RsmMap, StaysWhenTheControllerIsReleased) {
  rsmapi_controller_handle_t other = nullptr;
  ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &other)));
  rsm_memseg_import_handle_t handle = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_connect(other, 1, number_, RSM_PERM_READ, &handle)));
  const Import remote(handle);
  ASSERT_TRUE(Succeeds(rsm_release_controller(other)));
  EXPECT_EQ(TextOf(MapAll(remote, 1, RSM_PERM_READ), 7), "page 0.");
}

// --- Where it is --------------------------------------------------------------------------------

TEST_F(RsmMap, FixedIsWhereTheCallerSays) {
  TestMapping place(kPages);
  place.Unmap(0, kPages);
  void* map = place.page(0);
  ASSERT_TRUE(Succeeds(Map(&map, RSM_MAP_FIXED, 0, kPages)));
  EXPECT_EQ(map, place.page(0));
  EXPECT_EQ(TextOf(map, kBytes), TextOf(mapping_.page(0), kBytes));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(remote_.get())));
  EXPECT_FALSE(IsMapped(place.page(0)));
}

TEST_F(RsmMap, FixedFailsWithBadAddrWhereSomethingIsMapped) {
  TestMapping place(kPages);
  FillPages(place, kPages, "mine ");
  place.Unmap(0, 3);
  void* map = place.page(0);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Map(&map, RSM_MAP_FIXED, 0, kPages),
                        "RSM_MAP_RESERVED replaces what the caller has mapped"));
  EXPECT_EQ(TextOf(place.page(3), 7), "mine 3.");
  EXPECT_FALSE(IsMapped(place.page(0)));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_MAPPED, rsm_memseg_import_unmap(remote_.get())));
}

TEST_F(RsmMap, ReservedTakesThePlaceOfWhatTheCallerHasMappedWhichStaysReserved) {
  TestMapping place(kPages + 2);
  FillPages(place, kPages + 2, "mine ");
  void* map = place.page(1);
  ASSERT_TRUE(Succeeds(Map(&map, RSM_MAP_RESERVED, 0, kPages)));
  EXPECT_EQ(map, place.page(1));
  EXPECT_EQ(TextOf(map, kBytes), TextOf(mapping_.page(0), kBytes));
  EXPECT_EQ(TextOf(place.page(0), 7), "mine 0.");
  EXPECT_EQ(TextOf(place.page(kPages + 1), 7), "mine 5.");
  ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(remote_.get())));
  const os::Mapping left = MappingAt(place.page(1));
  EXPECT_FALSE(left.accessible());
  EXPECT_FALSE(left.shared);
}

TEST_F(RsmMap, AtAPlaceFailsWithBadAddrAtNull) {
  for (const rsm_attribute_t attribute : {RSM_MAP_FIXED, RSM_MAP_RESERVED}) {
    void* map = nullptr;
    EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Map(&map, attribute, 0, kPages), "at NULL"));
  }
}

TEST_F(RsmMap, AtAPlaceFailsWithBadMemAlignmentWhereThatIsNotOfPages) {
  const TestMapping place(kPages + 1);
  for (const rsm_attribute_t attribute : {RSM_MAP_FIXED, RSM_MAP_RESERVED}) {
    void* map = place.page(0) + 8;
    EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, Map(&map, attribute, 0, kPages)));
    EXPECT_EQ(map, place.page(0) + 8);
  }
}

// --- What fails ---------------------------------------------------------------------------------

TEST_F(RsmMap, FailsWithBadSegHndlWhereTheHandleIsNone) {
  void* map = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_map(nullptr, &map, RSM_MAP_NONE,
                                                                   RSM_PERM_READ, 0, kBytes)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_unmap(nullptr)));
}

TEST_F(RsmMap, FailsWithBadAddrWhereThereIsNoPlaceForTheAddress) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Map(nullptr, RSM_MAP_NONE, 0, kPages)));
}

TEST_F(RsmMap, FailsWithBadAddrForAnUnknownAttribute) {
  void* map = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Map(&map, static_cast<rsm_attribute_t>(3), 0, kPages),
                        "none of RSM_MAP_"));
}

TEST_F(RsmMap, FailsWithSegAlreadyMappedTheSecondTime) {
  std::byte* const map = MapAll(remote_, 1);
  EXPECT_TRUE(
      FailsWith(RSMERR_SEG_ALREADY_MAPPED, MapWith(OffsetOf(1), PageSize()), "one is possible"));
  EXPECT_EQ(TextOf(map, 7), "page 0.");
  EXPECT_EQ(Get(remote_, 0, 7), "page 0.") << "the first one counts";
  const Import other = Connect(number_);
  EXPECT_NE(MapAll(other, kPages), nullptr) << "another handle has its own";
}

TEST_F(RsmMap, FailsWithBadMemAlignmentWhereTheOffsetIsNotOfPages) {
  for (const off_t offset : {off_t{1}, off_t{8}, OffsetOf(1) - 1}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, MapWith(offset, PageSize())));
  }
}

TEST_F(RsmMap, FailsWithBadOffsetBelow0) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, MapWith(-OffsetOf(1), PageSize())));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, MapWith(-1, PageSize())));
}

TEST_F(RsmMap, FailsWithBadLengthBeyondTheEndOrFor0) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(0, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(0, kBytes + 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(OffsetOf(3), PageSize() + 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(OffsetOf(4), PageSize())));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(OffsetOf(1) << 30, PageSize())));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, MapWith(OffsetOf(1), SIZE_MAX)));
  EXPECT_TRUE(Succeeds(MapWith(0, kBytes)));
}

TEST_F(RsmMap, FailsWithBadPermsWhereTheConnectionWasNotMadeForThem) {
  const Import reader = Connect(number_, RSM_PERM_READ), writer = Connect(number_, RSM_PERM_WRITE);
  void* map = nullptr;
  const auto map_as = [&](const Import& remote, rsm_permission_t permission) {
    return rsm_memseg_import_map(remote.get(), &map, RSM_MAP_NONE, permission, 0, kBytes);
  };
  EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS, map_as(reader, RSM_PERM_RDWR), "was made with 0400"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS, map_as(reader, RSM_PERM_WRITE)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS, map_as(writer, RSM_PERM_READ)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS, map_as(writer, RSM_PERM_RDWR)));
  for (const rsm_permission_t permission : {0u, 0444u, 0666u, 0700u}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS, map_as(remote_, permission)));
  }
  EXPECT_EQ(map, nullptr);
}

TEST_F(RsmMap, FailsWithMapFailedWhereTheKernelCannotMapIt) {
  void* map = reinterpret_cast<void*>(uintptr_t{1} << 63);  // the kernel's own half
  EXPECT_TRUE(FailsWith(RSMERR_MAP_FAILED, Map(&map, RSM_MAP_FIXED, 0, kPages)));
  EXPECT_TRUE(Succeeds(MapWith(0, kBytes))) << "it is not mapped by that";
}

TEST_F(RsmMap, FailsWithConnAbortedWhereTheExporterHasUnpublishedIt) {
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, MapWith(0, kBytes)));
}

// --- Windows, and unmap -------------------------------------------------------------------------

TEST_F(RsmMap, LimitsGetAndPutToWhatIsMapped) {
  ASSERT_TRUE(Succeeds(MapWith(OffsetOf(1), 2 * PageSize())));
  EXPECT_EQ(Get(remote_, OffsetOf(1), 2 * PageSize()), TextOf(mapping_.page(1), 2 * PageSize()));
  char bytes[2] = {};
  const auto get = [&](off_t offset, size_t length) {
    return rsm_memseg_import_get(remote_.get(), offset, bytes, length);
  };
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, get(OffsetOf(1) - 1, 2), "are mapped"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, get(OffsetOf(3) - 1, 2), "are mapped"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, get(0, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, get(OffsetOf(3), 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, get(OffsetOf(4), 1))) << "not of the segment";
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, get(OffsetOf(4) - 1, 2)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, Put(remote_, OffsetOf(3), "x")));
  EXPECT_TRUE(Succeeds(get(OffsetOf(3) - 2, 2)));
}

TEST_F(RsmMap, NoLongerLimitsThemAfterUnmap) {
  ASSERT_TRUE(Succeeds(MapWith(OffsetOf(1), PageSize())));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(remote_.get())));
  EXPECT_EQ(Get(remote_, 0, kBytes), TextOf(mapping_.page(0), kBytes));
  EXPECT_TRUE(Succeeds(MapWith(OffsetOf(2), PageSize()))) << "it can be mapped again";
}

TEST_F(RsmMap, EndsWithUnmapAndNoOther) {
  const std::byte* const map = MapAll(remote_, kPages);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(remote_.get())));
  EXPECT_FALSE(IsMapped(map));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_MAPPED, rsm_memseg_import_unmap(remote_.get())));
}

TEST_F(RsmMap, UnmapFailsWithSegNotMappedWhereItIsNot) {
  EXPECT_TRUE(
      FailsWith(RSMERR_SEG_NOT_MAPPED, rsm_memseg_import_unmap(remote_.get()), "is not mapped"));
}

TEST_F(RsmMap, CanBeUnmappedWhereTheExporterHasEnded) {
  const std::byte* const map = MapAll(remote_, kPages);
  segment_ = nullptr;
  EXPECT_EQ(TextOf(map, 7), "page 0.");
  EXPECT_TRUE(Succeeds(rsm_memseg_import_unmap(remote_.get())));
}

}  // namespace
