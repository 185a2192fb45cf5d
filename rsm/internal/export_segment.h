// ExportSegment: what an export handle stands for.
//
// Thread-safety: functions that change it need MemoryLatch(), so that they come one after the other; the
// signals' are safe from every thread. RSMERR_ codes with Fail's text.

#ifndef RSM_INTERNAL_EXPORT_SEGMENT_H_
#define RSM_INTERNAL_EXPORT_SEGMENT_H_

#include <atomic>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "rsm/internal/binding.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/handle_table.h"
#include "rsm/internal/publication.h"
#include "rsm/internal/server.h"
#include "rsm/internal/signal_source.h"

namespace rsm::internal {

class ExportSegment final : public SignalSource {
 public:
  explicit ExportSegment(uint_t flags)
      : flags_(flags), signals_(std::make_shared<ExporterSignals>()) {}

  bool is_of_this_process() const { return generation_ == ProcessGeneration(); }
  bool allows_rebind() const { return (flags_ & RSM_ALLOW_REBIND) != 0; }
  const BoundRange& bound() const { return bound_; }
  bool is_published() const { return publication_ != nullptr; }

  int Create(void* address, size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  int Rebind(void* address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  // `segment` 0: any number, which it is set to.
  int Publish(rsm_memseg_id_t& segment, AccessList access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  int Republish(AccessList access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  // Precondition of both: is_published().
  int Unpublish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  // With all that belongs to it. Cannot fail.
  void Destroy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

  // Posts to every importer; where `accumulate` is false, not to those that have one pending.
  void Post(bool accumulate) const;

  bool AppendWords(size_t count_max, std::vector<os::WaitWord>& words,
                   WordOwners& owners) const override;
  bool HasSignal() const override;
  bool TakeSignal() override;
  int State() const override;
  void StopWaiting() const override;

 private:
  int PartImporters() ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  int FitObject(const AccessList& access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
  void SetClosed(bool closed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

  const uint32_t generation_ = ProcessGeneration();
  const uint_t flags_;
  const std::shared_ptr<ExporterSignals> signals_;
  BoundRange bound_;
  // Changes with both latches held.
  std::shared_ptr<Publication> publication_;
  std::atomic<bool> is_gone_ = false;
};

using ExportTable = HandleTable<ExportSegment, 1>;
ExportTable& Exports();

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_EXPORT_SEGMENT_H_
