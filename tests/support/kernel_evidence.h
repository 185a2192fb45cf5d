// KernelEvidence: what the kernel itself says is locked.
//
// Taken before and after a call, it shows what the call did, whatever the library believes: VmLck
// for the amount, the `lo` flag of /proc/self/smaps for the places.

#ifndef TESTS_SUPPORT_KERNEL_EVIDENCE_H_
#define TESTS_SUPPORT_KERNEL_EVIDENCE_H_

#include <cstdint>
#include <ostream>
#include <vector>

#include "os/page_range.h"

namespace test_support {

// A snapshot of one process. Compares and prints.
struct KernelEvidence {
  uint64_t locked_bytes = 0;  // VmLck: of the whole process
  std::vector<os::PageRange>
      locked;  // flagged `lo`, within the range asked about; neighbours joined

  // Enters the kernel; aborts where /proc cannot be read.
  static KernelEvidence Of(os::PageRange range);
  // The same, without the list of all mappings, which is long under the sanitizers: asks page by
  // page by a madvise(2) that the kernel refuses on locked pages.
  static KernelEvidence Probe(os::PageRange range);

  bool IsLocked(os::PageNumber page) const;
  // Whether exactly these pages of the range are flagged.
  bool Locks(os::PageRange pages) const;

  friend bool operator==(const KernelEvidence&, const KernelEvidence&) = default;
  friend std::ostream& operator<<(std::ostream& out, const KernelEvidence& evidence);
};

// VmLck in bytes.
uint64_t LockedBytes();
// VmRSS in bytes.
uint64_t ResidentBytes();

// Whether every page of the range is in the page tables now.
bool AllResident(os::PageRange range);

// Whether anonymous memory that is only read is the one zero page of the machine. Some virtual
// machines have none: each page is of its own from the first read on.
bool HasZeroPage();

}  // namespace test_support

#endif  // TESTS_SUPPORT_KERNEL_EVIDENCE_H_
