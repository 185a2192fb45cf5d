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
// Of a report: some bytes for each frame of a pool that is as large as a machine.
constexpr size_t kReportBytesMax = size_t{1} << 30;
constexpr int kNamesMax = 16;

std::string PrefixOf(uint32_t user) { return "mpool-stat." + std::to_string(user) + "."; }

// Processes of several pid namespaces may have the same network namespace, and the same number.
std::string NameOf(const os::ProcessIdentity& process, int attempt) {
  return PrefixOf(os::CurrentUser()) + std::to_string(process.pid_namespace) + "." +
         std::to_string(process.pid) + "." + std::to_string(attempt);
}

bool IsAllowed(const os::Result<os::LocalConnection::Peer>& peer) {
  return peer.ok() && (peer->user == os::CurrentUser() || peer->user == 0);
}

class Publisher {
 public:
  // Never destroyed: a thread may be waiting in it when the process ends. Null: no memory.
  static Publisher* Get();
  // Null: nothing was ever published.
  static Publisher* Existing() { return the_one_.load(std::memory_order_acquire); }

  os::Errno Add(PoolCore& pool, const std::string& file);
  void Remove(PoolCore& pool);

 private:
  struct Published {
    PoolCore* pool;
    std::string name, file;
  };

  os::Errno Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Serve();
  std::vector<std::byte> Answer();

  static void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  static void InParent() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  static void InChild();

  static std::atomic<Publisher*> the_one_;

  os::Latch latch_;  // held while a report is made, so that no pool ends meanwhile
  std::vector<Published> pools_ ABSL_GUARDED_BY(latch_);
  std::optional<os::LocalListener> listener_;  // changes with the latch, while no thread serves
  std::thread thread_ ABSL_GUARDED_BY(latch_);
  uint64_t last_number_ ABSL_GUARDED_BY(latch_) = 0;
};

std::atomic<Publisher*> Publisher::the_one_{nullptr};

Publisher* Publisher::Get() {
  static const bool forks_are_seen = os::CallAroundFork(BeforeFork, InParent, InChild);
  Publisher* there = the_one_.load(std::memory_order_acquire);
  if (there != nullptr || !forks_are_seen) return there;
  Publisher* const made = new (std::nothrow) Publisher();
  if (made == nullptr || the_one_.compare_exchange_strong(there, made)) return made;
  delete made;
  return there;
}

// With the latch, so that the listener is not just being closed.
void Publisher::BeforeFork() {
  if (Publisher* const there = the_one_.load()) there->latch_.Lock();
}
void Publisher::InParent() {
  if (Publisher* const there = the_one_.load()) there->latch_.Unlock();
}
// The parent's is left as it is, but for its descriptor, which would keep its name in use.
void Publisher::InChild() {
  Publisher* const parents = the_one_.exchange(nullptr);
  if (parents != nullptr) parents->listener_.reset();
}

os::Errno Publisher::Start() {
  const os::ProcessIdentity self = os::ProcessIdentity::OfThisProcess();
  os::Errno error(EADDRINUSE);
  for (int i = 0; i < kNamesMax && error == os::Errno(EADDRINUSE); ++i) {
    os::Result<os::LocalListener> listener = os::LocalListener::Listen(NameOf(self, i));
    error = listener.ok() ? os::kSuccess : listener.error();
    if (listener.ok()) listener_.emplace(std::move(*listener));
  }
  if (error.ok()) error = os::StartThread(thread_, "mpool-stat", [this] { Serve(); });
  if (!error.ok()) listener_.reset();
  return error;
}

os::Errno Publisher::Add(PoolCore& pool, const std::string& file) {
  const os::LatchHolder holder(latch_);
  if (!listener_.has_value()) {  // else a thread serves, or Remove starts one again
    if (const os::Errno error = Start(); !error.ok()) return error;
  }
  const std::string process = std::to_string(os::ProcessIdentity::OfThisProcess().pid);
  pools_.push_back({&pool, process + "." + std::to_string(++last_number_), file});
  return os::kSuccess;
}

void Publisher::Remove(PoolCore& pool) {
  std::thread ended;
  {
    const os::LatchHolder holder(latch_);
    std::erase_if(pools_, [&](const Published& published) { return published.pool == &pool; });
    if (!pools_.empty() || !thread_.joinable()) return;
    listener_->Stop();
    ended = std::move(thread_);
  }
  ended.join();
  const os::LatchHolder holder(latch_);
  listener_.reset();
  if (!pools_.empty()) (void)Start();  // of one that came meanwhile
}

std::vector<std::byte> Publisher::Answer() {
  ProcessReport report;
  const os::ProcessIdentity self = os::ProcessIdentity::OfThisProcess();
  report.pid = self.pid;
  report.pid_namespace = self.pid_namespace;
  (void)mpin_get_stat(&report.pins, sizeof(report.pins));
  {
    const os::LatchHolder holder(latch_);
    for (const Published& published : pools_) {
      PoolReport& pool = report.pools.emplace_back(published.pool->Report());
      pool.name = published.name;
      pool.file = published.file;
    }
  }
  std::vector<std::byte> bytes;
  Encode(report, bytes);
  return bytes;
}

void Publisher::Serve() {
  for (;;) {
    const os::Result<os::LocalConnection> connection = listener_->Accept(kTransferTime);
    if (!connection.ok()) {
      if (connection.error() == os::Errno(EINVAL)) return;          // stopped
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // no descriptors, say
      continue;
    }
    if (!IsAllowed(connection->OtherSide())) continue;
    try {
      (void)connection->Send(Answer());  // who asks may have gone
    } catch (const std::bad_alloc&) {
      // It gets no answer, and can ask again.
    }
    connection->Finish();
  }
}

}  // namespace

os::Errno Publish(PoolCore& pool, const std::string& file) {
  Publisher* const publisher = Publisher::Get();
  if (publisher == nullptr) return Failed(os::Errno(EAGAIN), "no memory for publishing a pool");
  const os::Errno error = publisher->Add(pool, file);
  if (error.ok()) return error;
  return Failed(error, "the pool cannot be published: %s", std::strerror(error.code()));
}

void Withdraw(PoolCore& pool) {
  if (Publisher* const publisher = Publisher::Existing()) publisher->Remove(pool);
}

os::Result<std::vector<PublishedProcess>> AskPublished(std::chrono::milliseconds timeout,
                                                       std::vector<int32_t>& silent) {
  const uint32_t user = os::CurrentUser();
  const os::Result<std::vector<std::string>> names =
      os::LocalListener::List(user == 0 ? "mpool-stat." : PrefixOf(user));
  if (!names.ok()) return names.error();
  std::vector<PublishedProcess> all;
  for (const std::string& name : *names) {
    const os::Result<os::LocalConnection> connection = os::LocalConnection::Connect(name, timeout);
    if (!connection.ok()) continue;  // it has ended
    const os::Result<os::LocalConnection::Peer> peer = connection->OtherSide();
    if (!peer.ok() || (user != 0 && peer->user != user)) continue;
    std::vector<std::byte> bytes;
    const os::Errno error = connection->ReceiveAll(kReportBytesMax, bytes);
    std::optional<ProcessReport> report;
    if (error.ok()) report = DecodeProcess(bytes);
    if (report) {
      all.push_back({peer->pid, std::move(*report)});
    } else if (!error.ok() || !bytes.empty()) {
      silent.push_back(peer->pid);
    }
  }
  return all;
}

}  // namespace mpool::internal
