#include "rsm/internal/export_segment.h"

#include <algorithm>
#include <utility>

#include "os/shared_object.h"
#include "os/wait_words.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

constinit ExportTable exports;

uint32_t Pending(const std::atomic<uint32_t>& posted, const std::atomic<uint32_t>& taken) {
  return posted.load(std::memory_order_acquire) - taken.load(std::memory_order_relaxed);
}

}  // namespace

ExportTable& Exports() { return exports; }

int ExportSegment::Create(void* address, size_t bytes) { return Bind(address, bytes, bound_); }

int ExportSegment::Rebind(void* address) {
  // The source stays what it is: the object, and the offset in it.
  return internal::Rebind(bound_, address);
}

void ExportSegment::SetClosed(bool closed) {
  const os::LatchHolder holder(ServerLatch());
  publication_->is_closed = closed;
}

// Where nobody may write, nobody can, who has the descriptor and the right to open the object again. Seals
// are for good, so that another list may need another object, which only works while nobody has this one.
int ExportSegment::FitObject(const AccessList& access) {
  const bool must_refuse = !access.AllowsWriting();
  const bool refuses = refuses_new_writers(bound_) || (must_refuse && RefuseNewWriters(bound_));
  if (refuses && !must_refuse && !bound_.is_separate()) {
    return Fail(
        RSMERR_INSUFFICIENT_RESOURCES,
        "another segment has the same memory, which nobody was allowed to write to when it was "
        "published, so that it is sealed against writers; destroy both, and create them anew");
  }
  // What was sealed for another list takes no further seal. Where it is not this segment's alone, it is
  // as well protected as the other one's list wants it.
  if (refuses != must_refuse && bound_.is_separate()) {
    if (const int error = Renew(bound_); error != RSM_SUCCESS) return error;
    if (must_refuse) (void)RefuseNewWriters(bound_);
  }
  Seal(bound_);
  return RSM_SUCCESS;
}

int ExportSegment::Publish(rsm_memseg_id_t& segment, AccessList access) {
  if (const int error = CheckNotGivenUp(bound_); error != RSM_SUCCESS) return error;
  if (const int error = FitObject(access); error != RSM_SUCCESS) return error;
  auto publication = std::make_shared<Publication>();
  publication->segment = segment;
  publication->access = std::move(access);
  publication->exporter = {os::CurrentUser(), os::CurrentGroup()};
  publication->source = bound_.source();
  publication->bytes = bound_.bytes;
  publication->flags = flags_;
  publication->signals = signals_;
  const os::LatchHolder holder(ServerLatch());
  if (const int error = OpenPublication(publication); error != RSM_SUCCESS) return error;
  segment = publication->segment;
  publication_ = std::move(publication);
  return RSM_SUCCESS;
}

int ExportSegment::Republish(AccessList access) {
  if (access.AllowsWriting() && refuses_new_writers(bound_)) {
    SetClosed(true);  // nobody comes in while we look and change the object
    bool had_importers = false;
    {
      const os::LatchHolder holder(ServerLatch());
      had_importers = publication_->had_importers;
    }
    const int error =
        had_importers
            ? Fail(RSMERR_INSUFFICIENT_RESOURCES,
                   "nobody was allowed to write so far, so the segment's object is sealed "
                   "against writers, and importers have it already; unpublish it, and "
                   "publish it with the new list")
            : Renew(bound_);
    if (error != RSM_SUCCESS) {
      SetClosed(false);
      return error;
    }
  }
  const os::LatchHolder holder(ServerLatch());
  publication_->source = bound_.source();
  publication_->access = std::move(access);
  publication_->is_closed = false;
  return RSM_SUCCESS;
}

// The program goes on with another object than those who have imported this one, or with none where it has
// unmapped a part. Where that is not possible (the memory was shared before it was exported), nothing is
// done.
int ExportSegment::PartImporters() {
  SetClosed(true);
  bool had_importers = false;
  {
    const os::LatchHolder holder(ServerLatch());
    had_importers = publication_->had_importers;
  }
  if (!had_importers || !bound_.is_separate()) return RSM_SUCCESS;
  const int error = Renew(bound_);
  if (error == RSMERR_BAD_ADDR) {
    GiveUp(bound_);
    return RSM_SUCCESS;
  }
  if (error != RSM_SUCCESS) SetClosed(false);
  return error;
}

int ExportSegment::Unpublish() {
  if (const int error = PartImporters(); error != RSM_SUCCESS) return error;
  const os::LatchHolder holder(ServerLatch());
  ClosePublication(publication_);
  publication_ = nullptr;
  return RSM_SUCCESS;
}

void ExportSegment::Destroy() {
  is_gone_.store(true, std::memory_order_release);
  {
    const os::LatchHolder holder(ServerLatch());
    if (publication_ != nullptr) ClosePublication(publication_);
    publication_ = nullptr;
  }
  signals_->changes.fetch_add(1, std::memory_order_release);
  os::WakeAll(signals_->changes);
  Unbind(bound_);
}

void ExportSegment::Post(bool accumulate) const {
  const os::LatchHolder holder(ServerLatch());
  if (publication_ == nullptr) return;
  for (const std::shared_ptr<ConnectionEnd>& end : publication_->connections) {
    ConnectionPage& page = *end->page;
    if (!accumulate && Pending(page.posted_to_importer, page.taken_by_importer) != 0) continue;
    page.posted_to_importer.fetch_add(1, std::memory_order_release);
    os::WakeAll(page.posted_to_importer);
  }
}

bool ExportSegment::AppendWords(size_t count_max, std::vector<os::WaitWord>& words,
                                WordOwners& owners) const {
  words.push_back({&signals_->changes, signals_->changes.load(std::memory_order_acquire)});
  owners.push_back(signals_);
  const os::LatchHolder holder(ServerLatch());
  if (publication_ == nullptr) return true;
  size_t count = 1;
  for (const std::shared_ptr<ConnectionEnd>& end : publication_->connections) {
    if (count++ == count_max) return false;
    const std::atomic<uint32_t>& posted = end->page->posted_to_exporter;
    words.push_back({&posted, posted.load(std::memory_order_acquire)});
    owners.push_back(end);
  }
  return true;
}

bool ExportSegment::HasSignal() const {
  const os::LatchHolder holder(ServerLatch());
  if (signals_->left > 0) return true;
  if (publication_ == nullptr) return false;
  return std::ranges::any_of(publication_->connections, [](const auto& end) {
    return Pending(end->page->posted_to_exporter, end->page->taken_by_exporter) != 0;
  });
}

bool ExportSegment::TakeSignal() {
  const os::LatchHolder holder(ServerLatch());
  if (signals_->left > 0) {
    --signals_->left;
    return true;
  }
  if (publication_ == nullptr) return false;
  for (const std::shared_ptr<ConnectionEnd>& end : publication_->connections) {
    if (Pending(end->page->posted_to_exporter, end->page->taken_by_exporter) == 0) continue;
    end->page->taken_by_exporter.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  return false;
}

int ExportSegment::State() const {
  return is_gone_.load(std::memory_order_acquire) ? RSMERR_BAD_SEG_HNDL : RSM_SUCCESS;
}

void ExportSegment::StopWaiting() const {
  const os::LatchHolder holder(ServerLatch());
  WakeServer();
}

}  // namespace rsm::internal
