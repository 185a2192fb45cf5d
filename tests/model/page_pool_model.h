// PagePoolModel: a page pool without frames, and operations to hold a real one against it.
//
// Every page holds one byte value throughout, so a page's contents are a number. Where the pool is
// free (a dirty page is written when the pool likes, so a deleted one may or may not have been),
// the model knows the set of answers that are right. The fuzzers use the decoder and the model too.

#ifndef TESTS_MODEL_PAGE_POOL_MODEL_H_
#define TESTS_MODEL_PAGE_POOL_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "mpool/internal/pool_core.h"

namespace test_support {

using mpool::internal::PageNumber;

struct PoolOperation {
  enum class Kind : uint8_t {
    kPin,
    kUnpin,
    kChange,
    kPeek,
    kDelete,
    kNext,
    kRequest,
    kSync,
    kPrefetch,
  };
  static constexpr uint8_t kKinds = 9;

  Kind kind = Kind::kPin;
  PageNumber page = 0;
  uint8_t value = 0;  // of kChange, kNext and kRequest: what the page holds afterwards
};

// Takes the next operation, of three bytes, from the front; on one of the first `pages` pages.
std::optional<PoolOperation> DecodeOperation(std::span<const uint8_t>& bytes, PageNumber pages);

// In C++, so that a failure can be repeated as a test.
std::string ToString(const PoolOperation& operation);

class PagePoolModel {
 public:
  using PoolCore = mpool::internal::PoolCore;

  // For a pool whose file holds these values, one for each page as it reads, and whose holes read
  // as `hole`. `zero_past_end` as the pool's.
  PagePoolModel(std::span<const uint8_t> file, uint8_t hole, bool zero_past_end);

  // Does the operation to the pool and to the model. "" where both agree, else what is wrong.
  std::string Apply(PoolCore& pool, const PoolOperation& operation);
  // Puts every pin, so that the pool can be closed or examined.
  std::string UnpinAll(PoolCore& pool);
  // The pool was closed, and its file has `pages` pages now; what was dirty may be lost. "" where
  // the file may be as long as that. Precondition: no pins.
  std::string Closed(PageNumber pages);

  unsigned pins(PageNumber page) const;
  // What the file may hold of the page, as it reads.
  std::set<uint8_t> InFile(PageNumber page) const;
  PageNumber page_count() const { return page_count_; }

 private:
  struct Page {
    std::optional<uint8_t> value;  // what a get gives; nullopt: one of in_file
    std::set<uint8_t> in_file;     // what the file may hold
    bool changed = false;          // since the last sync, and not deleted
    unsigned pins = 0;
    std::byte* address = nullptr;  // of the pinned page
  };

  Page& At(PageNumber page);
  std::string Get(PoolCore& pool, PageNumber page, mpool::internal::Access access);
  std::string Put(PoolCore& pool, PageNumber page, bool dirty);
  std::string Change(PoolCore& pool, PageNumber page, uint8_t value);
  std::string Delete(PoolCore& pool, PageNumber page);
  std::string New(PoolCore& pool, const PoolOperation& operation);
  std::string Sync(PoolCore& pool);
  std::string Check(PoolCore& pool) const;

  const uint8_t hole_;
  const bool zero_past_end_;
  std::map<PageNumber, Page> pages_;
  PageNumber page_count_;  // with zero_past_end, there may be more
  PageNumber in_file_;     // the file has these for certain
};

}  // namespace test_support

#endif  // TESTS_MODEL_PAGE_POOL_MODEL_H_
