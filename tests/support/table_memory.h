// TableMemory: a Memory of which only Map is real.
//
// FakeMemory's addresses lead nowhere, but a PageLocker keeps its tables in memory that it maps.
// TableMemory gives it real pages for those and passes everything else on to the fake.

#ifndef TESTS_SUPPORT_TABLE_MEMORY_H_
#define TESTS_SUPPORT_TABLE_MEMORY_H_

#include <vector>

#include "os/forwarding_memory.h"
#include "os/memory.h"

namespace test_support {

// The caller keeps `fake` alive. Not thread-safe. Unmaps at its end what it has mapped.
class TableMemory final : public os::ForwardingMemory {
 public:
  explicit TableMemory(os::Memory& fake) : ForwardingMemory(fake) {}
  TableMemory(const TableMemory&) = delete;
  TableMemory& operator=(const TableMemory&) = delete;
  ~TableMemory() override {
    for (const os::PageRange& range : tables_) (void)os::RealMemory().Unmap(range);
  }

  os::Result<os::PageRange> Map(os::PageCount count, Access access, Fork fork,
                                os::PageCount alignment) override {
    const os::Result<os::PageRange> range = os::RealMemory().Map(count, access, fork, alignment);
    if (range.ok()) tables_.push_back(*range);
    return range;
  }
  os::Errno CheckMapped(os::PageRange pages) const override {
    return holes_come_later_ ? os::kSuccess : memory().CheckMapped(pages);
  }

  // From now on CheckMapped finds no hole, as where another thread unmaps right after it.
  void LetHolesComeLater() { holes_come_later_ = true; }

 private:
  bool holes_come_later_ = false;
  std::vector<os::PageRange> tables_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TABLE_MEMORY_H_
