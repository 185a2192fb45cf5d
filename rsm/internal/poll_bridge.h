// The poll bridge: descriptors for poll(2) that are ready while a segment has a signal.
//
// Signals are words in memory (protocol.h), for which poll(2) cannot wait. A thread does, for the
// segments whose descriptors somebody has, and sets an event for each. It starts with the first of them.
//
// Thread-safe. RSMERR_ codes with Fail's text.

#ifndef RSM_INTERNAL_POLL_BRIDGE_H_
#define RSM_INTERNAL_POLL_BRIDGE_H_

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"
#include "rsm/internal/signal_source.h"

namespace rsm::internal {

// Comes after all other latches; not held while a source is asked.
inline constinit os::Latch poll_latch;
inline os::Latch& PollLatch() ABSL_LOCK_RETURNED(poll_latch) { return poll_latch; }

// The segment's descriptor, the same each time, until it was released as often as it was got.
// INSUFFICIENT_RESOURCES: no descriptors, no thread, or more than 30 segments at once.
int GetPollDescriptor(const std::shared_ptr<SignalSource>& source, int& descriptor);
// False: it has none.
bool ReleasePollDescriptor(const SignalSource& source);
bool HasPollDescriptor(const SignalSource& source);

enum class PolledSignal {
  kTaken,
  kNone,   // it was ready for one that somebody else has taken
  kEnded,  // no signal will come any more: the other side has ended
};
// Takes the signal for which the descriptor is ready, which it is no longer if that was the last one.
// nullopt: it is no segment's descriptor.
std::optional<PolledSignal> TakePolledSignal(int descriptor);

// In a forked child: there is no thread.
void ForgetPolls() ABSL_EXCLUSIVE_LOCKS_REQUIRED(PollLatch());

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_POLL_BRIDGE_H_
