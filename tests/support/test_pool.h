// Helpers for tests that use a pool through its C interface.

#ifndef TESTS_SUPPORT_TEST_POOL_H_
#define TESTS_SUPPORT_TEST_POOL_H_

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/test_file.h"

namespace test_support {

struct PoolCloser {
  void operator()(MPOOL* mp) const { EXPECT_EQ(mpool_close(mp), 0) << mpool_error(); }
};
using Pool = std::unique_ptr<MPOOL, PoolCloser>;

// A private pool. Where it cannot be opened the test fails, and a later use of it crashes.
inline Pool OpenPool(const TestFile& file, pgno_t page_size, pgno_t maxcache) {
  Pool pool(mpool_open(nullptr, file.fd(), page_size, maxcache));
  EXPECT_NE(pool, nullptr) << std::strerror(errno) << ": " << mpool_error();
  return pool;
}

// Whether a call that returned this has failed with the errno, and mpool_error() has words for it.
inline testing::AssertionResult Failed(int error, bool failed) {
  const int seen = errno;
  if (!failed) return testing::AssertionFailure() << "it succeeded";
  if (seen != error) {
    return testing::AssertionFailure() << "errno is " << std::strerror(seen) << ", not "
                                       << std::strerror(error) << "; " << mpool_error();
  }
  const std::string_view text = mpool_error();
  if (text.empty() || text.find('\n') != text.npos) {
    return testing::AssertionFailure() << "mpool_error() is not a line: \"" << text << "\"";
  }
  return testing::AssertionSuccess();
}
inline testing::AssertionResult FailsWith(int error, const void* page) {
  return Failed(error, page == nullptr);
}
inline testing::AssertionResult FailsWith(int error, int result) {
  return Failed(error, result == -1);
}

// The page's bytes, got and put.
inline std::string PageIn(const Pool& pool, pgno_t page) {
  const void* bytes = mpool_get(pool.get(), page, 0);
  if (bytes == nullptr) return std::string("no page: ") + mpool_error();
  const std::string text(static_cast<const char*>(bytes), pool->pagesize);
  EXPECT_EQ(mpool_put(pool.get(), const_cast<void*>(bytes), 0), 0) << mpool_error();
  return text;
}

// Gets a page, fills it with the text, and puts it dirty.
inline void ChangePage(const Pool& pool, pgno_t page, std::string_view text) {
  void* bytes = mpool_get(pool.get(), page, 0);
  ASSERT_NE(bytes, nullptr) << mpool_error();
  std::memcpy(bytes, Filled(text, pool->pagesize).data(), pool->pagesize);
  EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0) << mpool_error();
}

inline struct mpool_stat StatOf(const Pool& pool) {
  struct mpool_stat stat {};
  EXPECT_EQ(mpool_get_stat(pool.get(), &stat, sizeof(stat)), 0) << mpool_error();
  return stat;
}

// Pins the pages [0, count), puts them all, and says whether each could be had: no frame is lost.
inline bool CanPinAll(const Pool& pool, pgno_t count) {
  std::vector<void*> pages;
  for (pgno_t page = 0; page < count; ++page) {
    void* bytes = mpool_get(pool.get(), page, 0);
    if (bytes == nullptr) break;
    pages.push_back(bytes);
  }
  for (void* bytes : pages) EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0) << mpool_error();
  return pages.size() == count;
}

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEST_POOL_H_
