// PagePoolModel: a page pool without frames, and operations to hold a real one against it.
//
// Every page holds one byte value throughout, so a page's contents are a number. Where the pool is
// free (a dirty page is written when the pool likes, so a deleted one may or may not have been),
// the model knows the set of answers that are right. Only a write that failed half way leaves a page
// of several values.

#ifndef TESTS_MODEL_PAGE_POOL_MODEL_H_
#define TESTS_MODEL_PAGE_POOL_MODEL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "mpool/internal/pool_core.h"
#include "os/fault_plan.h"
#include "tests/model/page_pool_operation.h"

namespace test_model {

class PagePoolModel {
 public:
  using PageNumber = mpool::internal::PageNumber;
  using PoolCore = mpool::internal::PoolCore;
  using Values = std::set<uint8_t>;  // of the bytes of a page

  // For a pool on a file whose pages hold these values, as they read, all of it synced; its holes
  // read as `hole`. `plan` says which calls of the file fail.
  PagePoolModel(const PoolSetup& setup, std::span<const Values> file, uint8_t hole,
                const os::testing::FaultPlan& plan);

  // Does the operation to the pool and to the model. "" where both agree, else what is wrong.
  // Precondition: it is not of the last three kinds.
  std::string Apply(PoolCore& pool, const PoolOperation& operation);
  // Whether calls may fail: the plan is armed, and errors are its own once it has fired.
  void set_failing(bool failing) { failing_ = failing; }
  // A write was done by half: no changed page in the file need be whole.
  void Tear();
  // Puts every pin, so that the pool can be closed or examined.
  std::string UnpinAll(PoolCore& pool);
  // The pool was closed, and this is the file now; what was dirty may be lost. "" where the file may
  // be so. Precondition: no pins.
  std::string Closed(std::span<const Values> file);
  // The same after a loss of power. What was synced is there, or something later. The model is of no
  // use any more.
  std::string LostPower(std::span<const Values> file) const;

  unsigned pins(PageNumber page) const;
  PageNumber page_count() const { return page_count_; }

 private:
  using Access = mpool::internal::Access;

  struct Hold {
    Access access;
    mpool::internal::Pinned pinned;
    bool scribbled = false;  // it has to be put dirty
  };
  struct Page {
    std::optional<uint8_t> value;  // what a get gives; nullopt: what is in the file
    Values in_file;                // what the file may hold
    Values durable;                // what a loss of power may leave: all since the last sync
    bool changed = false;          // since the last sync, and not deleted
    bool torn = false;             // the file may hold several of the values
    std::vector<Hold> holds;
  };

  Page& At(PageNumber page);
  Access Shared() const { return accesses_ ? Access::kShared : Access::kPinned; }
  Access Exclusive() const { return accesses_ ? Access::kExclusive : Access::kPinned; }
  // Whether an error is of the plan's making.
  bool IsExcused(os::Errno error) const;
  // With a pin, which the page then holds last, unless it was refused as it had to be.
  std::string Get(PoolCore& pool, PageNumber page, Access access);
  std::string See(Page& model, PageNumber page, std::span<const std::byte> bytes);
  std::string Put(PoolCore& pool, PageNumber page);
  void Write(PoolCore& pool, Page& model, uint8_t value);
  std::string Scribble(PoolCore& pool, PageNumber page, uint8_t value);
  std::string Change(PoolCore& pool, PageNumber page, uint8_t value);
  std::string Delete(PoolCore& pool, PageNumber page);
  std::string New(PoolCore& pool, const PoolOperation& operation);
  std::string Sync(PoolCore& pool);
  std::string Check(PoolCore& pool) const;

  const uint8_t hole_;
  const bool zero_past_end_;
  const bool accesses_;
  const os::testing::FaultPlan& plan_;
  bool failing_ = false;
  bool tears_ = false;  // a write was once done by half
  std::map<PageNumber, Page> pages_;
  PageNumber page_count_;     // with zero_past_end, there may be more
  PageNumber in_file_;        // the file has these for certain
  PageNumber durable_pages_;  // and these after a loss of power
  uint64_t puts_ = 0;
};

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_POOL_MODEL_H_
