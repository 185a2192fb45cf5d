#include "cli/bench/run.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/area.h"
#include "cli/bench/environment.h"
#include "cli/bench/pressure.h"
#include "cli/output.h"
#include "cli/size_text.h"
#include "cli/temporary_file.h"
#include "os/file.h"
#include "os/file_layout.h"
#include "os/headroom.h"
#include "os/limits.h"
#include "os/lock_all.h"
#include "os/memory.h"
#include "os/page_cache.h"
#include "os/private_cgroup.h"

namespace cli::bench {
namespace {

// A turn of one mode. In a long run turns are longer: what is remembered of each is bounded.
constexpr std::chrono::nanoseconds kSliceMin = std::chrono::milliseconds(5);
constexpr int kSlicesMax = 40'000;
// Under a low lock limit. It may be 64 KiB.
constexpr uint32_t kPagesMin = 2;
// What the bench itself allocates, all turns included.
constexpr size_t kOwnHeapBytes = size_t{4} << 20;

using Areas = std::vector<std::unique_ptr<Area>>;

// One run. What it has made goes in the reverse order: the areas, the pressure, the cgroup.
class Run {
 public:
  Run(const BenchOptions& options, const Listener& listener)
      : options_(options), listener_(listener) {}

  absl::StatusOr<BenchResult> Do();

 private:
  absl::Status EnterCgroup();
  absl::Status OpenFile();
  absl::Status MakePlanOfAll();
  absl::Status FillTemporaryFile();
  absl::Status StartPressureProcess();
  absl::Status MakeAreas();
  // As many of the pages as the lock limit seems to allow.
  uint32_t FitToLockLimit(uint32_t pages) const;
  BenchResult Describe(Measurement measured);
  void AddFindings(BenchResult& result);
  std::chrono::nanoseconds slice() const {
    return std::max(kSliceMin, options_.length / kSlicesMax);
  }
  void Note(std::string text) {
    if (listener_.note) listener_.note(text);
    notes_.push_back(std::move(text));
  }
  // Whether nobody has interrupted it so far.
  bool GoesOn() const { return !listener_.go_on || listener_.go_on({}, {}); }
  static absl::Status Interrupted() {
    return absl::CancelledError("interrupted before anything was measured");
  }
  bool Wants(Mode mode) const { return std::ranges::count(options_.modes, mode) > 0; }

  const BenchOptions& options_;
  const Listener& listener_;
  std::vector<std::string> notes_;
  Circumstances now_;
  Plan plan_;
  std::optional<os::PrivateCgroup> cgroup_;
  os::OwnedDescriptor file_;
  std::optional<os::CompanionProcess> pressure_;
  uint32_t pages_ = 0;
  Areas areas_;
};

absl::Status Run::EnterCgroup() {
  now_.headroom = os::ReadHeadroom();
  if (!options_.cgroup_bytes) return absl::OkStatus();
  os::Result<os::PrivateCgroup> made = os::PrivateCgroup::Create(*options_.cgroup_bytes);
  os::Errno error = made.error();
  if (made.ok()) {
    cgroup_.emplace(*std::move(made));
    error = cgroup_->Enter();
  }
  if (error.ok()) return absl::OkStatus();
  if (error == os::Errno(ENOENT)) {
    return absl::PermissionDeniedError(
        "--cgroup: no memory cgroups are mounted here; leave it out");
  }
  return absl::PermissionDeniedError(
      absl::StrCat("--cgroup: a memory cgroup cannot be made (", error.Name(),
                   "); run it as root, outside of containers, or leave it out"));
}

absl::Status Run::OpenFile() {
  if (options_.file.empty()) {
    absl::StatusOr<os::OwnedDescriptor> made = CreateTemporaryFile();
    if (!made.ok()) return made.status();
    file_ = *std::move(made);
    now_.file_bytes = ~uint64_t{0};
    return absl::OkStatus();
  }
  // It may be a FIFO, which nobody writes.
  os::Result<os::OwnedDescriptor> opened = os::OpenForLooking(options_.file);
  const std::string name = Printable(options_.file);
  if (!opened.ok()) {
    return absl::ErrnoToStatus(opened.error().code(), absl::StrCat("cannot open ", name));
  }
  file_ = *std::move(opened);
  const os::Result<os::DescriptorTraits> traits = os::TraitsOf(file_.get());
  if (!traits.ok() || !traits->regular_file) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is not a regular file; name one that is"));
  }
  const os::Result<uint64_t> bytes = os::BorrowFile(file_.get())->Size();
  now_.file_bytes = bytes.ok() ? *bytes : 0;
  if (now_.file_bytes < kWorkingSetBytesMin) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", now_.file_bytes,
                     " bytes, and the bench needs a file of at least ", kWorkingSetBytesMin));
  }
  return absl::OkStatus();
}

absl::Status Run::MakePlanOfAll() {
  now_.pressure_bytes = options_.pressure_bytes;
  now_.cgroup_bytes = options_.cgroup_bytes;
  now_.size_bytes = options_.size_bytes;
  now_.swap_free_bytes = ReadEnvironment().swap_free_bytes;
  now_.anonymous_goes_out = AnonymousMemoryGoesOut();
  absl::StatusOr<Plan> plan = MakePlan(now_);
  if (!plan.ok()) return plan.status();
  plan_ = *std::move(plan);
  if (options_.adversary != Adversary::kPressure) plan_.notes.clear();
  for (const std::string& note : plan_.notes) Note(note);
  if (options_.adversary == Adversary::kPageOut && !now_.anonymous_goes_out &&
      Wants(Mode::kMalloc)) {
    Note(
        "No swap serves this process: anonymous memory cannot be paged out, so malloc stays "
        "resident too. For a comparison under pressure, as root and with swap: mpool bench "
        "--cgroup 64M");
  }
  const auto planned = static_cast<uint32_t>(plan_.working_set_bytes / kPageBytes);
  pages_ = FitToLockLimit(planned);
  return absl::OkStatus();
}

uint32_t Run::FitToLockLimit(uint32_t pages) const {
  // The pool has tables besides its pages.
  const auto needed = [&] {
    const uint64_t pool = Wants(Mode::kPool) ? pages + pages / 32 + 8 : 0;
    const uint64_t locked = (pool + (Wants(Mode::kMlock) ? pages : 0)) * kPageBytes;
    return os::PageCount(locked / os::RealMemory().page_size());
  };
  while (pages > kPagesMin && !os::RealMemory().CheckLockLimit(needed()).ok()) {
    pages = std::max(kPagesMin, pages - pages / 16 - 1);
  }
  return pages;
}

// Random bytes, so that nobody compresses or shares them.
absl::Status Run::FillTemporaryFile() {
  std::mt19937_64 random(1);
  std::vector<uint64_t> words(kPageBytes / sizeof(uint64_t) * 16);
  const std::unique_ptr<os::File> file = os::BorrowFile(file_.get());
  const uint64_t bytes = uint64_t{pages_} * kPageBytes;
  for (uint64_t offset = 0; offset < bytes;) {
    if (!GoesOn()) return Interrupted();
    std::ranges::generate(words, std::ref(random));
    const std::span<const std::byte> part =
        std::as_bytes(std::span(words)).first(std::min<uint64_t>(words.size() * 8, bytes - offset));
    if (const os::Errno error = file->WriteAt({&part, 1}, offset); !error.ok()) {
      return absl::ErrnoToStatus(
          error.code(), absl::StrCat("cannot write a temporary file of ", SizeText(bytes),
                                     "; set TMPDIR to a directory with more space, or use --size"));
    }
    offset += part.size();
  }
  const os::Errno synced = file->Sync();
  if (!synced.ok()) return absl::ErrnoToStatus(synced.code(), "cannot write a temporary file");
  return absl::OkStatus();
}

absl::Status Run::StartPressureProcess() {
  if (options_.adversary != Adversary::kPressure) return absl::OkStatus();
  absl::StatusOr<os::CompanionProcess> child = StartPressure(plan_);
  if (!child.ok()) return child.status();
  pressure_.emplace(*std::move(child));
  // Faults of the bench itself would pass for those of the pages. The lock limit of others is
  // needed for the pages.
  if (os::RealLimits().Privileged() && !os::LockAllPresentMappings(kOwnHeapBytes).ok()) {
    Note("The bench's own memory could not be locked: faults of its own may be counted too.");
  }
  return absl::OkStatus();
}

absl::Status Run::MakeAreas() {
  const auto planned = static_cast<uint32_t>(plan_.working_set_bytes / kPageBytes);
  for (;; pages_ = std::max(kPagesMin, pages_ / 4 * 3)) {
    absl::Status status;
    for (const Mode mode : options_.modes) {
      absl::StatusOr<std::unique_ptr<Area>> area = MakeArea(mode, file_.get(), pages_);
      status = area.status();
      if (!status.ok()) break;
      areas_.push_back(*std::move(area));
    }
    if (status.ok()) break;
    areas_.clear();
    // Of what may be the lock limit alone: with fewer pages it may go. Not an unreadable page.
    const bool may_be_limit = absl::IsResourceExhausted(status) ||
                              absl::IsPermissionDenied(status) || absl::IsUnavailable(status);
    if (!may_be_limit) return status;
    if (!GoesOn()) return Interrupted();
    if (pages_ <= kPagesMin) {
      return absl::ResourceExhaustedError(absl::StrCat(
          status.message(), options_.modes.size() > 1
                                ? "; or measure without locked memory: --modes malloc,mmap"
                                : ""));
    }
  }
  if (pages_ < planned) {
    const os::ByteLimit limit = os::MemlockLimit();
    Note(absl::StrCat("The lock limit of ", limit.soft ? SizeText(*limit.soft) : "this machine",
                      " allows a working set of ", SizeText(uint64_t{pages_} * kPageBytes),
                      ", not ", SizeText(uint64_t{planned} * kPageBytes), "."));
  }
  return absl::OkStatus();
}

// What the areas have shown, which the user should know.
void Run::AddFindings(BenchResult& result) {
  if (pressure_ && !pressure_->IsRunning()) {
    result.pressure_died = true;
    Note(pressure_->was_killed()
             ? "The pressure process was killed, by the kernel for want of memory or by somebody "
               "else. If nobody else did, lower --pressure."
             : "The pressure process has ended early: it got no memory. Lower --pressure.");
  }
  if (options_.adversary != Adversary::kPageOut) return;
  for (const ModeResult& mode : result.modes) {
    if (mode.mode == Mode::kMmap && mode.page_outs_done > 0 && mode.faults.total() == 0) {
      Note(
          "MADV_PAGEOUT took no page of the mapping away: the file lives in memory, or is another "
          "user's, whose pages the kernel does not page out for you.");
    }
  }
}

BenchResult Run::Describe(Measurement measured) {
  BenchResult result;
  result.environment = ReadEnvironment();
  result.command = options_.command;
  result.file = options_.file;
  result.adversary = options_.adversary;
  result.pages = pages_;
  result.page_bytes = kPageBytes;
  if (pressure_) result.pressure_bytes = std::max(plan_.anonymous_bytes, plan_.page_cache_bytes);
  result.private_cgroup = cgroup_.has_value();
  result.interrupted = measured.ended_early;
  result.duration_ns = static_cast<uint64_t>(measured.length.count());
  result.slice_ns = static_cast<uint64_t>(slice().count());
  result.outlier_ns = MeasureOptions().outlier_ns;
  result.clock_ns = ClockNs();
  result.modes = std::move(measured.modes);
  AddFindings(result);
  result.notes = notes_;
  return result;
}

absl::StatusOr<BenchResult> Run::Do() {
  for (const auto step : {&Run::EnterCgroup, &Run::OpenFile, &Run::MakePlanOfAll}) {
    if (absl::Status status = (this->*step)(); !status.ok()) return status;
    if (!GoesOn()) return Interrupted();
  }
  if (options_.file.empty()) {
    if (absl::Status status = FillTemporaryFile(); !status.ok()) return status;
  }
  // Who reads it from now on is charged for it: this cgroup.
  (void)os::DropPageCache(file_.get(), uint64_t{pages_} * kPageBytes);
  for (const auto step : {&Run::StartPressureProcess, &Run::MakeAreas}) {
    if (absl::Status status = (this->*step)(); !status.ok()) return status;
  }
  absl::StatusOr<Measurement> measured =
      Measure(areas_,
              {.length = options_.length,
               .slice = slice(),
               .page_out = options_.adversary == Adversary::kPageOut,
               .go_on = listener_.go_on},
              [this] {
                if (pressure_) pressure_->Begin();
              });
  if (!measured.ok()) return measured.status();
  return Describe(*std::move(measured));
}

}  // namespace

absl::StatusOr<BenchResult> RunBench(const BenchOptions& options, const Listener& listener) {
  return Run(options, listener).Do();
}

}  // namespace cli::bench
