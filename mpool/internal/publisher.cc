#include "mpool/internal/publisher.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "mpool/internal/error_text.h"
#include "os/at_fork.h"
#include "os/latch.h"
#include "os/local_socket.h"
#include "os/process_identity.h"
#include "os/shared_object.h"
#include "os/thread.h"

namespace mpool::internal {
namespace {

constexpr std::chrono::milliseconds kTransferTime{2000};
// Of all reports together: some bytes for each frame of pools that are as large as a machine.
constexpr size_t kReportBytesMax = size_t{1} << 28;
// Also where others have used up the time: a process that answers at once is heard.
constexpr std::chrono::milliseconds kTimeForOneMin{20};
constexpr int kNamesMax = 16;

std::string PrefixOf(uint32_t user) { return "mpool-stat." + std::to_string(user) + "."; }

// Processes of several pid namespaces may have the same network namespace, and the same number.
std::string NameOf(const os::ProcessIdentity& process, int attempt) {
  return PrefixOf(os::CurrentUser()) + std::to_string(process.pid_namespace) + "." +
         std::to_string(process.pid) + "." + std::to_string(attempt);
}

// Of a socket's name; 0: it has none.
int32_t PidIn(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  int32_t pid = 0;
  if (parts.size() != 5 || !absl::SimpleAtoi(parts[3], &pid)) return 0;
  return pid;
}

// What the kernel calls every user who has no number here (user_namespaces(7)).
constexpr uint32_t kOverflowUser = 65534;

// This user and root. Who is not seen from here by number of process either may be anybody, where
// this process runs as the user that all of those are called by.
bool IsAllowed(const os::Result<os::LocalConnection::Peer>& peer) {
  if (!peer.ok()) return false;
  if (peer->user == kOverflowUser && peer->pid == 0) return false;
  return peer->user == os::CurrentUser() || peer->user == 0;
}

struct Published {
  PoolCore* pool;
  uint64_t number;
  std::string file;
  bool is_reporting = false;  // it stays until that is done
};

// What is published, and the thread that answers. Never destroyed: the thread may be waiting there
// when the process ends. In a forked child it is replaced, and the parent's left as it was.
struct Publisher {
  std::vector<Published> pools;
  std::optional<os::LocalListener> listener;  // changes while no thread serves
  std::thread thread;
  std::atomic<bool> stops = false;
  bool stopping = false;  // by Stop; a pool that comes meanwhile waits for its end
  uint64_t last_number = 0;
  os::LatchCondition changed;  // is_reporting, stopping
};

// Held around fork(2), so that a child finds the publisher whole, and can close its descriptor.
constinit os::Latch latch;
constinit Publisher* publisher ABSL_GUARDED_BY(latch) = nullptr;  // null: nothing was published

void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS { latch.Lock(); }
void InParent() ABSL_NO_THREAD_SAFETY_ANALYSIS { latch.Unlock(); }
// A copy of the listener would keep the parent's name in use.
void InChild() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (publisher != nullptr) publisher->listener.reset();
  publisher = nullptr;
  latch.Unlock();
}
const bool forks_are_seen = os::CallAroundFork(BeforeFork, InParent, InChild);

// Reports pool after pool, each without the latch, so that neither a fork nor other pools wait.
std::vector<std::byte> Answer(Publisher& self) {
  const os::ProcessIdentity process = os::ProcessIdentity::OfThisProcess();
  ProcessReport report;
  report.pid = process.pid;
  report.pid_namespace = process.pid_namespace;
  (void)mpin_get_stat(&report.pins, sizeof(report.pins));
  for (uint64_t last = 0;;) {
    Published published;
    {
      const os::LatchHolder holder(latch);
      const auto next =
          std::ranges::find_if(self.pools, [&](const Published& one) { return one.number > last; });
      if (next == self.pools.end()) break;
      next->is_reporting = true;
      published = *next;
    }
    last = published.number;
    const auto done = absl::MakeCleanup([&] {
      const os::LatchHolder holder(latch);
      std::ranges::find(self.pools, last, &Published::number)->is_reporting = false;
      self.changed.NotifyAll();
    });
    PoolReport& pool = report.pools.emplace_back(published.pool->Report());
    pool.name = std::to_string(process.pid) + "." + std::to_string(published.number);
    pool.file = published.file;
  }
  std::vector<std::byte> bytes;
  Encode(report, bytes);
  return bytes;
}

void Serve(Publisher& self) {
  for (;;) {
    const os::Result<os::LocalConnection> connection = self.listener->Accept(kTransferTime);
    // What has come before it was stopped is accepted still.
    if (self.stops.load()) return;
    if (!connection.ok()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // no descriptors, say
      continue;
    }
    if (!IsAllowed(connection->OtherSide())) continue;
    try {
      (void)connection->Send(Answer(self));  // who asks may have gone
    } catch (const std::bad_alloc&) {
      // It gets no answer, and can ask again.
    }
    connection->Finish();
  }
}

os::Errno Start(Publisher& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch) {
  const os::ProcessIdentity process = os::ProcessIdentity::OfThisProcess();
  os::Errno error(EADDRINUSE);
  for (int i = 0; i < kNamesMax && error == os::Errno(EADDRINUSE); ++i) {
    os::Result<os::LocalListener> listener = os::LocalListener::Listen(NameOf(process, i));
    error = listener.ok() ? os::kSuccess : listener.error();
    if (listener.ok()) self.listener.emplace(std::move(*listener));
  }
  self.stops = false;
  if (error.ok()) error = os::StartThread(self.thread, "mpool-stat", [&self] { Serve(self); });
  if (!error.ok()) self.listener.reset();
  return error;
}

os::Errno Add(PoolCore& pool, const std::string& file) {
  const os::LatchHolder holder(latch);
  if (publisher == nullptr) publisher = new (std::nothrow) Publisher();
  if (publisher == nullptr || !forks_are_seen) return os::Errno(EAGAIN);
  while (publisher->stopping) publisher->changed.Wait(latch);
  if (!publisher->listener.has_value()) {  // else a thread serves
    if (const os::Errno error = Start(*publisher); !error.ok()) return error;
  }
  publisher->pools.push_back({&pool, ++publisher->last_number, file});
  return os::kSuccess;
}

// Ends the thread, as there is nothing to tell any more.
void Stop(Publisher& self) {
  std::thread ended;
  {
    const os::LatchHolder holder(latch);
    if (!self.pools.empty() || !self.thread.joinable()) return;
    self.stops = true;
    self.stopping = true;
    self.listener->Stop();
    ended = std::move(self.thread);
  }
  ended.join();
  const os::LatchHolder holder(latch);
  self.listener.reset();
  self.stopping = false;
  self.changed.NotifyAll();
}

}  // namespace

os::Errno Publish(PoolCore& pool, const std::string& file) {
  const os::Errno error = Add(pool, file);
  if (error.ok()) return error;
  return Failed(error, "the pool cannot be published: %s", std::strerror(error.code()));
}

void Withdraw(PoolCore& pool) {
  Publisher* self = nullptr;
  {
    const os::LatchHolder holder(latch);
    self = publisher;
    if (self == nullptr) return;
    for (;;) {
      const auto published = std::ranges::find(self->pools, &pool, &Published::pool);
      if (published == self->pools.end()) return;
      if (!published->is_reporting) {
        self->pools.erase(published);
        break;
      }
      self->changed.Wait(latch);
    }
  }
  Stop(*self);
}

os::Result<std::vector<PublishedProcess>> AskPublished(std::chrono::milliseconds timeout,
                                                       std::vector<int32_t>& silent) {
  const uint32_t user = os::CurrentUser();
  const os::Result<std::vector<std::string>> names =
      os::LocalListener::List(user == 0 ? "mpool-stat." : PrefixOf(user));
  if (!names.ok()) return names.error();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  size_t bytes_left = kReportBytesMax;
  std::vector<PublishedProcess> all;
  for (const std::string& name : *names) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const os::Result<os::LocalConnection> connection =
        os::LocalConnection::Connect(name, std::max(left, kTimeForOneMin));
    if (!connection.ok() && connection.error() == os::Errno(ECONNREFUSED))
      continue;  // it has ended
    if (!connection.ok()) {
      silent.push_back(PidIn(name));
      continue;
    }
    const os::Result<os::LocalConnection::Peer> peer = connection->OtherSide();
    if (!peer.ok() || (user != 0 && peer->user != user)) continue;
    std::vector<std::byte> bytes;
    const os::Errno error = connection->ReceiveAll(bytes_left, bytes);
    bytes_left -= std::min(bytes_left, bytes.size());
    std::optional<ProcessReport> report;
    if (error.ok()) report = DecodeProcess(bytes);
    if (report) {
      all.push_back({peer->pid, std::move(*report)});
    } else {
      silent.push_back(peer->pid != 0 ? peer->pid : PidIn(name));
    }
  }
  return all;
}

}  // namespace mpool::internal
