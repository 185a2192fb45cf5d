#include "cli/doctor_prove.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/doctor_verdict.h"
#include "cli/temporary_file.h"
#include "os/descriptor.h"
#include "os/file.h"
#include "os/memory.h"
#include "pinlock/locked_region.h"

namespace cli {
namespace {

constexpr uint64_t kBytesMax = uint64_t{4} << 20;

absl::Status Error(os::Errno error, const char* what) {
  return absl::ErrnoToStatus(error.code(), what);
}

absl::StatusOr<PageOutResult> PageOut(std::span<const std::byte> bytes) {
  const os::Result<PageOutResult> result = PageOutAndTouch(bytes);
  if (!result.ok()) return Error(result.error(), "cannot read /proc/self/pagemap");
  return *result;
}

void Fill(std::span<std::byte> bytes) { std::memset(bytes.data(), 0x5a, bytes.size()); }

absl::StatusOr<PageOutResult> PageOutLocked(uint64_t bytes) {
  absl::StatusOr<pinlock::LockedRegion> region = pinlock::LockedRegion::Allocate(bytes);
  if (!region.ok()) return region.status();
  Fill({region->bytes().data(), region->bytes().size()});
  return PageOut({region->bytes().data(), region->bytes().size()});
}

absl::StatusOr<PageOutResult> PageOutAnonymous(uint64_t bytes) {
  os::Memory& memory = os::RealMemory();
  const os::PageCount count(bytes / memory.page_size());
  const os::Result<os::PageRange> pages =
      memory.Map(count, os::Memory::Access::kReadWrite, os::Memory::Fork::kInherit);
  if (!pages.ok()) return Error(pages.error(), "no memory for a buffer");
  const std::span<std::byte> buffer(static_cast<std::byte*>(pages->address(memory.page_size())),
                                    bytes);
  Fill(buffer);
  absl::StatusOr<PageOutResult> result = PageOut(buffer);
  (void)memory.Unmap(*pages);
  return result;
}

absl::StatusOr<PageOutResult> PageOutFile(uint64_t bytes) {
  const absl::StatusOr<os::OwnedDescriptor> descriptor = CreateTemporaryFile();
  if (!descriptor.ok()) return descriptor.status();
  const std::unique_ptr<os::File> file = os::BorrowFile(descriptor->get());
  if (file == nullptr) return absl::ResourceExhaustedError("no memory for a file");
  const std::vector<std::byte> content(bytes, std::byte{0x5a});
  const std::span<const std::byte> part(content);
  if (const os::Errno error = file->WriteAt({&part, 1}, 0); !error.ok()) {
    return Error(error, "cannot write a temporary file; set TMPDIR to a directory with more space");
  }
  if (const os::Errno error = file->Sync(); !error.ok()) {
    return Error(error, "cannot synchronise a temporary file");
  }
  const os::Result<std::span<const std::byte>> mapping = os::MapFile(descriptor->get(), bytes);
  if (!mapping.ok()) return Error(mapping.error(), "cannot map a temporary file");
  absl::StatusOr<PageOutResult> result = PageOut(*mapping);
  os::Memory& memory = os::RealMemory();
  (void)memory.Unmap(*os::PageRange::Covering(reinterpret_cast<uintptr_t>(mapping->data()), bytes,
                                              memory.page_size()));
  return result;
}

// Evicted in spite of the lock, or touched with a fault.
bool WasLost(const PageOutResult& result) {
  return result.answer.ok() || result.present < result.pages || result.touches.faults > 0;
}

std::string AnswerText(const PageOutResult& result) {
  return result.answer.ok() ? "success" : result.answer.Name();
}

void AppendRow(std::string& text, const char* name, const PageOutResult& result) {
  absl::StrAppendFormat(&text, "  %-22s %6d %9d %7d %9s %8d %7d\n", name, result.pages,
                        result.present_before, result.faults_before,
                        result.answer.ok() ? "done" : result.answer.Name(), result.present,
                        result.touches.faults);
}

Json ObjectOf(const PageOutResult& result) {
  return {{"pages", result.pages},
          {"present_before", result.present_before},
          {"faults_before", result.faults_before},
          {"answer", result.answer.ok() ? Json() : Json(result.answer.Name())},
          {"present_after", result.present},
          {"faults_after", result.touches.faults}};
}

}  // namespace

absl::StatusOr<Proof> Prove(const DoctorFacts& facts) {
  Proof proof;
  // Both buffers, and what fills the file, are in memory at once.
  proof.bytes = std::min(
      {kBytesMax, BytesNeeded(facts), facts.limits.bytes_lockable(), BytesUsable(facts) / 4});
  proof.bytes -= proof.bytes % facts.page_size;
  if (proof.bytes == 0) {
    return absl::FailedPreconditionError(
        "not one page can be locked here, so there is nothing to prove");
  }
  // Where there is swap it may be forbidden to this cgroup: a file's pages go anyway.
  if (facts.machine.swap_free_bytes.value_or(0) >= 2 * proof.bytes) {
    absl::StatusOr<PageOutResult> anonymous = PageOutAnonymous(proof.bytes);
    if (!anonymous.ok()) return anonymous.status();
    proof.unlocked = *anonymous;
  }
  if (proof.unlocked.pages == 0 || proof.unlocked.present > 0) {
    absl::StatusOr<PageOutResult> file = PageOutFile(proof.bytes);
    if (!file.ok()) return file.status();
    proof.unlocked = *file;
    proof.unlocked_is_file = true;
  }
  absl::StatusOr<PageOutResult> locked = PageOutLocked(proof.bytes);
  if (!locked.ok()) return locked.status();
  proof.locked = *locked;
  Conclude(proof);
  return proof;
}

void Conclude(Proof& proof) {
  const bool lost_all = proof.unlocked.answer.ok() && proof.unlocked.present == 0;
  const bool was_refused = proof.locked.answer == os::Errno(EINVAL);
  if (WasLost(proof.locked)) {
    proof.outcome = Proof::Outcome::kRefuted;
    proof.conclusion =
        absl::StrCat("REFUTED: MADV_PAGEOUT answered ", AnswerText(proof.locked),
                     " for locked pages, ", proof.locked.present, " of ", proof.locked.pages,
                     " stayed, and touching them took ", proof.locked.touches.faults, " faults.");
  } else if (!lost_all || !was_refused) {
    const PageOutResult& seen = lost_all ? proof.locked : proof.unlocked;
    proof.conclusion = absl::StrCat("It proves nothing: MADV_PAGEOUT answered ", AnswerText(seen),
                                    " for pages that are ", lost_all ? "locked" : "not locked",
                                    ", and ", seen.present, " of ", seen.pages, " stayed.");
    if (!lost_all && proof.unlocked_is_file) {
      proof.conclusion += " A TMPDIR on a disk may help, if the temporary file is not on one.";
    }
    proof.outcome = Proof::Outcome::kNothing;
  } else {
    proof.outcome = Proof::Outcome::kProved;
    proof.conclusion =
        "Proved: the pages that are not locked went, those that are stayed, without a fault.";
  }
}

std::string TextOf(const Proof& proof, bool in_bytes) {
  const std::string size = ExactText(proof.bytes, in_bytes);
  std::string text = absl::StrFormat("  %-22s %6s %9s %7s %9s %8s %7s\n", "", "pages", "present",
                                     "faults", "answer", "present", "faults");
  AppendRow(text, proof.unlocked_is_file ? "not locked, of a file" : "not locked, anonymous",
            proof.unlocked);
  AppendRow(text, "locked", proof.locked);
  return absl::StrCat("  ", size,
                      " each. All pages are touched, before MADV_PAGEOUT and after its answer.\n",
                      text);
}

Json ObjectOf(const Proof& proof) {
  const Json proved = proof.outcome == Proof::Outcome::kNothing
                          ? Json()
                          : Json(proof.outcome == Proof::Outcome::kProved);
  return {{"proved", proved},
          {"conclusion", proof.conclusion},
          {"buffer_bytes", proof.bytes},
          {"unlocked_kind", proof.unlocked_is_file ? "file" : "anonymous"},
          {"unlocked", ObjectOf(proof.unlocked)},
          {"locked", ObjectOf(proof.locked)}};
}

}  // namespace cli
