#include "rsm/internal/server.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <thread>
#include <unordered_map>
#include <utility>

#include "os/death_words.h"
#include "os/event.h"
#include "os/event_queue.h"
#include "os/memory_object.h"
#include "os/process_identity.h"
#include "os/shared_mapping.h"
#include "os/thread.h"
#include "os/wait_words.h"
#include "rsm/internal/error.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/names.h"

namespace rsm::internal {
namespace {

constexpr std::chrono::seconds kTimeToAsk{5};
constexpr std::chrono::milliseconds kTimeBeforeOthers{200};  // where there is no room for more
constexpr std::chrono::milliseconds kTimeToRetry{20};
constexpr size_t kAskingMax = 64;

using Clock = std::chrono::steady_clock;

// Never destroyed: its thread may be at work when the process ends. In a forked child it is replaced,
// and the parent's left as it was.
struct Server {
  Server(os::EventQueue queue_made, os::Event wake_made)
      : queue(std::move(queue_made)), wake(std::move(wake_made)) {}

  os::EventQueue queue;
  os::Event wake;  // has number 0
  uint64_t last_number = 0;
  std::thread thread;
  bool is_ready = false;
  os::Errno failed;  // why the thread could not begin
  os::LatchCondition began;

  std::unordered_map<uint64_t, std::shared_ptr<Publication>> publications;
  // That have not asked yet, and what they connected to.
  struct Asking {
    std::shared_ptr<ConnectionEnd> end;
    std::shared_ptr<Publication> publication;
  };
  std::unordered_map<uint64_t, Asking> asking;
  std::unordered_map<uint64_t, std::weak_ptr<Publication>> importers;
  // Ended, but with pages that somebody may be waiting at.
  std::vector<std::shared_ptr<ConnectionEnd>> retired;
  // Of publications that have ended. Closed as sockets of connections are, without the latch.
  std::vector<os::PacketListener> closing;
};
constinit Server* server ABSL_GUARDED_BY(server_latch) = nullptr;

os::Errno Answer(const ConnectionEnd& end, const Reply& reply,
                 std::span<const int> descriptors = {}) {
  return end.socket.Send(std::as_bytes(std::span(&reply, 1)), descriptors);
}

void AnswerError(const ConnectionEnd& end, int error) {
  Reply reply;
  reply.error = error;
  (void)Answer(end, reply);
}

// The file for an importer, who may not do more with it than he was granted. nullopt: none is needed.
os::Result<std::optional<os::OwnedDescriptor>> FileFor(const Source& source,
                                                       rsm_permission_t permission) {
  if (source.descriptor < 0) return std::optional<os::OwnedDescriptor>();
  os::Result<os::OwnedDescriptor> file = (permission & RSM_PERM_WRITE) != 0
                                             ? os::Duplicate(source.descriptor)
                                             : os::ReopenForReading(source.descriptor);
  if (!file.ok()) return file.error();
  return std::optional<os::OwnedDescriptor>(std::move(*file));
}

// Makes the page that both sides share; it is alive from then on.
os::Errno MakePage(os::DeathWords& words, ConnectionEnd& end,
                   std::optional<os::MemoryObject>& object) {
  os::Result<os::MemoryObject> made = os::MemoryObject::Create("rsm-link", kConnectionPageBytes);
  if (!made.ok()) return made.error();
  if (const os::Errno error = made->Seal(); !error.ok()) return error;
  const os::Result<void*> page = words.Add(made->descriptor());
  if (!page.ok()) return page.error();
  end.page = static_cast<ConnectionPage*>(*page);
  object.emplace(std::move(*made));
  return os::kSuccess;
}

// RSM_SUCCESS: the importer was let in.
int LetIn(os::DeathWords& words, Publication& publication, ConnectionEnd& end,
          const Request& request) {
  const os::Result<os::PacketConnection::Peer> peer = end.socket.OtherSide();
  if (!peer.ok() || !IsPermission(request.permission)) return RSMERR_PERM_DENIED;
  if (publication.is_closed) return RSMERR_SEG_NOT_PUBLISHED;
  const int allowed = publication.access.Allows(request.node, publication.exporter,
                                                {peer->user, peer->group}, request.permission);
  if (allowed != RSM_SUCCESS) return allowed;
  const os::Result<std::optional<os::OwnedDescriptor>> file =
      FileFor(publication.source, request.permission);
  if (!file.ok()) return RSMERR_INSUFFICIENT_RESOURCES;
  std::optional<os::MemoryObject> page;
  if (const os::Errno error = MakePage(words, end, page); !error.ok()) {
    return RSMERR_INSUFFICIENT_RESOURCES;
  }
  Reply reply;
  reply.bytes = publication.bytes;
  reply.offset = publication.source.offset;
  reply.sysv = publication.source.sysv;
  if (reply.sysv >= 0) reply.sysv_namespace = os::SysVNamespace();
  reply.flags = publication.flags;
  const int descriptors[] = {page->descriptor(), file->has_value() ? (*file)->get() : -1};
  // Else the importer would wait for it, and count as one meanwhile.
  const os::Errno error = Answer(end, reply, std::span(descriptors, file->has_value() ? 2 : 1));
  if (!error.ok()) return RSMERR_INSUFFICIENT_RESOURCES;
  publication.had_importers = true;
  return RSM_SUCCESS;
}

void Describe(const Publication& publication, const ConnectionEnd& end) {
  Reply reply;
  reply.bytes = publication.bytes;
  reply.sysv = publication.source.sysv;
  reply.flags = publication.flags;
  reply.pid = os::ProcessIdentity::OfThisProcess().pid;
  reply.user = publication.exporter.user;
  reply.mode = publication.access.ModeOf(kLocalNode);
  reply.importers = static_cast<uint32_t>(publication.connections.size());
  (void)Answer(end, reply);
}

// Those who wait at the exported segment have other pages to wait at.
void TellWaiters(Publication& publication) {
  publication.signals->changes.fetch_add(1, std::memory_order_release);
  os::WakeAll(publication.signals->changes);
}

// Signals that the importer has posted before it went are not lost.
void KeepSignals(Publication& publication, const ConnectionEnd& end) {
  publication.signals->left += end.page->posted_to_exporter.load(std::memory_order_acquire) -
                               end.page->taken_by_exporter.load(std::memory_order_relaxed);
}

template <typename Of>
auto FindEnd(Of& publication, uint64_t number) {
  return std::ranges::find_if(publication.connections,
                              [&](const auto& end) { return end->number == number; });
}

class Service {
 public:
  explicit Service(Server& self) : self_(self) {}

  void Run() {
    {
      const os::LatchHolder holder(server_latch);
      self_.failed = words_.Begin();
      self_.is_ready = true;
      self_.began.NotifyAll();
      if (!self_.failed.ok()) return;
    }
    for (;;) {
      ready_.clear();
      self_.queue.Wait(TimeUntilNext(), ready_);
      bool must_retry = false;
      for (size_t i = 0; i < ready_.size(); ++i) {  // it grows by whom they let in
        const uint64_t number = ready_[i];
        message_.bytes = os::Errno(ETIMEDOUT);
        if (const std::shared_ptr<const ConnectionEnd> end = EndOf(number)) {
          message_.Receive(end->socket);
        }
        const os::LatchHolder holder(server_latch);
        must_retry = !Handle(number, message_) || must_retry;
      }
      std::vector<os::PacketListener> closing;
      {
        const os::LatchHolder holder(server_latch);
        DropTheLate();
        Retire();
        closing.swap(self_.closing);
      }
      closing.clear();
      dropped_.clear();
      if (must_retry) std::this_thread::sleep_for(kTimeToRetry);
    }
  }

 private:
  std::optional<std::chrono::milliseconds> TimeUntilNext() {
    const os::LatchHolder holder(server_latch);
    if (self_.asking.empty()) return std::nullopt;
    return std::chrono::milliseconds(kTimeToAsk) / 5;
  }

  // What an importer, or who would be one, has sent. It may come with descriptors that nobody asked for,
  // and to close such a one may take as long as its sender likes (SO_LINGER): neither that, nor closing
  // a socket where more of them may wait, is done with the latch held.
  struct Message {
    Request request;
    os::Result<size_t> bytes = os::Errno(ETIMEDOUT);
    std::vector<os::OwnedDescriptor> unwanted;

    void Receive(const os::PacketConnection& socket) {
      try {
        bytes = socket.Receive(std::as_writable_bytes(std::span(&request, 1)), unwanted,
                               Clock::time_point::min());
      } catch (const std::bad_alloc&) {
        bytes = os::Errno(ENOMEM);
      }
      unwanted.clear();
    }
    // Nothing has come: what the queue has told of was taken before.
    bool is_none() const { return bytes.error() == os::Errno(ETIMEDOUT); }
    // There was no memory to take it.
    bool is_still_there() const { return bytes.error() == os::Errno(ENOMEM); }
  };

  // Who has that number; null: nobody, or it is no connection's.
  std::shared_ptr<const ConnectionEnd> EndOf(uint64_t number) const {
    const os::LatchHolder holder(server_latch);
    if (const auto found = self_.asking.find(number); found != self_.asking.end()) {
      return found->second.end;
    }
    const auto found = self_.importers.find(number);
    if (found == self_.importers.end()) return nullptr;
    const std::shared_ptr<const Publication> publication = found->second.lock();
    if (publication == nullptr) return nullptr;
    const auto end = FindEnd(*publication, number);
    return end == publication->connections.end() ? nullptr : *end;
  }

  // False: there are no descriptors, or no memory, or there is no room; later, perhaps.
  bool Handle(uint64_t number, const Message& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    if (number == 0) {
      self_.wake.Clear();
      return true;
    }
    try {
      if (const auto found = self_.publications.find(number); found != self_.publications.end()) {
        return Accept(found->second);
      }
      if (const auto found = self_.asking.find(number); found != self_.asking.end()) {
        if (message.is_none()) return true;
        if (message.is_still_there()) return false;
        const Server::Asking asking = std::move(found->second);
        self_.asking.erase(found);
        Hear(asking, message);
        return true;
      }
      if (const auto found = self_.importers.find(number); found != self_.importers.end()) {
        const std::shared_ptr<Publication> publication = found->second.lock();
        if (publication != nullptr && message.is_none()) return true;
        if (publication != nullptr && message.is_still_there()) return false;
        self_.importers.erase(found);
        if (publication != nullptr) DropImporter(*publication, number);
      }
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  // One at a time: the queue tells of the next. It has most likely asked already.
  bool Accept(const std::shared_ptr<Publication>& publication)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    if (self_.asking.size() >= kAskingMax && !DropOldest()) return false;
    ready_.reserve(ready_.size() + 1);
    os::Result<os::PacketConnection> connection = publication->listener.Accept();
    if (!connection.ok()) return connection.error() == os::Errno(EAGAIN);
    auto end = std::make_shared<ConnectionEnd>();
    end->socket = std::move(*connection);
    end->number = ++self_.last_number;
    end->since = Clock::now();
    const uint64_t number = end->number;
    const int descriptor = end->socket.descriptor();
    self_.asking.emplace(number, Server::Asking{end, publication});
    if (self_.queue.Add(descriptor, number).ok()) {
      ready_.push_back(number);
    } else {
      self_.asking.erase(number);
      Drop(std::move(end));
    }
    return true;
  }

  void Hear(const Server::Asking& asking, const Message& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    ConnectionEnd& end = *asking.end;
    Publication& publication = *asking.publication;
    const Request& request = message.request;
    const bool is_request = message.bytes.ok() && *message.bytes == sizeof(request) &&
                            request.magic == kMagic && request.segment == publication.segment;
    if (!is_request) return Drop(asking.end);
    if (request.question == Question::kDescribe) Describe(publication, end);
    if (request.question != Question::kConnect) return Drop(asking.end);
    // First, so that nothing fails once the importer has been let in.
    publication.connections.reserve(publication.connections.size() + 1);
    self_.retired.reserve(self_.retired.size() + self_.importers.size() + 1);
    self_.importers.emplace(end.number, asking.publication);
    const int error = LetIn(words_, publication, end, request);
    if (error == RSM_SUCCESS) {
      publication.connections.push_back(asking.end);
      TellWaiters(publication);
      return;
    }
    self_.importers.erase(end.number);
    AnswerError(end, error);
    if (end.page != nullptr) words_.Remove(end.page);
    Drop(asking.end);
  }

  void Leave(const ConnectionEnd& end) const { self_.queue.Remove(end.socket.descriptor()); }
  // Its socket is closed once the latch is not held any more.
  void Drop(std::shared_ptr<ConnectionEnd> end) {
    Leave(*end);
    try {
      dropped_.push_back(std::move(end));
    } catch (const std::bad_alloc&) {  // or at once
    }
  }

  void DropImporter(Publication& publication, uint64_t number)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    const auto found = FindEnd(publication, number);
    if (found == publication.connections.end()) return;
    Leave(**found);
    KeepSignals(publication, **found);
    // A child of the importer may have the page still, whose word will tell nothing any more.
    (*found)->page->ended.store(1, std::memory_order_release);
    self_.retired.push_back(std::move(*found));
    publication.connections.erase(found);
    TellWaiters(publication);
  }

  void DropTheLate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    const Clock::time_point limit = Clock::now() - kTimeToAsk;
    std::erase_if(self_.asking, [&](const auto& entry) {
      if (entry.second.end->since > limit) return false;
      Drop(entry.second.end);
      return true;
    });
  }
  // Makes room for another one. False: the oldest has asked by now, and will be heard; or all have come
  // just now, and may be about to ask.
  bool DropOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    const auto oldest = std::ranges::min_element(
        self_.asking, {}, [](const auto& entry) { return entry.second.end->since; });
    const std::shared_ptr<ConnectionEnd> end = oldest->second.end;
    if (end->since > Clock::now() - kTimeBeforeOthers || end->socket.HasMessage()) return false;
    self_.asking.erase(oldest);
    Drop(end);
    return true;
  }

  void Retire() ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
    std::erase_if(self_.retired, [&](const std::shared_ptr<ConnectionEnd>& end) {
      if (end.use_count() > 1) return false;  // who has it wakes the server when it goes
      try {
        dropped_.push_back(end);
      } catch (const std::bad_alloc&) {  // its socket is closed at once
      }
      if (end->page != nullptr) words_.Remove(end->page);
      return true;
    });
  }

  Server& self_;
  os::DeathWords words_;
  // Of this thread alone. They keep their memory: what a thread that forks has no latch for should not be
  // in an allocator then, of which not all are made for it.
  std::vector<uint64_t> ready_;
  Message message_;
  std::vector<std::shared_ptr<ConnectionEnd>> dropped_;
};

// At exit(3), so that no names are left. A forked child has no server.
void ReleaseNames() {
  const os::LatchHolder holder(server_latch);
  if (server == nullptr) return;
  for (const auto& [number, publication] : server->publications) {
    publication->names->Release(publication->segment);
  }
}

os::Errno Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(server_latch) {
  if (server != nullptr) return os::kSuccess;
  os::Result<os::EventQueue> queue = os::EventQueue::Create();
  if (!queue.ok()) return queue.error();
  os::Result<os::Event> wake = os::Event::Create();
  if (!wake.ok()) return wake.error();
  if (const os::Errno error = queue->Add(wake->descriptor(), 0); !error.ok()) return error;
  auto* const self = new (std::nothrow) Server(std::move(*queue), std::move(*wake));
  if (self == nullptr) return os::Errno(ENOMEM);
  const os::Errno error = os::StartThread(self->thread, "rsm-server", [self] {
    Service service(*self);
    service.Run();
  });
  if (!error.ok()) {
    delete self;
    return error;
  }
  while (!self->is_ready) self->began.Wait(server_latch);
  if (!self->failed.ok()) {
    const os::Errno failed = self->failed;
    self->thread.join();  // it has ended
    delete self;
    return failed;
  }
  server = self;
  service_threads.fetch_add(1);
  static const bool is_registered =
      std::atexit(ReleaseNames) == 0;  // else names stay until they are met
  (void)is_registered;
  return os::kSuccess;
}

}  // namespace

int OpenPublication(const std::shared_ptr<Publication>& publication) {
  if (const os::Errno error = Begin(); !error.ok()) {
    return Fail(RSMERR_INSUFFICIENT_RESOURCES, "the thread that lets importers in: %s",
                std::strerror(error.code()));
  }
  std::optional<Names>& names = publication->names;
  if (const int error = Names::Open(names); error != RSM_SUCCESS) return error;
  if (const int error = names->Take(publication->segment, publication->listener);
      error != RSM_SUCCESS) {
    return error;
  }
  publication->number = ++server->last_number;
  server->publications.emplace(publication->number, publication);
  const os::Errno error =
      server->queue.Add(publication->listener.descriptor(), publication->number);
  if (error.ok()) return RSM_SUCCESS;
  names->Release(publication->segment);
  server->publications.erase(publication->number);
  return Fail(RSMERR_INSUFFICIENT_RESOURCES, "epoll_ctl(2): %s", std::strerror(error.code()));
}

void ClosePublication(const std::shared_ptr<Publication>& publication) {
  publication->is_closed = true;
  publication->names->Release(publication->segment);
  server->queue.Remove(publication->listener.descriptor());
  publication->listener.Stop();
  try {
    server->closing.push_back(std::move(publication->listener));
  } catch (const std::bad_alloc&) {
    publication->listener = os::PacketListener();
  }
  server->publications.erase(publication->number);
  for (std::shared_ptr<ConnectionEnd>& end : publication->connections) {
    KeepSignals(*publication, *end);
    end->page->ended.store(1, std::memory_order_release);
    os::WakeAll(end->page->ended);
    os::WakeAll(end->page->posted_to_importer);
    server->queue.Remove(end->socket.descriptor());
    server->importers.erase(end->number);
    server->retired.push_back(std::move(end));  // the server's thread closes its socket
  }
  publication->connections.clear();
  TellWaiters(*publication);
  server->wake.Set();
}

void WakeServer() {
  if (server != nullptr && !server->retired.empty()) server->wake.Set();
}

// Sockets that the child kept would keep names and connections in use when the parent has gone. What the
// parent's thread was doing is not to be touched.
void ForgetServer() {
  if (server == nullptr) return;
  for (auto& [number, publication] : server->publications) {
    publication->listener = os::PacketListener();
    for (const std::shared_ptr<ConnectionEnd>& end : publication->connections) {
      end->socket = os::PacketConnection();
    }
  }
  server->closing.clear();
  for (auto& [number, asking] : server->asking) asking.end->socket = os::PacketConnection();
  for (const std::shared_ptr<ConnectionEnd>& end : server->retired) {
    end->socket = os::PacketConnection();
  }
  server = nullptr;
}

}  // namespace rsm::internal
