// TableMemory: a Memory of which only Map is real.
//
// FakeMemory's addresses lead nowhere, but a PageLocker keeps its tables in memory that it maps.
// TableMemory gives it real pages for those and passes everything else on to the fake.

#ifndef TESTS_SUPPORT_TABLE_MEMORY_H_
#define TESTS_SUPPORT_TABLE_MEMORY_H_

#include <optional>
#include <vector>

#include "os/memory.h"

namespace test_support {

// The caller keeps `fake` alive. Not thread-safe. Unmaps at its end what it has mapped.
class TableMemory final : public os::Memory {
 public:
  explicit TableMemory(os::Memory& fake) : fake_(fake) {}
  TableMemory(const TableMemory&) = delete;
  TableMemory& operator=(const TableMemory&) = delete;
  ~TableMemory() override {
    for (const os::PageRange& range : tables_) (void)os::RealMemory().Unmap(range);
  }

  size_t page_size() const override { return fake_.page_size(); }
  os::Result<os::PageRange> Map(os::PageCount count, Access access, Fork fork,
                                os::PageCount alignment) override {
    const os::Result<os::PageRange> range = os::RealMemory().Map(count, access, fork, alignment);
    if (range.ok()) tables_.push_back(*range);
    return range;
  }
  os::Errno Commit(os::PageRange pages) override { return fake_.Commit(pages); }
  os::Errno Decommit(os::PageRange pages) override { return fake_.Decommit(pages); }
  os::Errno Unmap(os::PageRange pages) override { return fake_.Unmap(pages); }
  os::Errno Lock(os::PageRange pages) override { return fake_.Lock(pages); }
  os::Errno Unlock(os::PageRange pages) override { return fake_.Unlock(pages); }
  os::Errno CheckLockLimit(os::PageCount more) const override { return fake_.CheckLockLimit(more); }
  os::Errno CheckMapped(os::PageRange pages) const override {
    return holes_come_later_ ? os::kSuccess : fake_.CheckMapped(pages);
  }
  os::Errno Populate(os::PageRange pages) override { return fake_.Populate(pages); }
  os::Errno PageOut(os::PageRange pages) override { return fake_.PageOut(pages); }
  os::Result<os::PageCount> CountPresent(os::PageRange pages) const override {
    return fake_.CountPresent(pages);
  }
  os::Result<std::optional<os::Mapping>> MappingAt(os::PageNumber page) const override {
    return fake_.MappingAt(page);
  }

  // From now on CheckMapped finds no hole, as where another thread unmaps right after it.
  void LetHolesComeLater() { holes_come_later_ = true; }

 private:
  os::Memory& fake_;
  bool holes_come_later_ = false;
  std::vector<os::PageRange> tables_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TABLE_MEMORY_H_
