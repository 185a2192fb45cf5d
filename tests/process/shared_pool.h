// A pool that processes share, for a test: a key of its own, and nothing left behind.

#ifndef TESTS_PROCESS_SHARED_POOL_H_
#define TESTS_PROCESS_SHARED_POOL_H_

#include <cstddef>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace test_support {

inline constexpr pgno_t kSharedPageSize = 4096;

// Other tests may run beside this one, in pid namespaces of their own.
inline const std::string& RunName() {
  static const std::string name = " run " + std::to_string(std::random_device()());
  return name;
}

// One for each test and run, with zeros in it.
inline std::string MakeKey() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return std::string("\0key\0", 5) + test->test_suite_name() + test->name() + RunName();
}

inline Pool OpenShared(std::string key, int fd, pgno_t page_size, pgno_t maxcache) {
  DBT dbt{key.data(), key.size()};
  return Pool(mpool_open(&dbt, fd, page_size, maxcache));
}

inline size_t ObjectsLeft() {
  const auto all = mpool::internal::SharedRegion::List();
  EXPECT_TRUE(all.ok());
  size_t count = 0;
  for (const auto& one : *all) {
    if (one.key.find(RunName()) != one.key.npos) ++count;
  }
  return count;
}

// Of the pool of this key; "": there is none.
inline std::string PathOf(const std::string& key) {
  const auto all = mpool::internal::SharedRegion::List();
  EXPECT_TRUE(all.ok());
  for (const auto& one : *all) {
    if (one.key == key) return std::string(mpool::internal::SharedRegion::kFolder) + "/" + one.name;
  }
  return "";
}

// With a file of 64 pages.
class MpoolShared : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ObjectsLeft(), 0u) << "an object was left behind"; }

  const std::string key_ = MakeKey();
  const TestFile file_{64, kSharedPageSize};
};

}  // namespace test_support

#endif  // TESTS_PROCESS_SHARED_POOL_H_
