// ImportSegment: what an import handle stands for: a connection, and a view of the exporter's object.
//
// Gets and puts go through a view of the whole segment that is mapped when the connection is made. The
// caller's mapping is another one.
//
// Thread-safety: every call is safe from every thread, but those that need ImportLatch(). A forked child
// must not use the parent's. RSMERR_ codes with Fail's text.

#ifndef RSM_INTERNAL_IMPORT_SEGMENT_H_
#define RSM_INTERNAL_IMPORT_SEGMENT_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "os/death_words.h"
#include "os/descriptor.h"
#include "os/latch.h"
#include "os/packet_socket.h"
#include "os/shared_mapping.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/handle_table.h"
#include "rsm/internal/protocol.h"
#include "rsm/internal/signal_source.h"

namespace rsm::internal {

// Guards the list of connections, mappings while they are made and ended, and handles that are not of
// exported segments while they are given out and taken back. Comes after ServerLatch().
inline constinit os::Latch import_latch;
inline os::Latch& ImportLatch() ABSL_LOCK_RETURNED(import_latch) { return import_latch; }

class ImportSegment final : public SignalSource {
 public:
  // SEG_NOT_PUBLISHED, SEG_NOT_PUBLISHED_TO_NODE, PERM_DENIED; REMOTE_NODE_UNREACHABLE: the exporter does
  // not answer within 5 seconds; INTERRUPTED: a signal came; CONN_ABORTED: it ended meanwhile, or answers
  // what it should not; INSUFFICIENT_RESOURCES, INSUFFICIENT_MEM: here or there.
  static int Connect(rsm_memseg_id_t segment, rsm_permission_t permission,
                     std::shared_ptr<ImportSegment>& out);
  ImportSegment() = default;
  ImportSegment(const ImportSegment&) = delete;
  ImportSegment& operator=(const ImportSegment&) = delete;
  ~ImportSegment() override;

  bool is_of_this_process() const { return generation_ == ProcessGeneration(); }
  uint64_t bytes() const { return bytes_; }
  rsm_permission_t permission() const { return permission_; }
  // The first byte of the segment, in memory that must not be written where WRITE was not granted.
  std::byte* view() const { return view_; }

  // Whether the exporter still exports it. Does not enter the kernel.
  bool is_connected() const {
    return page_->ended.load(std::memory_order_acquire) == 0 &&
           os::DeathWords::IsAlive(page_->life);
  }
  int CheckConnected() const { return is_connected() ? RSM_SUCCESS : FailAsAborted(); }

  // The part that get and put may reach: what the caller has mapped, else all.
  uint64_t window_begin() const { return window_begin_.load(std::memory_order_relaxed); }
  uint64_t window_end() const { return window_end_.load(std::memory_order_relaxed); }

  rsm_barrier_mode_t mode() const { return mode_.load(std::memory_order_relaxed); }
  void set_mode(rsm_barrier_mode_t mode) { mode_.store(mode, std::memory_order_relaxed); }
  // Barriers of this segment that exist.
  std::atomic<uint32_t> barriers = 0;

  bool is_mapped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(ImportLatch()) { return map_ != nullptr; }
  // In and out: `address`.
  int Map(void*& address, rsm_attribute_t attribute, rsm_permission_t permission, uint64_t offset,
          size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(ImportLatch());
  void Unmap() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ImportLatch());
  // The handle was given back: who waits for a signal is told. The connection ends with what it returns,
  // without the latch: what the exporter has sent there may take its time to be closed.
  [[nodiscard]] os::PacketConnection Close() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ImportLatch());

  // CONN_ABORTED: nobody is there. Where `accumulate` is false, nothing where one is pending.
  int Post(bool accumulate) const;

  bool AppendWords(size_t count_max, std::vector<os::WaitWord>& words,
                   WordOwners& owners) const override;
  bool HasSignal() const override;
  bool TakeSignal() override;
  int State() const override;

  // How many connections of this process have been found ended so far, this one not counted: what a
  // barrier of a node looks at.
  static uint64_t CountAborted(const ImportSegment& except);

 private:
  friend void ForgetImports();
  int Ask(rsm_memseg_id_t segment, os::PacketConnection& connection,
          std::chrono::steady_clock::time_point deadline);
  int TakeReply(const Reply& reply, std::vector<os::OwnedDescriptor>& files,
                const os::SysVUser& exporter, bool exporter_is_trusted);
  int FailAsAborted() const;
  int FailToMap(os::Errno error) const;

  uint32_t generation_ = ProcessGeneration();
  rsm_memseg_id_t segment_ = 0;
  rsm_permission_t permission_ = 0;
  os::PacketConnection socket_;
  ConnectionPage* page_ = nullptr;
  os::OwnedDescriptor file_;
  int sysv_ = -1;  // -1: it is file_
  uint64_t offset_ = 0;
  uint64_t bytes_ = 0;
  std::byte* view_ = nullptr;
  std::atomic<uint64_t> window_begin_ = 0, window_end_ = 0;
  std::atomic<rsm_barrier_mode_t> mode_ = RSM_BARRIER_MODE_IMPLICIT;
  std::atomic<uint32_t> is_gone_ = 0;                               // a word, for who waits
  mutable bool is_counted_ ABSL_GUARDED_BY(ImportLatch()) = false;  // as aborted

  // The caller's own.
  void* map_ ABSL_GUARDED_BY(ImportLatch()) = nullptr;
  size_t map_bytes_ ABSL_GUARDED_BY(ImportLatch()) = 0;
  bool map_is_reserved_ ABSL_GUARDED_BY(ImportLatch()) = false;
};

using ImportTable = HandleTable<ImportSegment, 2>;
ImportTable& Imports();

// Who publishes a segment, and how; for tools. Errors as of Connect.
int Describe(rsm_memseg_id_t segment, Reply& reply);

// In a forked child: it closes the parent's connections, so that exporters notice the parent's end, and
// what it has of their objects.
void ForgetImports() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ImportLatch());

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_IMPORT_SEGMENT_H_
