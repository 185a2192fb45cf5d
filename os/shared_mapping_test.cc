#include "os/shared_mapping.h"

#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string>

#include "os/memory.h"
#include "os/memory_object.h"
#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

const size_t kPage = RealMemory().page_size();

// The mapping of an address, if there is one.
std::optional<Mapping> MappingOf(const char* address) {
  const PageNumber page(reinterpret_cast<uintptr_t>(address) / kPage);
  std::optional<Mapping> mapping = *RealMemory().MappingAt(page);
  if (mapping.has_value() && !mapping->pages.contains(page)) return std::nullopt;
  return mapping;
}

bool IsMapped(const char* address) { return MappingOf(address).has_value(); }
bool IsWritable(const char* address) { return MappingOf(address).value_or(Mapping()).writable; }
bool IsReserved(const char* address) {
  const std::optional<Mapping> mapping = MappingOf(address);
  return mapping.has_value() && !mapping->accessible();
}

char* Checked(const Result<void*>& mapped) {
  EXPECT_TRUE(mapped.ok()) << mapped.error().Name();
  return mapped.ok() ? static_cast<char*>(*mapped) : nullptr;
}

// Whether this process' page tables have all the pages.
bool IsReadIn(const char* address, size_t pages) {
  const PageRange range(PageNumber(reinterpret_cast<uintptr_t>(address) / kPage), PageCount(pages));
  return *RealMemory().CountPresent(range) == PageCount(pages);
}

// Private pages with neighbours of their own: "p" in each byte.
class TakenPages {
 public:
  static constexpr size_t kPages = 3;
  TakenPages() : begin_(Checked(MapPrivate((kPages + 2) * kPage))) {
    std::memset(begin_, 'p', (kPages + 2) * kPage);
  }
  TakenPages(const TakenPages&) = delete;
  TakenPages& operator=(const TakenPages&) = delete;
  ~TakenPages() { EXPECT_EQ(UnmapShared(begin_, (kPages + 2) * kPage), kSuccess); }

  char* at(size_t page) const { return begin_ + (page + 1) * kPage; }
  void Free() const { ASSERT_EQ(UnmapShared(at(0), kPages * kPage), kSuccess); }
  void ExpectNeighboursAreThere() const {
    EXPECT_EQ(at(0)[-1], 'p');
    EXPECT_EQ(*at(kPages), 'p');
  }
  void ExpectAllIsAsBefore() const {
    ExpectNeighboursAreThere();
    for (size_t page = 0; page < kPages; ++page) EXPECT_EQ(*at(page), 'p') << page;
  }

 private:
  char* begin_;
};

// An object, or a segment of shmget(2), of five pages: "0" in each byte of the first, and so on.
class Source {
 public:
  static constexpr size_t kPages = 5;
  virtual ~Source() = default;
  virtual Result<void*> Map(uint64_t page, size_t pages, View view, Place place,
                            void* address) const = 0;
  char* MapAnywhere(uint64_t page, size_t pages, View view = View::kReadWrite) const {
    return Checked(Map(page, pages, view, Place::kAnywhere, nullptr));
  }
  Errno Error(uint64_t page, size_t pages, View view, Place place, void* address) const {
    return Map(page, pages, view, place, address).error();
  }

 protected:
  void Fill() const {
    char* const all = MapAnywhere(0, kPages);
    for (size_t page = 0; page < kPages; ++page) {
      std::memset(all + page * kPage, '0' + static_cast<char>(page), kPage);
    }
    EXPECT_EQ(UnmapShared(all, kPages * kPage), kSuccess);
  }
};

class ObjectSource final : public Source {
 public:
  ObjectSource() : object_(*MemoryObject::Create("test", kPages * kPage)) { Fill(); }
  const MemoryObject& object() const { return object_; }
  Result<void*> Map(uint64_t page, size_t pages, View view, Place place,
                    void* address) const override {
    return MapShared(object_.descriptor(), page * kPage, pages * kPage, view, place, address);
  }

 private:
  const MemoryObject object_;
};

class SysVSource final : public Source {
 public:
  explicit SysVSource(int mode = 0600, size_t bytes = kPages * kPage)
      : mode_(mode), segment_(shmget(IPC_PRIVATE, bytes, mode | IPC_CREAT)) {
    EXPECT_GE(segment_, 0) << Errno::Last().Name();
    if (bytes == kPages * kPage && mode == 0600) Fill();
  }
  SysVSource(const SysVSource&) = delete;
  SysVSource& operator=(const SysVSource&) = delete;
  ~SysVSource() override {
    if ((mode_ & 0400) != 0) {
      EXPECT_EQ(Attachments(), 0u);
    }
    EXPECT_EQ(shmctl(segment_, IPC_RMID, nullptr), 0);
  }

  int segment() const { return segment_; }
  shmatt_t Attachments() const {
    shmid_ds status{};
    EXPECT_EQ(shmctl(segment_, IPC_STAT, &status), 0) << Errno::Last().Name();
    return status.shm_nattch;
  }
  Result<void*> Map(uint64_t page, size_t pages, View view, Place place,
                    void* address) const override {
    return MapSysV(segment_, page * kPage, pages * kPage, view, place, address);
  }

 private:
  const int mode_;
  const int segment_;
};

// --- What both do

template <typename Kind>
class MapTest : public testing::Test {
 protected:
  const Kind source_;
};
using Kinds = testing::Types<ObjectSource, SysVSource>;

class KindNames {
 public:
  template <typename Kind>
  static std::string GetName(int) {
    return std::is_same_v<Kind, SysVSource> ? "MapSysV" : "MapShared";
  }
};
TYPED_TEST_SUITE(MapTest, Kinds, KindNames);

TYPED_TEST(MapTest, MapsThePartThatIsAskedFor) {
  for (const auto& [page, pages] : {std::pair<uint64_t, size_t>{0, 5}, {0, 2}, {1, 3}, {3, 2}}) {
    char* const mapped = this->source_.MapAnywhere(page, pages);
    EXPECT_TRUE(IsReadIn(mapped, pages));
    for (size_t i = 0; i < pages * kPage; i += kPage / 2) {
      EXPECT_EQ(mapped[i], static_cast<char>('0' + page + i / kPage)) << i;
    }
    const std::optional<Mapping> mapping = MappingOf(mapped);
    ASSERT_TRUE(mapping.has_value());
    EXPECT_TRUE(mapping->shared);
    EXPECT_TRUE(mapping->writable);
    EXPECT_EQ(mapping->pages.count(), PageCount(pages)) << "and no other";
    EXPECT_EQ(UnmapShared(mapped, pages * kPage), kSuccess);
    EXPECT_FALSE(IsMapped(mapped));
  }
}

TYPED_TEST(MapTest, IsSharedAmongViewsAndProcesses) {
  char* const writable = this->source_.MapAnywhere(1, 2);
  char* const view = this->source_.MapAnywhere(0, 5, View::kReadOnly);
  RunInChild([&] { writable[kPage] = 'x'; });
  EXPECT_EQ(view[2 * kPage], 'x');
  EXPECT_EQ(UnmapShared(writable, 2 * kPage), kSuccess);
  EXPECT_EQ(UnmapShared(view, 5 * kPage), kSuccess);
}

TYPED_TEST(MapTest, ForReadingIsNotWritable) {
  char* const view = this->source_.MapAnywhere(1, 3, View::kReadOnly);
  EXPECT_EQ(*view, '1');
  EXPECT_FALSE(IsWritable(view));
  EXPECT_EQ(UnmapShared(view, 3 * kPage), kSuccess);
}

TYPED_TEST(MapTest, TakesAFreePlace) {
  const TakenPages place;
  for (const View view : {View::kReadWrite, View::kReadOnly}) {
    place.Free();
    EXPECT_EQ(Checked(this->source_.Map(1, 3, view, Place::kFree, place.at(0))), place.at(0));
    for (size_t page = 0; page < 3; ++page) {
      EXPECT_EQ(*place.at(page), static_cast<char>('1' + page));
    }
    EXPECT_EQ(IsWritable(place.at(0)), view == View::kReadWrite);
    place.ExpectNeighboursAreThere();
  }
}

// The only hole that is just as large: mappings that are made on the way must not take it.
TYPED_TEST(MapTest, TakesAFreePlaceThatIsTheNextToBeTaken) {
  constexpr size_t kPages = Source::kPages;
  char* const place = Checked(MapPrivate(kPages * kPage));
  ASSERT_EQ(UnmapShared(place, kPages * kPage), kSuccess);
  ASSERT_EQ(Checked(MapPrivate(kPages * kPage)), place) << "it is the next";
  ASSERT_EQ(UnmapShared(place, kPages * kPage), kSuccess);
  ASSERT_EQ(Checked(this->source_.Map(0, kPages, View::kReadWrite, Place::kFree, place)), place);
  EXPECT_EQ(place[4 * kPage], '4');
  EXPECT_EQ(UnmapShared(place, kPages * kPage), kSuccess);
}

TYPED_TEST(MapTest, DoesNotTakeAPlaceThatIsTaken) {
  const TakenPages place;
  const auto error = [&](size_t page, size_t pages) {
    return this->source_.Error(1, pages, View::kReadWrite, Place::kFree, place.at(page));
  };
  EXPECT_EQ(error(0, 3), Errno(EEXIST));
  EXPECT_EQ(error(1, 1), Errno(EEXIST));
  place.ExpectAllIsAsBefore();
  ASSERT_EQ(UnmapShared(place.at(1), kPage), kSuccess);
  EXPECT_EQ(error(0, 3), Errno(EEXIST)) << "a part of it";
  EXPECT_EQ(error(1, 2), Errno(EEXIST));
  EXPECT_FALSE(IsMapped(place.at(1)));
  EXPECT_EQ(*place.at(0), 'p');
  EXPECT_EQ(*place.at(2), 'p');
}

TYPED_TEST(MapTest, TakesThePlaceOfWhatIsThere) {
  const TakenPages place;
  const Result<void*> mapped =
      this->source_.Map(2, 2, View::kReadWrite, Place::kReplace, place.at(1));
  EXPECT_EQ(Checked(mapped), place.at(1));
  EXPECT_TRUE(IsReadIn(place.at(1), 2));
  EXPECT_EQ(*place.at(0), 'p');
  EXPECT_EQ(*place.at(1), '2');
  EXPECT_EQ(*place.at(2), '3');
  place.ExpectNeighboursAreThere();
  // And of views of its own, and of mappings more than one.
  EXPECT_EQ(this->source_.Error(0, 3, View::kReadOnly, Place::kReplace, place.at(0)), kSuccess);
  for (size_t page = 0; page < 3; ++page) {
    EXPECT_EQ(*place.at(page), static_cast<char>('0' + page));
  }
  EXPECT_FALSE(IsWritable(place.at(2)));
  place.ExpectNeighboursAreThere();
}

TYPED_TEST(MapTest, NeedsBytes) {
  const TakenPages place;
  for (const Place where : {Place::kAnywhere, Place::kReplace}) {
    EXPECT_EQ(this->source_.Error(1, 0, View::kReadWrite, where, place.at(0)), Errno(EINVAL));
  }
  place.ExpectAllIsAsBefore();
  place.Free();
  EXPECT_EQ(this->source_.Error(1, 0, View::kReadWrite, Place::kFree, place.at(0)), Errno(EINVAL));
  EXPECT_FALSE(IsMapped(place.at(0)));
}

TYPED_TEST(MapTest, IsMappedAgainWithTheSameRights) {
  char* const first = this->source_.MapAnywhere(1, 3);
  char* const view = this->source_.MapAnywhere(1, 3, View::kReadOnly);
  char* const again = Checked(Duplicate(first + kPage, 2 * kPage));
  char* const view_again = Checked(Duplicate(view, 3 * kPage));
  EXPECT_EQ(*again, '2');
  again[kPage] = 'x';
  EXPECT_EQ(first[2 * kPage], 'x');
  EXPECT_EQ(view_again[2 * kPage], 'x');
  EXPECT_FALSE(IsWritable(view_again));
  EXPECT_EQ(UnmapShared(first, 3 * kPage), kSuccess);
  EXPECT_EQ(again[0], '2') << "each is unmapped for itself";
  EXPECT_EQ(UnmapShared(again, 2 * kPage), kSuccess);
  EXPECT_EQ(UnmapShared(view, 3 * kPage), kSuccess);
  EXPECT_EQ(UnmapShared(view_again, 3 * kPage), kSuccess);
}

TYPED_TEST(MapTest, IsInheritedUnlessToldOtherwise) {
  char* const mapped = this->source_.MapAnywhere(1, 3);
  RunInChild([&] { EXPECT_EQ(*mapped, '1'); });
  EXPECT_EQ(SetInherited(mapped + kPage, 2 * kPage, false), kSuccess);
  RunInChild([&] {
    EXPECT_EQ(*mapped, '1');
    EXPECT_FALSE(IsMapped(mapped + kPage));
    EXPECT_FALSE(IsMapped(mapped + 2 * kPage));
  });
  EXPECT_EQ(SetInherited(mapped + kPage, 2 * kPage, true), kSuccess);
  RunInChild([&] {
    EXPECT_EQ(mapped[kPage], '2');
    mapped[2 * kPage] = 'x';
  });
  EXPECT_EQ(mapped[2 * kPage], 'x');
  EXPECT_EQ(UnmapShared(mapped, 3 * kPage), kSuccess);
  EXPECT_EQ(SetInherited(mapped, kPage, false), Errno(ENOMEM)) << "it is not mapped";
}

TYPED_TEST(MapTest, IsReservedAgain) {
  char* const mapped = this->source_.MapAnywhere(0, 3);
  EXPECT_EQ(ReserveAgain(mapped + kPage, kPage), kSuccess);
  EXPECT_TRUE(IsReserved(mapped + kPage));
  EXPECT_EQ(*mapped, '0');
  EXPECT_EQ(mapped[2 * kPage], '2');
  EXPECT_EQ(this->source_.Error(0, 1, View::kReadWrite, Place::kFree, mapped + kPage),
            Errno(EEXIST));
  EXPECT_EQ(this->source_.Error(4, 1, View::kReadWrite, Place::kReplace, mapped + kPage), kSuccess);
  EXPECT_EQ(mapped[kPage], '4');
  EXPECT_EQ(UnmapShared(mapped, 3 * kPage), kSuccess);
}

// --- Files

TEST(MapShared, SaysWhatTheDescriptorDoesNotAllow) {
  const ObjectSource source;
  const TakenPages place;
  const OwnedDescriptor reader = *ReopenForReading(source.object().descriptor());
  const auto error = [&](int descriptor, View view, Place where) {
    return MapShared(descriptor, 0, 3 * kPage, view, where, place.at(0)).error();
  };
  for (const Place where : {Place::kAnywhere, Place::kReplace}) {
    EXPECT_EQ(error(reader.get(), View::kReadWrite, where), Errno(EACCES));
    EXPECT_EQ(error(-1, View::kReadOnly, where), Errno(EBADF));
  }
  ASSERT_EQ(source.object().RefuseNewWriters(), kSuccess);
  for (const Place where : {Place::kAnywhere, Place::kReplace}) {
    EXPECT_EQ(error(source.object().descriptor(), View::kReadWrite, where), Errno(EPERM));
  }
  place.ExpectAllIsAsBefore();
  EXPECT_EQ(error(reader.get(), View::kReadOnly, Place::kReplace), kSuccess);
  EXPECT_EQ(*place.at(1), '1');
}

TEST(MapUntouched, ReadsNothingInAndShowsWhatIsWrittenToTheFile) {
  const MemoryObject object = *MemoryObject::Create("test", 3 * kPage);
  const Result<void*> mapped =
      MapUntouched(object.descriptor(), kPage, 2 * kPage, View::kReadWrite);
  ASSERT_TRUE(mapped.ok()) << mapped.error().Name();
  const auto* const view = static_cast<const char*>(*mapped);
  EXPECT_FALSE(IsReadIn(view, 1));
  EXPECT_FALSE(IsReadIn(view + kPage, 1));
  EXPECT_TRUE(IsWritable(view));
  ASSERT_EQ(object.Write(kPage, "written", 7), kSuccess);
  EXPECT_FALSE(IsReadIn(view, 1));
  EXPECT_EQ(std::string(view, 7), "written");
  EXPECT_EQ(UnmapShared(*mapped, 2 * kPage), kSuccess);
  EXPECT_EQ(MapUntouched(object.descriptor(), 0, 0, View::kReadOnly).error(), Errno(EINVAL));
}

TEST(MapShared, NeedsAddressSpace) {
  const MemoryObject large = *MemoryObject::Create("test", uint64_t{1} << 60);
  EXPECT_EQ(MapShared(large.descriptor(), 0, size_t{1} << 60, View::kReadWrite).error(),
            Errno(ENOMEM));
}

// --- Segments

TEST(MapSysV, IsAttachedUntilTheLastPageIsUnmapped) {
  const SysVSource source;
  const TakenPages place;
  place.Free();
  char* const part = Checked(source.Map(1, 3, View::kReadWrite, Place::kFree, place.at(0)));
  ASSERT_EQ(source.Attachments(), 1u);
  char* const other = source.MapAnywhere(0, 5);
  EXPECT_EQ(source.Attachments(), 2u);
  EXPECT_EQ(UnmapShared(other, 5 * kPage), kSuccess);
  EXPECT_EQ(source.Attachments(), 1u);
  EXPECT_EQ(UnmapShared(part, 2 * kPage), kSuccess);
  EXPECT_EQ(source.Attachments(), 1u) << "a page is left";
  EXPECT_EQ(part[2 * kPage], '3');
  EXPECT_EQ(UnmapShared(part + 2 * kPage, kPage), kSuccess);
  EXPECT_EQ(source.Attachments(), 0u);
}

TEST(MapSysV, KeepsASegmentThatIsRemoved) {
  const int segment = shmget(IPC_PRIVATE, 2 * kPage, 0600 | IPC_CREAT);
  char* const part = Checked(MapSysV(segment, kPage, kPage, View::kReadWrite));
  ASSERT_EQ(shmctl(segment, IPC_RMID, nullptr), 0);
  *part = 'x';
  EXPECT_EQ(*part, 'x');
  EXPECT_EQ(UnmapShared(part, kPage), kSuccess);
  EXPECT_EQ(MapSysV(segment, 0, kPage, View::kReadOnly).error(), Errno(EINVAL)) << "it is gone";
}

TEST(MapSysV, NeedsThatManyPages) {
  const SysVSource source;
  const TakenPages place;
  const auto error = [&](uint64_t offset, size_t bytes, Place where) {
    return MapSysV(source.segment(), offset, bytes, View::kReadWrite, where, place.at(0)).error();
  };
  for (const Place where : {Place::kAnywhere, Place::kReplace}) {
    EXPECT_EQ(error(0, 6 * kPage, where), Errno(EINVAL));
    EXPECT_EQ(error(3 * kPage, 3 * kPage, where), Errno(EINVAL));
    EXPECT_EQ(error(6 * kPage, kPage, where), Errno(EINVAL));
    EXPECT_EQ(error(UINT64_MAX - kPage + 1, 2 * kPage, where), Errno(EINVAL));
    EXPECT_EQ(source.Attachments(), 0u);
  }
  place.ExpectAllIsAsBefore();
  place.Free();
  EXPECT_EQ(error(3 * kPage, 3 * kPage, Place::kFree), Errno(EINVAL));
  EXPECT_FALSE(IsMapped(place.at(0)));
  EXPECT_EQ(MapSysV(-1, 0, kPage, View::kReadOnly).error(), Errno(EINVAL));
}

TEST(MapSysV, HasItsLastPageAsAWhole) {
  const SysVSource source(0600, kPage + 1);
  char* const mapped = source.MapAnywhere(1, 1);
  mapped[kPage - 1] = 'x';
  EXPECT_EQ(UnmapShared(mapped, kPage), kSuccess);
  EXPECT_EQ(source.Error(1, 2, View::kReadWrite, Place::kAnywhere, nullptr), Errno(EINVAL));
}

TEST(MapSysV, ForReadingCannotBeMadeWritable) {
  const SysVSource source;
  const TakenPages place;
  ASSERT_EQ(source.Error(1, 3, View::kReadOnly, Place::kReplace, place.at(0)), kSuccess);
  EXPECT_EQ(mprotect(place.at(0), kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
}

TEST(MapSysV, IsForWhomTheModeAllowsIt) {
  const SysVSource for_reading(0400), for_nobody(0);
  RunInChild({.drop_privilege = true}, [&] {
    const TakenPages place;
    const auto error = [&](const SysVSource& source, View view, Place where) {
      return source.Error(0, 3, view, where, place.at(0));
    };
    for (const Place where : {Place::kAnywhere, Place::kReplace}) {
      EXPECT_EQ(error(for_reading, View::kReadWrite, where), Errno(EACCES));
      EXPECT_EQ(error(for_nobody, View::kReadOnly, where), Errno(EACCES));
    }
    place.ExpectAllIsAsBefore();
    EXPECT_EQ(error(for_reading, View::kReadOnly, Place::kReplace), kSuccess);
  });
}

// --- Private memory and reserved addresses

TEST(MapPrivate, IsZerosOfThisProcessAlone) {
  char* const mapped = Checked(MapPrivate(3 * kPage));
  for (size_t i = 0; i < 3 * kPage; i += kPage / 2) EXPECT_EQ(mapped[i], '\0');
  *mapped = 'x';
  RunInChild([&] {
    EXPECT_EQ(*mapped, 'x');
    *mapped = 'y';
  });
  EXPECT_EQ(*mapped, 'x');
  EXPECT_FALSE(MappingOf(mapped)->shared);
  EXPECT_EQ(Duplicate(mapped, kPage).error(), Errno(EINVAL));
  EXPECT_EQ(UnmapShared(mapped, 3 * kPage), kSuccess);
  EXPECT_EQ(MapPrivate(0).error(), Errno(EINVAL));
  EXPECT_EQ(MapPrivate(size_t{1} << 60).error(), Errno(ENOMEM));
}

TEST(ReserveAgain, DropsWhatIsThere) {
  const TakenPages place;
  EXPECT_EQ(ReserveAgain(place.at(0), 2 * kPage), kSuccess);
  EXPECT_TRUE(IsReserved(place.at(0)));
  EXPECT_TRUE(IsReserved(place.at(1)));
  EXPECT_EQ(*place.at(2), 'p');
  place.ExpectNeighboursAreThere();
  ASSERT_EQ(mprotect(place.at(0), 2 * kPage, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(*place.at(0), '\0');
}

// --- Moving

TEST(Move, TakesThePlaceOfWhatIsThere) {
  const TakenPages place;
  char* const from = Checked(MapPrivate(4 * kPage));
  for (size_t page = 0; page < 4; ++page) from[page * kPage] = static_cast<char>('a' + page);
  EXPECT_EQ(Move(from + kPage, 3 * kPage, place.at(0)), kSuccess);
  for (size_t page = 0; page < 3; ++page) {
    EXPECT_EQ(*place.at(page), static_cast<char>('b' + page));
  }
  EXPECT_FALSE(IsMapped(from + kPage));
  EXPECT_EQ(*from, 'a');
  place.ExpectNeighboursAreThere();
  EXPECT_EQ(UnmapShared(from, kPage), kSuccess);
}

TEST(Move, LeavesAllAsItWasAfterAnError) {
  const TakenPages place;
  EXPECT_EQ(Move(place.at(0), 2 * kPage, place.at(1)), Errno(EINVAL)) << "they overlap";
  EXPECT_EQ(Move(place.at(0) + 1, kPage, place.at(1)), Errno(EINVAL));
  place.ExpectAllIsAsBefore();
}

}  // namespace
}  // namespace os
