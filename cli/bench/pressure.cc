#include "cli/bench/pressure.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/area.h"
#include "cli/size_text.h"
#include "cli/temporary_file.h"
#include "os/fault_count.h"
#include "os/file.h"
#include "os/memory.h"

namespace cli::bench {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// A working set of more tells nothing more.
constexpr uint64_t kWorkingSetMax = 16 * kMiB;
// Stays free for everybody else on the machine.
constexpr uint64_t kMachineMargin = 64 * kMiB;
// The bench's own memory in its cgroup, and what the kernel charges in advance.
constexpr uint64_t kOwnBytes = 8 * kMiB;

uint64_t Subtract(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

std::string BoundText(const os::Headroom& headroom) {
  return headroom.group[0] == '\0' ? "on this machine"
                                   : absl::StrCat("in the memory cgroup ", headroom.group.data());
}

// Pressure within a cgroup of its own, whose limit nobody else feels.
absl::Status PlanInCgroup(const Circumstances& now, Plan& plan) {
  const uint64_t limit = *now.cgroup_bytes;
  if (limit > Subtract(now.headroom.bytes, kMachineMargin)) {
    return absl::FailedPreconditionError(
        absl::StrCat("a cgroup of ", SizeText(limit), " does not fit: there is room for ",
                     SizeText(Subtract(now.headroom.bytes, kMachineMargin)), " ",
                     BoundText(now.headroom), "; lower --cgroup"));
  }
  const uint64_t wanted = now.pressure_bytes.value_or(limit);
  // All that cannot be dropped must fit into memory and swap: three copies, and the pressure.
  const uint64_t memory = Subtract(limit, 3 * plan.working_set_bytes + kOwnBytes);
  plan.page_cache_bytes = wanted;
  if (!now.anonymous_goes_out) {
    plan.anonymous_bytes = std::min(wanted, memory / 2);
    plan.notes.push_back(absl::StrCat(
        "No swap serves this cgroup: anonymous memory cannot be paged out, so malloc stays "
        "resident too. ",
        SizeText(plan.anonymous_bytes),
        " of the pressure are anonymous, the rest is page cache. For a comparison add swap "
        "(mkswap, swapon)."));
    return absl::OkStatus();
  }
  const uint64_t room = memory + now.swap_free_bytes / 4 * 3;
  if (now.pressure_bytes && wanted > room) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a pressure of ", SizeText(wanted), " could wake the OOM killer: the cgroup of ",
        SizeText(limit), " with ", SizeText(now.swap_free_bytes), " of free swap has room for ",
        SizeText(room), "; lower --pressure, raise --cgroup or add swap"));
  }
  plan.anonymous_bytes = std::min(wanted, room);
  return absl::OkStatus();
}

// Pressure on the machine, or on the cgroup that the user is in.
absl::Status PlanOutside(const Circumstances& now, Plan& plan) {
  const uint64_t wanted = *now.pressure_bytes;
  const uint64_t room = Subtract(now.headroom.bytes, 3 * plan.working_set_bytes + kMachineMargin);
  if (wanted > room) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a pressure of ", SizeText(wanted), " could wake the OOM killer: there is room for ",
        SizeText(room), " ", BoundText(now.headroom),
        "; lower --pressure, or let root give the bench a cgroup of its own (--cgroup 64M)"));
  }
  plan.anonymous_bytes = plan.page_cache_bytes = wanted;
  plan.notes.push_back(
      "The pressure stays below what would make the kernel page anonymous memory out. For that, "
      "let root give the bench a cgroup of its own (--cgroup 64M).");
  return absl::OkStatus();
}

// The body of the pressure process: in turn, some pages of its own and a piece of the file.
void PressForEver(const Plan& plan, int file) {
  constexpr size_t kPiece = kMiB;
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  const os::Result<os::PageRange> range =
      memory.Map(os::PageCount(plan.anonymous_bytes / page_size + 1),
                 os::Memory::Access::kReadWrite, os::Memory::Fork::kInherit);
  if (!range.ok()) return;
  (void)memory.AdviseHugePages(*range, os::Memory::HugePages::kForbid);
  const std::span pages(static_cast<volatile uint64_t*>(range->address(page_size)),
                        range->bytes(page_size) / sizeof(uint64_t));
  const std::unique_ptr<os::File> cache = os::BorrowFile(file);
  std::vector<std::byte> buffer(kPiece / 4);
  uint64_t offset = 0;
  for (uint64_t pass = 1;; ++pass) {
    const os::FaultCount before = os::FaultCount::OfThisThread();
    for (size_t at = 0; at < pages.size(); at += page_size / sizeof(uint64_t)) {
      pages[at] = pass * pages.size() + at;
      if (at % (kPiece / sizeof(uint64_t)) != 0 || plan.page_cache_bytes == 0) continue;
      (void)cache->ReadAt(buffer, offset);
      offset = (offset + buffer.size()) % plan.page_cache_bytes;
    }
    // Where nothing was taken away it would only take the CPU away.
    if ((os::FaultCount::OfThisThread() - before).major == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const Circumstances& now) {
  Plan plan;
  plan.working_set_bytes = std::min(now.size_bytes.value_or(kWorkingSetMax), now.file_bytes);
  if (now.cgroup_bytes) {
    // Two locked copies are a quarter of the memory then.
    const uint64_t most = *now.cgroup_bytes / 8;
    if (now.size_bytes && plan.working_set_bytes > most) {
      return absl::FailedPreconditionError(absl::StrCat(
          "a working set of ", SizeText(plan.working_set_bytes),
          ", locked twice, leaves too little ", "of a cgroup of ", SizeText(*now.cgroup_bytes),
          "; it may be ", SizeText(most), ": lower --size or raise --cgroup"));
    }
    plan.working_set_bytes = std::min(plan.working_set_bytes, most);
  }
  plan.working_set_bytes -= plan.working_set_bytes % kPageBytes;
  if (plan.working_set_bytes > Subtract(now.headroom.bytes, kMachineMargin) / 3) {
    return absl::FailedPreconditionError(absl::StrCat(
        "three copies of ", SizeText(plan.working_set_bytes), " do not fit: there is room for ",
        SizeText(Subtract(now.headroom.bytes, kMachineMargin)), " ", BoundText(now.headroom),
        "; lower --size"));
  }
  absl::Status planned;
  if (now.cgroup_bytes) {
    planned = PlanInCgroup(now, plan);
  } else if (now.pressure_bytes) {
    planned = PlanOutside(now, plan);
  }
  if (!planned.ok()) return planned;
  return plan;
}

bool AnonymousMemoryGoesOut() {
  constexpr uint64_t kPages = 64;
  os::Memory& memory = os::RealMemory();
  const os::Result<os::PageRange> pages =
      memory.Map(os::PageCount(kPages), os::Memory::Access::kReadWrite, os::Memory::Fork::kInherit);
  if (!pages.ok()) return false;
  const size_t page_size = memory.page_size();
  auto* bytes = static_cast<volatile std::byte*>(pages->address(page_size));
  for (size_t page = 0; page < kPages; ++page) bytes[page * page_size] = std::byte{1};
  const os::Errno error = memory.PageOut(*pages);
  const os::Result<os::PageCount> present = memory.CountPresent(*pages);
  (void)memory.Unmap(*pages);
  return error.ok() && present.ok() && *present < os::PageCount(kPages);
}

absl::StatusOr<os::CompanionProcess> StartPressure(const Plan& plan) {
  absl::StatusOr<os::OwnedDescriptor> file = CreateTemporaryFile();
  if (!file.ok()) return file.status();
  // A file with a hole in it needs no disk, and fills the page cache all the same.
  const std::byte last{};
  const std::span<const std::byte> part(&last, 1);
  if (plan.page_cache_bytes > 0) {
    const os::Errno error =
        os::BorrowFile(file->get())->WriteAt({&part, 1}, plan.page_cache_bytes - 1);
    if (!error.ok()) return absl::ErrnoToStatus(error.code(), "cannot make a temporary file");
  }
  const int descriptor = file->get();
  os::Result<os::CompanionProcess> child =
      os::CompanionProcess::Start([&plan, descriptor] { PressForEver(plan, descriptor); });
  if (!child.ok()) {
    return absl::ErrnoToStatus(child.error().code(), "cannot make the process for the pressure");
  }
  return *std::move(child);
}

}  // namespace cli::bench
