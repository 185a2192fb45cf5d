#include "rsm/internal/poll_bridge.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "os/event.h"
#include "os/thread.h"
#include "os/wait_words.h"
#include "rsm/internal/error.h"
#include "rsm/internal/generation.h"

namespace rsm::internal {
namespace {

constexpr size_t kPolledMax = 30;  // of four words each
constexpr std::chrono::milliseconds kTimeToLookAgain{2};

struct Polled {
  std::shared_ptr<SignalSource> source;
  os::Event event;
  int holders = 1;
};

// Never destroyed: its thread may be at work when the process ends. In a forked child it is replaced.
struct Bridge {
  std::thread thread;
  std::atomic<uint32_t> changes = 0;  // of the list
  std::vector<std::shared_ptr<Polled>> list;
  // Awaited by who starts the thread, so that no fork finds it on its way there.
  bool is_ready = false;
  os::LatchCondition began;
};
constinit Bridge* bridge ABSL_GUARDED_BY(poll_latch) = nullptr;

void TellBridge(Bridge& self) {
  self.changes.fetch_add(1, std::memory_order_release);
  os::WakeAll(self.changes);
}

void SetIfReady(const Polled& polled) {
  if (polled.source->HasSignal() || polled.source->State() != RSM_SUCCESS) polled.event.Set();
}

// What the thread waits for. It keeps its memory, and takes and gives back that of the list with the latch
// held: what a thread that forks has no latch for should not be in an allocator then, of which not all are
// made for it.
struct Waiting {
  Waiting() {
    words.reserve(os::kWaitWordsMax);
    owners.reserve(os::kWaitWordsMax);
  }
  std::vector<std::shared_ptr<Polled>> list;
  std::vector<os::WaitWord> words;
  WordOwners owners;
};

// Waits until something may have changed at one of them.
void WaitForAny(const Bridge& self, uint32_t seen, Waiting& waiting) {
  const auto& list = waiting.list;
  waiting.words.assign({{&self.changes, seen}});
  bool all = true;
  for (const std::shared_ptr<Polled>& polled : list) {
    const size_t room = os::kWaitWordsMax - waiting.words.size();
    all = (room > 0 && polled->source->AppendWords(room, waiting.words, waiting.owners)) && all;
  }
  for (const std::shared_ptr<Polled>& polled : list) SetIfReady(*polled);
  const auto deadline = all ? std::chrono::steady_clock::time_point::max()
                            : std::chrono::steady_clock::now() + kTimeToLookAgain;
  (void)os::WaitForChange(waiting.words, deadline);
  waiting.owners.clear();
  for (const std::shared_ptr<Polled>& polled : list) polled->source->StopWaiting();
}

// Whether there is memory for it by now or not.
void SayThatItHasBegun(Bridge& self) {
  const os::LatchHolder holder(poll_latch);
  self.is_ready = true;
  self.began.NotifyAll();
}

void Serve(Bridge& self) {
  std::optional<Waiting> waiting;
  try {
    waiting.emplace();
  } catch (const std::bad_alloc&) {  // later
  }
  SayThatItHasBegun(self);
  for (;;) {
    try {
      if (!waiting) waiting.emplace();
      const uint32_t seen = self.changes.load(std::memory_order_acquire);
      {
        const os::LatchHolder holder(poll_latch);
        waiting->list = self.list;
      }
      WaitForAny(self, seen, *waiting);
    } catch (const std::bad_alloc&) {
      if (waiting) waiting->owners.clear();
      std::this_thread::sleep_for(kTimeToLookAgain);
    }
  }
}

std::shared_ptr<Polled> Find(const SignalSource& source) ABSL_EXCLUSIVE_LOCKS_REQUIRED(poll_latch) {
  if (bridge == nullptr) return nullptr;
  const auto found = std::ranges::find_if(
      bridge->list, [&](const auto& polled) { return polled->source.get() == &source; });
  return found == bridge->list.end() ? nullptr : *found;
}

int FailToBegin(os::Errno error) {
  return Fail(RSMERR_INSUFFICIENT_RESOURCES, "no descriptor for poll(2): %s",
              std::strerror(error.code()));
}

}  // namespace

int GetPollDescriptor(const std::shared_ptr<SignalSource>& source, int& descriptor) {
  const os::LatchHolder holder(poll_latch);
  if (const std::shared_ptr<Polled> polled = Find(*source); polled != nullptr) {
    ++polled->holders;
    descriptor = polled->event.descriptor();
    return RSM_SUCCESS;
  }
  if (bridge == nullptr) {
    auto* const self = new Bridge();
    const os::Errno error = os::StartThread(self->thread, "rsm-poll", [self] { Serve(*self); });
    if (!error.ok()) {
      delete self;
      return FailToBegin(error);
    }
    bridge = self;
    service_threads.fetch_add(1);
    while (!self->is_ready) self->began.Wait(poll_latch);
  }
  if (bridge->list.size() >= kPolledMax) {
    return Fail(RSMERR_INSUFFICIENT_RESOURCES,
                "%zu segments have descriptors for poll(2) already; release one", kPolledMax);
  }
  os::Result<os::Event> event = os::Event::Create();
  if (!event.ok()) return FailToBegin(event.error());
  auto polled = std::make_shared<Polled>(Polled{source, std::move(*event)});
  descriptor = polled->event.descriptor();
  bridge->list.push_back(std::move(polled));
  TellBridge(*bridge);
  return RSM_SUCCESS;
}

bool ReleasePollDescriptor(const SignalSource& source) {
  const os::LatchHolder holder(poll_latch);
  const std::shared_ptr<Polled> polled = Find(source);
  if (polled == nullptr) return false;
  if (--polled->holders > 0) return true;
  std::erase(bridge->list, polled);
  TellBridge(*bridge);
  return true;
}

bool HasPollDescriptor(const SignalSource& source) {
  const os::LatchHolder holder(poll_latch);
  return Find(source) != nullptr;
}

std::optional<PolledSignal> TakePolledSignal(int descriptor) {
  std::shared_ptr<Polled> polled;
  {
    const os::LatchHolder holder(poll_latch);
    if (bridge == nullptr) return std::nullopt;
    const auto found = std::ranges::find_if(
        bridge->list, [&](const auto& one) { return one->event.descriptor() == descriptor; });
    if (found == bridge->list.end()) return std::nullopt;
    polled = *found;
  }
  const bool taken = polled->source->TakeSignal();
  polled->event.Clear();
  SetIfReady(*polled);  // there may be more, or one may have come before it was cleared
  if (taken) return PolledSignal::kTaken;
  return polled->source->State() == RSM_SUCCESS ? PolledSignal::kNone : PolledSignal::kEnded;
}

void ForgetPolls() { bridge = nullptr; }

}  // namespace rsm::internal
