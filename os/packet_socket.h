// PacketConnection, PacketListener: messages and descriptors between processes, by a name in a
// folder.
//
// Sockets of the kind SOCK_SEQPACKET (unix(7)): a message arrives whole or not at all, together
// with the descriptors that were sent with it, and both sides can ask the kernel who the other one
// is.
//
// Thread-safety: every call is safe from every thread; of two that receive, one gets the message.
// All calls enter the kernel; descriptors are closed on exec. No signal is raised.

#ifndef OS_PACKET_SOCKET_H_
#define OS_PACKET_SOCKET_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

class PacketConnection {
 public:
  static constexpr size_t kDescriptorsMax = 8;  // in one message

  PacketConnection() = default;
  explicit PacketConnection(OwnedDescriptor socket) : socket_(std::move(socket)) {}

  // ENOENT: no such name. ECONNREFUSED: nobody listens there any more, or not yet. EAGAIN: too many
  // connections wait there already. EACCES: the folder or the name is closed to this user.
  // ENAMETOOLONG: over 107 bytes. EINVAL: no bytes, or a zero byte. EPROTOTYPE: a socket of another
  // kind. Does not block.
  static Result<PacketConnection> Connect(const std::string& path);

  int descriptor() const { return socket_.get(); }

  // Whose process the other side is: of a listener, when it began to listen. `pid` is 0 where it is
  // of a pid namespace that is not seen from here.
  struct Peer {
    int32_t pid = 0;
    uint32_t user = 0;
    uint32_t group = 0;
  };
  Result<Peer> OtherSide() const;

  // Does not block. EAGAIN: the other side does not take what was sent before. EPIPE, ECONNRESET:
  // it has gone. EMSGSIZE: longer than the kernel carries (net.core.wmem_default, some 200 KB).
  // EINVAL: no bytes, or more than kDescriptorsMax descriptors. EBADF, ETOOMANYREFS: of the
  // descriptors.
  Errno Send(std::span<const std::byte> message, std::span<const int> descriptors) const;
  // Waits until `deadline` (time_point::max(): for ever); a message that is there already is taken
  // however late it is. Descriptors that came with it are appended; more than kDescriptorsMax are
  // dropped, and so are those for which this process may have no descriptors (RLIMIT_NOFILE). The
  // number of bytes; of a message longer than `buffer`, EMSGSIZE, and all of it is dropped. 0: the
  // other side has gone, and all that it sent is taken (or it has sent no bytes, which Send does
  // not). ETIMEDOUT: the time is over. EINTR: a signal came. Throws std::bad_alloc, and then has
  // taken nothing.
  Result<size_t> Receive(std::span<std::byte> buffer, std::vector<OwnedDescriptor>& descriptors,
                         std::chrono::steady_clock::time_point deadline) const;
  // Whether Receive would not wait.
  bool HasMessage() const;

 private:
  OwnedDescriptor socket_;
};

class PacketListener {
 public:
  // Whether those who connect can send some. That they cannot, the kernel must be able to be told
  // (SO_PASSRIGHTS, Linux 6.16): their Send fails with EPERM then. An older one passes them on.
  enum class Descriptors { kTaken, kRefused };

  PacketListener() = default;

  // Binds the name, with mode 0666 (the folder decides who comes near), and listens. The name stays
  // when the listener ends. EADDRINUSE: it is taken, perhaps by what is left of a process that is
  // gone. ENOENT, EACCES: of the folder. ENAMETOOLONG, EINVAL: as above. EOPNOTSUPP: there is no
  // /proc.
  static Result<PacketListener> Listen(const std::string& path,
                                       Descriptors descriptors = Descriptors::kTaken);

  int descriptor() const { return socket_.get(); }
  // Nobody can connect from now on: ECONNREFUSED.
  void Stop() const;
  // Does not block. EAGAIN: nobody waits. EMFILE, ENFILE: no more descriptors; it waits on.
  Result<PacketConnection> Accept() const;

 private:
  explicit PacketListener(OwnedDescriptor socket) : socket_(std::move(socket)) {}
  OwnedDescriptor socket_;
};

}  // namespace os

#endif  // OS_PACKET_SOCKET_H_
