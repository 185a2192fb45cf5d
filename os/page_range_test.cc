#include "os/page_range.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace os {
namespace {

constexpr uintptr_t kLast = std::numeric_limits<uintptr_t>::max();

PageRange Range(uint64_t begin, uint64_t end) {
  return PageRange(PageNumber(begin), PageNumber(end));
}

class PageRangeOfSize : public ::testing::TestWithParam<size_t> {
 protected:
  const size_t page_ = GetParam();
  const uint64_t last_page_ = kLast / page_;
};

INSTANTIATE_TEST_SUITE_P(PageSizes, PageRangeOfSize, ::testing::Values(4096, 65536));

TEST_P(PageRangeOfSize, CoversTheByteItHolds) {
  for (const uintptr_t offset : {uintptr_t{0}, uintptr_t{1}, page_ - 1}) {
    const Result<PageRange> range = PageRange::Covering(7 * page_ + offset, 1, page_);
    ASSERT_TRUE(range.ok());
    EXPECT_EQ(*range, Range(7, 8));
  }
}

TEST_P(PageRangeOfSize, CoversBothSidesOfABoundary) {
  EXPECT_EQ(*PageRange::Covering(8 * page_ - 1, 2, page_), Range(7, 9));
  EXPECT_EQ(*PageRange::Covering(7 * page_, page_, page_), Range(7, 8));
  EXPECT_EQ(*PageRange::Covering(7 * page_, page_ + 1, page_), Range(7, 9));
  EXPECT_EQ(*PageRange::Covering(7 * page_ + 1, page_, page_), Range(7, 9));
}

TEST_P(PageRangeOfSize, OfNoBytesIsEmpty) {
  for (const uintptr_t address : {uintptr_t{0}, page_, 3 * page_ + 5, kLast - page_, kLast}) {
    const Result<PageRange> range = PageRange::Covering(address, 0, page_);
    ASSERT_TRUE(range.ok());
    EXPECT_TRUE(range->empty());
    EXPECT_EQ(range->count(), PageCount(0));
    EXPECT_EQ(range->begin(), PageNumber(address / page_));
  }
}

TEST_P(PageRangeOfSize, ThatWrapsIsAnError) {
  const Errno invalid(EINVAL);
  EXPECT_EQ(PageRange::Covering(page_, SIZE_MAX, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(1, SIZE_MAX, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(0, SIZE_MAX, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(kLast, 1, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(kLast, 2, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(kLast, SIZE_MAX, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(kLast - 10, 11, page_).error(), invalid);
  EXPECT_EQ(PageRange::Covering(kLast - 10, 12, page_).error(), invalid);
}

TEST_P(PageRangeOfSize, ReachesUpToTheLastPageButOne) {
  // The end of a range of the last page would be an address that does not exist.
  const uintptr_t last_start = kLast - (page_ - 1);
  const Result<PageRange> most = PageRange::Covering(0, last_start, page_);
  ASSERT_TRUE(most.ok());
  EXPECT_EQ(*most, Range(0, last_page_));
  EXPECT_EQ(most->bytes(page_), last_start);
  EXPECT_EQ(PageRange::Covering(0, last_start + 1, page_).error(), Errno(EINVAL));
  EXPECT_EQ(*PageRange::Covering(last_start - 1, 1, page_), Range(last_page_ - 1, last_page_));
  EXPECT_EQ(PageRange::Covering(last_start, 1, page_).error(), Errno(EINVAL));
}

// Every range within a few bytes of the page boundaries at both ends of the address space agrees
// with arithmetic in a type that cannot wrap.
TEST_P(PageRangeOfSize, AgreesWithWideArithmetic) {
  __extension__ using Wide = unsigned __int128;
  std::vector<uintptr_t> edges;
  for (const uintptr_t page :
       {uintptr_t{0}, uintptr_t{1}, uintptr_t{2}, last_page_ - 1, last_page_}) {
    for (uintptr_t near = 0; near < 5; ++near) edges.push_back(page * page_ + near - 2);
  }
  for (const uintptr_t address : edges) {
    for (const size_t bytes : edges) {
      const Result<PageRange> range = PageRange::Covering(address, bytes, page_);
      const Wide end = (Wide{address} + bytes + page_ - 1) / page_;
      if (bytes != 0 && end * page_ > kLast) {
        EXPECT_EQ(range.error(), Errno(EINVAL)) << address << " + " << bytes;
        continue;
      }
      ASSERT_TRUE(range.ok()) << address << " + " << bytes;
      EXPECT_EQ(range->begin().value(), address / page_);
      if (bytes != 0) {
        EXPECT_EQ(range->end().value(), static_cast<uint64_t>(end)) << address << " + " << bytes;
      }
    }
  }
}

// With pages of 4 bytes, every address and length up to 6 pages: the range holds exactly the pages
// of the bytes.
TEST(PageRange, CoversExactlyThePagesOfItsBytes) {
  constexpr size_t kPage = 4;
  for (uintptr_t address = 0; address < 24; ++address) {
    for (size_t bytes = 0; bytes < 24; ++bytes) {
      const Result<PageRange> range = PageRange::Covering(address, bytes, kPage);
      ASSERT_TRUE(range.ok());
      for (uint64_t page = 0; page < 14; ++page) {
        bool touched = false;
        for (uintptr_t byte = address; byte < address + bytes; ++byte) {
          touched = touched || byte / kPage == page;
        }
        EXPECT_EQ(range->contains(PageNumber(page)), touched) << address << " + " << bytes;
      }
    }
  }
}

TEST(PageRange, IntersectionHoldsThePagesInBoth) {
  for (uint64_t a = 0; a < 6; ++a) {
    for (uint64_t b = a; b < 6; ++b) {
      for (uint64_t c = 0; c < 6; ++c) {
        for (uint64_t d = c; d < 6; ++d) {
          const PageRange both = Range(a, b).Intersection(Range(c, d));
          EXPECT_LE(both.begin(), both.end());
          for (uint64_t page = 0; page < 6; ++page) {
            const PageNumber number(page);
            EXPECT_EQ(both.contains(number),
                      Range(a, b).contains(number) && Range(c, d).contains(number));
          }
        }
      }
    }
  }
}

TEST(PageRange, DefaultIsEmpty) {
  EXPECT_TRUE(PageRange().empty());
  EXPECT_FALSE(PageRange().contains(PageNumber(0)));
}

TEST(PageRange, AddressAndBytesAreForTheKernel) {
  const PageRange range(PageNumber(16), PageCount(3));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(range.address(4096)), 65536u);
  EXPECT_EQ(range.bytes(4096), 12288u);
  EXPECT_EQ(range.end(), PageNumber(19));
}

TEST(PageCount, Arithmetic) {
  PageCount count(5);
  count += PageCount(3);
  count -= PageCount(1);
  EXPECT_EQ(count, PageCount(7));
  EXPECT_EQ(count + PageCount(1) - PageCount(8), PageCount());
  EXPECT_LT(PageCount(6), count);
  EXPECT_EQ(PageNumber(10) - PageNumber(4), PageCount(6));
  EXPECT_EQ(PageNumber(4) + PageCount(6), PageNumber(10));
  EXPECT_EQ(PageCount(7).bytes(65536), size_t{7} * 65536);
}

}  // namespace
}  // namespace os
