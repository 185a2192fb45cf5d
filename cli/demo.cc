#include "cli/demo.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/demo_file.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/output.h"
#include "cli/page_out.h"
#include "cli/size_text.h"
#include "cli/touch.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/mpin.h"

namespace cli {
namespace {

// In perl-base, an essential package.
constexpr char kDefaultPath[] = "/usr/bin/perl";
constexpr uint32_t kPagesMin = 8;
// Every so many-th page is changed.
constexpr uint32_t kChangeStride = 10;

// What the demo has to say: as text while it goes on, or as one object at the end.
class Account {
 public:
  explicit Account(bool json) : json_(json) {}

  // A line of the text.
  template <typename... Args>
  void Say(const absl::FormatSpec<Args...>& format, const Args&... args) const {
    if (!json_) absl::PrintF(format, args...);
  }
  // A line whose end says whether its claim holds. `id` names it in JSON.
  void Check(const char* id, const std::string& line, bool holds) {
    Say("     %-67s %s\n", line, holds ? "ok" : "FAILED");
    all_hold_ = all_hold_ && holds;
    claims_.push_back({{"id", id}, {"text", line}, {"holds", holds}});
  }
  // A row of the table of touches.
  void AddTouches(const char* name, uint64_t pages, const char* answer, uint64_t present,
                  const TouchResult& touches) {
    Say("     %-15s %8d %9s %8d %8d %10.0f %10.0f\n", name, pages, answer, present, touches.faults,
        touches.median_ns, touches.p999_ns);
    touches_.push_back({{"memory", name},
                        {"pages", pages},
                        {"pageout_answer", answer},
                        {"pages_present", present},
                        {"faults", touches.faults},
                        {"median_ns", touches.median_ns},
                        {"p999_ns", touches.p999_ns}});
  }
  bool all_hold() const { return all_hold_; }

  // At the end: the verdict.
  void Conclude(const std::string& file, uint64_t bytes) const {
    Say("\n%s\n", all_hold_ ? "Every claim holds." : "NOT every claim holds.");
    if (!json_) return;
    const std::string text = JsonText({{"schema", "mpool.demo/1"},
                                       {"file", TextOrNull(file)},
                                       {"file_bytes", bytes},
                                       {"claims", claims_},
                                       {"touches", touches_},
                                       {"all_hold", all_hold_}});
    std::fwrite(text.data(), 1, text.size(), stdout);
  }

 private:
  const bool json_;
  bool all_hold_ = true;
  Json claims_ = Json::array();
  Json touches_ = Json::array();
};

// The last part of a long path, so that a line fits.
std::string Shortened(const std::string& path) {
  constexpr size_t kMost = 55;
  return path.size() <= kMost ? path : absl::StrCat("...", path.substr(path.size() - kMost + 3));
}

bool IsChanged(mpool::PageNumber page) { return page % kChangeStride == 0; }

class Demo {
 public:
  Demo(DemoFile file, Account& account) : file_(std::move(file)), account_(account) {}

  absl::Status Run();

 private:
  absl::StatusOr<std::unique_ptr<mpool::PagePool>> OpenPool() const {
    return mpool::PagePool::Open(file_.descriptor.get(),
                                 {.page_size = kPageBytes, .pages_max = file_.pages() / 4});
  }
  absl::Status ReadThroughPool();
  absl::Status ChangePages();
  absl::Status CompareLocks();
  absl::Status PageOut();
  // Each prints its row of the table and returns whether its claim holds.
  absl::StatusOr<bool> PageOutMapping();
  absl::StatusOr<bool> PageOutPool();
  // Whether each page has the checksum that it should have, read through the pool.
  absl::StatusOr<uint64_t> CountRightPages(mpool::PagePool& pool);

  DemoFile file_;
  Account& account_;
};

absl::Status Demo::ReadThroughPool() {
  absl::StatusOr<std::unique_ptr<mpool::PagePool>> pool = OpenPool();
  if (!pool.ok()) return pool.status();
  std::vector<uint64_t> checksums;
  checksums.reserve(file_.pages());
  for (mpool::PageNumber page = 0; page < file_.pages(); ++page) {
    const absl::StatusOr<mpool::PagePin> pin = (*pool)->Get(page);
    if (!pin.ok()) return pin.status();
    checksums.push_back(ChecksumOf(std::span(pin->bytes().data(), pin->bytes().size())));
  }
  const absl::StatusOr<struct mpool_stat> stats = (*pool)->stats();
  if (!stats.ok()) return stats.status();
  const uint64_t plain = ChecksumOf(file_.page_checksums);
  const uint64_t pooled = ChecksumOf(checksums);
  account_.Say("\n  1  Read every page through a pool with a quarter of them as its cache\n");
  account_.Say("     plain read        checksum %016x\n", plain);
  account_.Check("same_checksum", absl::StrFormat("through the pool  checksum %016x", pooled),
                 plain == pooled);
  account_.Check(
      "frames_locked",
      absl::StrFormat("frames locked     %u of %u; pages read %u, evicted %u", stats->frames_locked,
                      stats->frames, stats->page_ins, stats->evictions),
      stats->frames_locked == stats->frames && stats->frames > 0);
  if (stats->frames < file_.pages() / 4) {
    const os::ByteLimit limit = os::MemlockLimit();
    account_.Say("     The lock limit of %s bounds the pool: %u pages were wanted.\n",
                 limit.soft ? SizeText(*limit.soft) : "none", file_.pages() / 4);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Demo::CountRightPages(mpool::PagePool& pool) {
  uint64_t right = 0;
  for (mpool::PageNumber page = 0; page < file_.pages(); ++page) {
    const absl::StatusOr<mpool::PagePin> pin = pool.Get(page);
    if (!pin.ok()) return pin.status();
    const uint64_t checksum = ChecksumOf(std::span(pin->bytes().data(), pin->bytes().size()));
    if (checksum == file_.page_checksums[page]) ++right;
  }
  return right;
}

absl::Status Demo::ChangePages() {
  absl::StatusOr<std::unique_ptr<mpool::PagePool>> pool = OpenPool();
  if (!pool.ok()) return pool.status();
  uint32_t changed = 0;
  uint32_t different = 0;
  for (mpool::PageNumber page = 0; page < file_.pages(); ++page) {
    if (!IsChanged(page)) continue;
    absl::StatusOr<mpool::PagePin> pin = (*pool)->GetForWrite(page);
    if (!pin.ok()) return pin.status();
    for (std::byte& byte : pin->bytes()) byte = ~byte;
    pin->MarkDirty();
    const uint64_t checksum = ChecksumOf(std::span(pin->bytes().data(), pin->bytes().size()));
    if (std::exchange(file_.page_checksums[page], checksum) != checksum) ++different;
    ++changed;
  }
  if (absl::Status status = (*pool)->Sync(); !status.ok()) return status;
  pool->reset();
  account_.Say("\n  2  Change %u pages, sync, close the pool, open it again\n", changed);
  pool = OpenPool();
  if (!pool.ok()) return pool.status();
  const absl::StatusOr<uint64_t> right = CountRightPages(**pool);
  if (!right.ok()) return right.status();
  account_.Check("changes_kept",
                 absl::StrFormat("pages as they should be: %u of %u", *right, file_.pages()),
                 *right == file_.pages() && different == changed);
  return absl::OkStatus();
}

// How many bytes more than before are locked, after `lock` twice and `unlock` once on one page.
template <typename Lock, typename Unlock>
absl::StatusOr<int64_t> LockedAfterOneUnlock(Lock lock, Unlock unlock) {
  const os::Result<uint64_t> before = os::LockedBytes();
  const bool locked_twice = lock() && lock();  // NOLINT(misc-redundant-expression): two locks
  if (!locked_twice || !unlock()) return absl::ErrnoToStatus(errno, "one page cannot be locked");
  const os::Result<uint64_t> after = os::LockedBytes();
  (void)unlock();
  if (!before.ok() || !after.ok()) return absl::InternalError("/proc/self/status cannot be read");
  return static_cast<int64_t>(*after) - static_cast<int64_t>(*before);
}

absl::Status Demo::CompareLocks() {
  os::Memory& memory = os::RealMemory();
  const os::Result<os::PageRange> page =
      memory.Map(os::PageCount(1), os::Memory::Access::kReadWrite, os::Memory::Fork::kInherit);
  if (!page.ok()) return absl::ErrnoToStatus(page.error().code(), "no memory for one page");
  const size_t bytes = memory.page_size();
  void* address = page->address(bytes);
  const absl::StatusOr<int64_t> plain = LockedAfterOneUnlock(
      [&] { return memory.Lock(*page).ok(); }, [&] { return memory.Unlock(*page).ok(); });
  const absl::StatusOr<int64_t> nested = LockedAfterOneUnlock(
      [&] { return mpin(address, bytes) == 0; }, [&] { return munpin(address, bytes) == 0; });
  (void)memory.Unmap(*page);
  if (!plain.ok()) return plain.status();
  if (!nested.ok()) return nested.status();
  account_.Say("\n  3  Two parts of a program lock the same page, and one of them unlocks it\n");
  account_.Check("mlock_does_not_nest",
                 absl::StrFormat(
                     "mlock, mlock, munlock   %4d bytes still locked: it is gone for both", *plain),
                 *plain == 0);
  account_.Check(
      "mpin_nests",
      absl::StrFormat("mpin,  mpin,  munpin    %4d bytes still locked: one pin is left", *nested),
      *nested == static_cast<int64_t>(bytes));
  return absl::OkStatus();
}

// A plain mapping of the file, which the kernel may take away: and does.
absl::StatusOr<bool> Demo::PageOutMapping() {
  const size_t bytes = size_t{file_.pages()} * kPageBytes;
  const os::Result<std::span<const std::byte>> mapping = os::MapFile(file_.descriptor.get(), bytes);
  if (!mapping.ok()) return absl::ErrnoToStatus(mapping.error().code(), "cannot map the file");
  const os::Result<PageOutResult> result = PageOutAndTouch(*mapping);
  os::Memory& memory = os::RealMemory();
  (void)memory.Unmap(*os::PageRange::Covering(reinterpret_cast<uintptr_t>(mapping->data()), bytes,
                                              memory.page_size()));
  if (!result.ok()) {
    return absl::ErrnoToStatus(result.error().code(), "cannot read /proc/self/pagemap");
  }
  const bool done = result->answer.ok();
  account_.AddTouches("plain mapping", file_.pages(), done ? "done" : result->answer.Name().c_str(),
                      result->present, result->touches);
  return done && result->present == 0;
}

absl::StatusOr<bool> Demo::PageOutPool() {
  absl::StatusOr<std::unique_ptr<mpool::PagePool>> pool = OpenPool();
  if (!pool.ok()) return pool.status();
  // Pins as many pages as the pool has frames for: those at the file's end, which were read last.
  if (absl::StatusOr<uint64_t> read = CountRightPages(**pool); !read.ok()) return read.status();
  const absl::StatusOr<struct mpool_stat> stats = (*pool)->stats();
  if (!stats.ok()) return stats.status();
  std::vector<mpool::PagePin> pins;
  std::vector<const std::byte*> addresses;
  const uint32_t frames = std::min(static_cast<uint32_t>(stats->frames), file_.pages());
  for (mpool::PageNumber page = file_.pages() - frames; page < file_.pages(); ++page) {
    absl::StatusOr<mpool::PagePin> pin = (*pool)->Get(page);
    if (!pin.ok()) return pin.status();
    addresses.push_back(pin->bytes().data());
    pins.push_back(*std::move(pin));
  }
  os::Memory& memory = os::RealMemory();
  uint64_t refused = 0;
  uint64_t present = 0;
  for (const std::byte* address : addresses) {
    const os::PageRange page = *os::PageRange::Covering(reinterpret_cast<uintptr_t>(address),
                                                        kPageBytes, memory.page_size());
    if (memory.PageOut(page) == os::Errno(EINVAL)) ++refused;
    const os::Result<os::PageCount> there = memory.CountPresent(page);
    if (there.ok() && *there == page.count()) ++present;
  }
  const TouchResult touches = TouchPages(addresses);
  const bool all_refused = refused == pins.size();
  account_.AddTouches("pool's frames", pins.size(), all_refused ? "EINVAL" : "done", present,
                      touches);
  return all_refused && present == pins.size() && touches.faults == 0;
}

absl::Status Demo::PageOut() {
  account_.Say("\n  4  Tell the kernel to page them out (MADV_PAGEOUT), then touch every page\n");
  account_.Say("     %-15s %8s %9s %8s %8s %10s %10s\n", "", "pages", "answer", "present", "faults",
               "p50 ns", "p99.9 ns");
  const absl::StatusOr<bool> mapping_lost_all = PageOutMapping();
  if (!mapping_lost_all.ok()) return mapping_lost_all.status();
  const absl::StatusOr<bool> pool_kept_all = PageOutPool();
  if (!pool_kept_all.ok()) return pool_kept_all.status();
  account_.Check("mapping_lost", "the plain mapping lost every page", *mapping_lost_all);
  account_.Check("pool_resident", "the pool kept every page, and touching them took no fault",
                 *pool_kept_all);
  return absl::OkStatus();
}

absl::Status Demo::Run() {
  if (absl::Status status = ReadThroughPool(); !status.ok()) return status;
  if (absl::Status status = ChangePages(); !status.ok()) return status;
  if (absl::Status status = CompareLocks(); !status.ok()) return status;
  return PageOut();
}

int Fail(const absl::Status& status) {
  return cli::Fail("demo", kFailure, std::string(status.message()));
}

}  // namespace

int RunDemo(const std::string& path, bool json) {
  const std::string chosen = path.empty() ? kDefaultPath : path;
  absl::StatusOr<DemoFile> file = CopyForDemo(chosen);
  if (!file.ok()) return Fail(file.status());
  if (file->pages() < kPagesMin) {
    return Fail(absl::InvalidArgumentError(
        absl::StrFormat("%s has %d bytes, and the demo needs a file of at least %d", chosen,
                        file->bytes, kPagesMin * kPageBytes)));
  }
  Account account(json);
  account.Say("mpool demo: on a copy of %s\n", Shortened(chosen));
  account.Say("            %s, %d pages of 4 KiB\n", SizeText(file->bytes), file->pages());
  const uint64_t bytes = file->bytes;
  Demo demo(*std::move(file), account);
  if (const absl::Status status = demo.Run(); !status.ok()) return Fail(status);
  account.Conclude(chosen, bytes);
  return account.all_hold() ? 0 : kFailure;
}

Command AddDemo(CLI::App& app) {
  struct Options : OutputOptions {
    std::string path;
  };
  CLI::App* demo = app.add_subcommand("demo", "Show on a copy of a file what the pool does");
  auto options = std::make_shared<Options>();
  demo->add_option("FILE", options->path, "The file; without it, one that every Debian has");
  AddJsonOption(*demo, *options);
  return {demo, [options] { return RunDemo(options->path, options->json); }};
}

}  // namespace cli
