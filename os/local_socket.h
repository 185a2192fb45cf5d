// LocalListener, LocalConnection: how processes of one machine talk to each other.
//
// Stream sockets in the abstract namespace (unix(7)): a name goes with the process that listens
// there, however that ends, and leaves nothing behind. Anybody in the same network namespace may
// take a name and connect, so both sides ask the kernel whose process the other one is.
//
// Thread-safety: a connection belongs to one thread at a time; Stop may be called from any. All
// calls enter the kernel; descriptors are closed on exec.

#ifndef OS_LOCAL_SOCKET_H_
#define OS_LOCAL_SOCKET_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

class LocalConnection {
 public:
  // ECONNREFUSED: nobody listens there. EAGAIN: too many connections wait there already. Does not
  // block. All that is sent and received over it takes at most `timeout` together.
  static Result<LocalConnection> Connect(const std::string& name,
                                         std::chrono::milliseconds timeout);

  // Whose process the other side is: of a listener, when it began to listen. `pid` is 0 where it is
  // of a pid namespace that is not seen from here.
  struct Peer {
    int32_t pid = 0;
    uint32_t user = 0;
  };
  Result<Peer> OtherSide() const;

  // All bytes. EPIPE: the other side has gone; ETIMEDOUT: the time is over. No signal is raised.
  Errno Send(std::span<const std::byte> bytes) const;
  // Nothing more will be sent: the other side sees the end, whoever else has this connection.
  void Finish() const;
  // Appends all that comes until the other side ends, at most `bytes_max`. EMSGSIZE: there is more.
  // ETIMEDOUT: the time is over. Throws std::bad_alloc.
  Errno ReceiveAll(size_t bytes_max, std::vector<std::byte>& out) const;

 private:
  friend class LocalListener;
  using Time = std::chrono::steady_clock::time_point;
  LocalConnection(OwnedDescriptor socket, Time deadline)
      : socket_(std::move(socket)), deadline_(deadline) {}
  Errno SetTimeLeft(int option) const;

  OwnedDescriptor socket_;
  Time deadline_;
};

class LocalListener {
 public:
  // EADDRINUSE: the name is taken. EINVAL: it is empty, or has more than 100 bytes.
  static Result<LocalListener> Listen(const std::string& name);
  // Waits for a connection, whose transfers take at most `timeout` together. EINVAL: stopped; but
  // connections that wait already are still accepted, and where there are no descriptors left the
  // error is EMFILE all the same.
  Result<LocalConnection> Accept(std::chrono::milliseconds timeout) const;
  // Nobody can connect any more, and Accept returns.
  void Stop() const;
  int descriptor() const { return socket_.get(); }

  // Names that begin so, at which somebody in this network namespace listens. The error of reading
  // /proc/net/unix.
  static Result<std::vector<std::string>> List(const std::string& prefix);

 private:
  explicit LocalListener(OwnedDescriptor socket) : socket_(std::move(socket)) {}
  OwnedDescriptor socket_;
};

}  // namespace os

#endif  // OS_LOCAL_SOCKET_H_
