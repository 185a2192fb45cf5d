#include "cli/check.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/check_report.h"
#include "cli/exit_code.h"
#include "cli/page_scan.h"
#include "cli/size_text.h"
#include "mpool/internal/shared_region.h"
#include "os/descriptor.h"
#include "os/file.h"
#include "os/file_layout.h"
#include "os/memory.h"
#include "os/terminal.h"

namespace cli {
namespace {

using mpool::internal::SharedRegion;
using std::chrono::steady_clock;

// "45 %" in the last line of a terminal, five times a second.
class Progress {
 public:
  explicit Progress(bool wanted) : wanted_(wanted && os::IsTerminal(os::kStandardError)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }

  void Tell(uint64_t done, uint64_t all) {
    const auto now = steady_clock::now();
    if (!wanted_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    shown_ = true;
    absl::FPrintF(stderr, "\rmpool check: %3.0f %%",
                  100.0 * static_cast<double>(done) / static_cast<double>(all));
  }

 private:
  const bool wanted_;
  bool shown_ = false;
  steady_clock::time_point next_ = steady_clock::now() + std::chrono::milliseconds(200);
};

int FailToLook(const std::string& path, const char* what, os::Errno error) {
  const int code = error == os::Errno(ENOENT) || error == os::Errno(ENOTDIR) ? kNotFound
                   : error == os::Errno(EACCES) || error == os::Errno(EPERM) ? kNoPermission
                                                                             : kFailure;
  return Fail(
      "check", code,
      absl::StrCat(Printable(path), " cannot be ", what, ": ", std::strerror(error.code())));
}

// Holes in the part of the file that is pages. Two of them may lie in the same page.
os::Errno LookForHoles(int file, CheckReport& report) {
  const uint64_t end = report.pages() * report.page_bytes;
  uint64_t next_page = 0;  // that is not counted yet
  for (uint64_t offset = 0; offset < end;) {
    const os::Result<std::optional<os::Hole>> hole = os::NextHole(file, offset);
    if (!hole.ok()) return hole.error();
    if (!*hole || (*hole)->offset >= end) break;
    offset = std::min((*hole)->offset + (*hole)->bytes, end);
    if ((*hole)->bytes == 0) continue;  // somebody has just filled it
    report.hole_bytes += offset - (*hole)->offset;
    const uint64_t first = std::max((*hole)->offset / report.page_bytes, next_page);
    next_page = (offset - 1) / report.page_bytes + 1;
    report.hole_pages += next_page - std::min(first, next_page);
  }
  return os::kSuccess;
}

void LookForPools(CheckReport& report) {
  const auto pools = SharedRegion::List();
  report.list_error = pools.error();
  if (!pools.ok()) return;
  for (const SharedPool& pool : *pools) {
    if (pool.valid && pool.participants > 0 && pool.file_device == report.layout.device &&
        pool.file_inode == report.layout.inode) {
      report.pools.push_back(pool);
    }
  }
}

int LookAt(CheckReport& report, const OutputOptions& options) {
  const os::Result<os::OwnedDescriptor> file = os::OpenForLooking(report.path);
  if (!file.ok()) return FailToLook(report.path, "opened", file.error());
  const os::Result<os::DescriptorTraits> traits = os::TraitsOf(file->get());
  if (!traits.ok()) return FailToLook(report.path, "looked at", traits.error());
  report.regular = traits->regular_file;
  if (!report.regular) return 0;
  os::Result<os::FileLayout> layout = os::LayoutOf(file->get());
  if (!layout.ok()) return FailToLook(report.path, "looked at", layout.error());
  report.layout = *layout;
  report.write_error = os::CheckWritable(report.path);
  report.mmu_page_bytes = os::RealMemory().page_size();
  LookForPools(report);
  if (const os::Errno error = LookForHoles(file->get(), report); !error.ok()) {
    return FailToLook(report.path, "searched for holes", error);
  }
  const std::unique_ptr<os::File> pages = os::BorrowFile(file->get());
  if (pages == nullptr) return Fail("check", kFailure, "out of memory");
  if (report.pages() > CheckReport::kPagesMax) return 0;
  Progress progress(options.verbosity >= 0);
  report.bad_pages = ScanPages(*pages, static_cast<uint32_t>(report.page_bytes), report.pages(),
                               [&](uint64_t done) { progress.Tell(done, report.pages()); });
  return 0;
}

}  // namespace

int CheckFile(const std::string& path, const std::string& page_size, const OutputOptions& options) {
  const std::optional<uint64_t> bytes = ParseSize(page_size);
  if (!bytes || *bytes == 0 || *bytes > std::numeric_limits<uint32_t>::max()) {
    return Fail("check", kUsageError,
                absl::StrCat("--pagesize: '", Printable(page_size),
                             "' is no size of a page; give one such as 4096 or 8K, below 4 GiB"));
  }
  CheckReport report;
  report.path = path;
  report.page_bytes = *bytes;
  if (const int failed = LookAt(report, options); failed != 0) return failed;
  const std::string text = options.json ? JsonOf(report) : TextOf(report, options);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return HasFinding(report) ? kFailure : 0;
}

Command AddCheck(CLI::App& app) {
  struct Options {
    std::string path;
    std::string page_size;
    OutputOptions output;
  };
  CLI::App* check = app.add_subcommand("check", "Check whether a file can serve a pool");
  auto options = std::make_shared<Options>();
  check->add_option("--pagesize", options->page_size, "The size of a page of the pool")
      ->type_name("SIZE")
      ->required();
  AddJsonOption(*check, options->output);
  AddVerbosityOptions(*check, options->output);
  check->add_option("FILE", options->path, "The file")->required();
  return {check,
          [options] { return CheckFile(options->path, options->page_size, options->output); }};
}

}  // namespace cli
