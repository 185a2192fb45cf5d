#include "os/fake_address_space.h"

#include <gtest/gtest.h>

namespace os::testing {
namespace {

using Page = FakeAddressSpace::Page;

PageRange Range(uint64_t begin, uint64_t end) {
  return PageRange(PageNumber(begin), PageNumber(end));
}

void Lock(Page& page) { page.locked = true; }

TEST(FakeAddressSpace, InsertNumbersThePagesOfAFile) {
  FakeAddressSpace space(4096);
  space.Insert(Range(5, 8), Page{.file = 1, .pages_in_file = 2});
  EXPECT_EQ(space.Find(PageNumber(7))->file_page, 2u);
  EXPECT_FALSE(space.Find(PageNumber(6))->past_end());
  EXPECT_TRUE(space.Find(PageNumber(7))->past_end());
  EXPECT_EQ(space.Find(PageNumber(8)), nullptr);
  EXPECT_EQ(space.mapped_pages(), PageCount(3));
}

TEST(FakeAddressSpace, ChangeStopsAtAHole) {
  FakeAddressSpace space(4096);
  space.Insert(Range(5, 7), Page{});
  space.Insert(Range(8, 9), Page{});
  EXPECT_EQ(space.Change(Range(4, 9), Lock), Errno(ENOMEM));
  EXPECT_EQ(space.locked_pages(), PageCount(0));
  EXPECT_EQ(space.Change(Range(5, 9), Lock), Errno(ENOMEM));
  EXPECT_EQ(space.CountLocked(Range(0, 10)), PageCount(2));
  EXPECT_EQ(space.CountLocked(Range(6, 10)), PageCount(1));
}

TEST(FakeAddressSpace, ChangeUndoesTheMappingThatWouldBeTooMany) {
  FakeAddressSpace space(4096);
  space.Insert(Range(5, 9), Page{});
  space.set_max_mappings(1);
  EXPECT_TRUE(space.full());
  EXPECT_EQ(space.Change(Range(5, 6), Lock), Errno(ENOMEM));
  EXPECT_EQ(space.locked_pages(), PageCount(0));
  EXPECT_EQ(space.mappings(), 1u);
  EXPECT_EQ(space.Change(Range(5, 9), Lock), kSuccess);
  EXPECT_EQ(space.locked_pages(), PageCount(4));
}

TEST(FakeAddressSpace, RemoveCutsEdgesOfAFullTableButNoHoles) {
  FakeAddressSpace space(4096);
  space.Insert(Range(5, 12), Page{});
  space.set_max_mappings(1);
  EXPECT_EQ(space.Remove(Range(7, 8)), Errno(ENOMEM));
  EXPECT_EQ(space.Remove(Range(4, 6)), kSuccess);
  EXPECT_EQ(space.Remove(Range(11, 20)), kSuccess);
  EXPECT_EQ(space.MappingAt(PageNumber(0))->pages, Range(6, 11));
  EXPECT_FALSE(space.MappingAt(PageNumber(11)).has_value());
}

TEST(FakeAddressSpace, KnowsItsLastAddress) {
  for (const size_t page_size : {size_t{4096}, size_t{65536}}) {
    const FakeAddressSpace space(page_size);
    const PageNumber last(SIZE_MAX / page_size);
    EXPECT_FALSE(space.Wraps(PageRange(PageNumber(0), last)));
    EXPECT_TRUE(space.Wraps(PageRange(last, PageCount(1))));
    EXPECT_TRUE(space.Wraps(PageRange(last, PageNumber(0))));
  }
}

}  // namespace
}  // namespace os::testing
