// What `mpool check` has seen of a file, and what that means for a pool over it.

#ifndef CLI_CHECK_REPORT_H_
#define CLI_CHECK_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/page_scan.h"
#include "cli/shared_pools.h"
#include "os/errno.h"
#include "os/file_layout.h"

namespace cli {

struct CheckReport {
  static constexpr uint64_t kPagesMax = 0xffff'ffff;  // that a pool can number

  std::string path;
  uint64_t page_bytes = 0;
  uint64_t mmu_page_bytes = 4096;
  bool regular = true;    // if not, nothing below is known
  os::Errno write_error;  // why it may not be opened for writing
  os::FileLayout layout;
  std::vector<BadPages> bad_pages;  // none are looked for where there are more than kPagesMax
  uint64_t hole_bytes = 0;          // without a block
  uint64_t hole_pages = 0;          // that lie in holes, partly at least
  std::vector<SharedPool> pools;    // live ones over this file
  os::Errno list_error;             // why there may be others

  uint64_t pages() const { return layout.bytes / page_bytes; }
  uint64_t tail_bytes() const { return layout.bytes % page_bytes; }
};

// Something to say about the file. A finding is wrong, or soon will be; a note is good to know; a
// detail is for who asks for more.
struct Remark {
  enum class Kind { kFinding, kNote, kDetail } kind;
  std::string code;  // one of those in cli/schema/mpool.check.1.json
  std::string text;
};
std::vector<Remark> RemarksOf(const CheckReport& report);

// A line on the file, a line for each remark, and one on the whole. Quiet: the findings alone.
std::string TextOf(const CheckReport& report, const OutputOptions& options);
// {"schema": "mpool.check/1", ...}
std::string JsonOf(const CheckReport& report);
bool HasFinding(const CheckReport& report);

}  // namespace cli

#endif  // CLI_CHECK_REPORT_H_
