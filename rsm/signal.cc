// The C interface: signals, of exported and imported segments alike.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "os/latch.h"
#include "os/poll.h"
#include "os/wait_words.h"
#include "rsm/internal/error.h"
#include "rsm/internal/export_segment.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/imports.h"
#include "rsm/internal/poll_bridge.h"
#include "rsm/internal/signal_source.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {
namespace {

using Clock = std::chrono::steady_clock;
// Where there are more words than the kernel waits for.
constexpr std::chrono::milliseconds kTimeToLookAgain{2};

Clock::time_point DeadlineIn(int milliseconds) {
  return milliseconds < 0 ? Clock::time_point::max()
                          : Clock::now() + std::chrono::milliseconds(milliseconds);
}

// Of this process. Null: it is no handle.
std::shared_ptr<ExportSegment> FindExport(void* memseg) {
  const ExportTable::Use segment = Exports().Find(memseg);
  return segment && segment->is_of_this_process() ? segment.Share() : nullptr;
}

std::shared_ptr<SignalSource> FindSource(void* memseg) {
  if (const ImportTable::Use segment = FindImport(static_cast<rsm_memseg_import_handle_t>(memseg));
      segment) {
    return segment.Share();
  }
  return FindExport(memseg);
}

int FailWithoutSegment(const void* handle) {
  if (Exports().Find(handle)) {
    return Fail(RSMERR_NOT_CREATOR,
                "the segment was created by the process that this one was forked from");
  }
  return Fail(RSMERR_BAD_SEG_HNDL, "%p is no segment of this process, exported or imported",
              handle);
}

int FailAsTimeout() { return Fail(RSMERR_TIMEOUT, "no signal came in that time"); }
int FailAsInterrupted() {
  return Fail(RSMERR_INTERRUPTED, "a signal of signal(7) came before one of the segment");
}

int FailByState(int state) {
  if (state == RSMERR_BAD_SEG_HNDL)
    return Fail(state, "the segment's handle was given back meanwhile");
  return Fail(state, "the exporter has ended, or does not publish the segment any more");
}

int WaitForSignal(SignalSource& source, Clock::time_point deadline) {
  for (std::vector<os::WaitWord> words;;) {
    WordOwners owners;
    words.clear();
    const bool all = source.AppendWords(os::kWaitWordsMax, words, owners);
    if (source.TakeSignal()) return RSM_SUCCESS;
    if (const int state = source.State(); state != RSM_SUCCESS) return FailByState(state);
    const Clock::time_point now = Clock::now();
    if (deadline <= now) return FailAsTimeout();
    const os::Errno error =
        os::WaitForChange(words, all ? deadline : std::min(deadline, now + kTimeToLookAgain));
    if (error == os::Errno(EINTR)) return FailAsInterrupted();
  }
}

// Takes a signal of each segment that is ready. Where one was not ready after all, its mark goes; that of
// one whose exporter has ended is as poll(2) has it for what has hung up.
int TakeSignals(std::span<pollfd> descriptors) {
  int ready = 0;
  for (pollfd& descriptor : descriptors) {
    if (descriptor.revents == 0) continue;
    const std::optional<PolledSignal> taken = TakePolledSignal(descriptor.fd);
    if (taken == PolledSignal::kTaken) descriptor.revents = POLLRDNORM;
    if (taken == PolledSignal::kNone) descriptor.revents = 0;
    if (taken == PolledSignal::kEnded) descriptor.revents = POLLHUP;
    if (descriptor.revents != 0) ++ready;
  }
  return ready;
}

// nullopt: it is no imported segment.
std::optional<int> GetImportDescriptor(void* memseg, int& descriptor) {
  const os::LatchHolder holder(ImportLatch());  // it is not disconnected meanwhile
  const ImportTable::Use segment = FindImport(static_cast<rsm_memseg_import_handle_t>(memseg));
  if (!segment) return std::nullopt;
  return GetPollDescriptor(segment.Share(), descriptor);
}

int FailToPoll(os::Errno error) {
  if (error == os::Errno(EINTR)) return FailAsInterrupted();
  const int code = error == os::Errno(EINVAL)   ? RSMERR_BAD_ARGS_ERRORS
                   : error == os::Errno(ENOMEM) ? RSMERR_INSUFFICIENT_MEM
                                                : RSMERR_BAD_ADDR;
  return Fail(code, "poll(2): %s", std::strerror(error.code()));
}

}  // namespace
}  // namespace rsm::internal

using namespace rsm::internal;  // NOLINT: what follows is C's

int rsm_intr_signal_post(void* memseg, uint_t flags) {
  return Guarded([&] {
    const bool accumulate = (flags & RSM_SIGPOST_NO_ACCUMULATE) == 0;
    if (const ImportTable::Use segment =
            FindImport(static_cast<rsm_memseg_import_handle_t>(memseg));
        segment) {
      return segment->Post(accumulate);
    }
    const std::shared_ptr<ExportSegment> segment = FindExport(memseg);
    if (segment == nullptr) return FailWithoutSegment(memseg);
    segment->Post(accumulate);
    return RSM_SUCCESS;
  });
}

int rsm_intr_signal_wait(void* memseg, int timeout) {
  return Guarded([&] {
    const std::shared_ptr<SignalSource> source = FindSource(memseg);
    if (source == nullptr) return FailWithoutSegment(memseg);
    const int result = WaitForSignal(*source, DeadlineIn(timeout));
    source->StopWaiting();
    return result;
  });
}

int rsm_intr_signal_wait_pollfd(struct pollfd fds[], nfds_t nfds, int timeout, int* numfdsp) {
  return Guarded([&] {
    if (fds == nullptr && nfds > 0) return Fail(RSMERR_BAD_ADDR, "no descriptors at NULL");
    const std::span<pollfd> descriptors(fds, nfds);
    const Clock::time_point deadline = DeadlineIn(timeout);
    for (;;) {
      const os::Errno error = os::WaitForDescriptors(descriptors, deadline);
      if (error == os::Errno(ETIMEDOUT)) break;
      if (!error.ok()) return FailToPoll(error);
      const int ready = TakeSignals(descriptors);
      if (ready == 0 && Clock::now() >= deadline) break;
      if (ready == 0) continue;
      if (numfdsp != nullptr) *numfdsp = ready;
      return RSM_SUCCESS;
    }
    if (numfdsp != nullptr) *numfdsp = 0;
    return FailAsTimeout();
  });
}

int rsm_memseg_get_pollfd(void* memseg, struct pollfd* fd) {
  return Guarded([&] {
    if (fd == nullptr) return Fail(RSMERR_BAD_ADDR, "no place for the descriptor");
    int descriptor = -1;
    int error = RSM_SUCCESS;
    if (const std::optional<int> got = GetImportDescriptor(memseg, descriptor); got) {
      error = *got;
    } else {
      const os::LatchHolder holder(MemoryLatch());  // it is not unpublished meanwhile
      const std::shared_ptr<ExportSegment> segment = FindExport(memseg);
      if (segment == nullptr) return FailWithoutSegment(memseg);
      if (!segment->is_published()) {
        return Fail(RSMERR_SEG_NOT_PUBLISHED, "the segment is not published");
      }
      error = GetPollDescriptor(segment, descriptor);
    }
    if (error != RSM_SUCCESS) return error;
    *fd = {descriptor, POLLIN | POLLRDNORM, 0};
    return RSM_SUCCESS;
  });
}

int rsm_memseg_release_pollfd(void* memseg) {
  return Guarded([&] {
    const std::shared_ptr<SignalSource> source = FindSource(memseg);
    if (source == nullptr) return FailWithoutSegment(memseg);
    if (ReleasePollDescriptor(*source)) return RSM_SUCCESS;
    return Fail(RSMERR_BAD_SEG_HNDL, "the segment has no descriptor for poll(2)");
  });
}
