#include "os/packet_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace os {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr int kWaitingMax = 64;
constexpr mode_t kMode = 0666;

// A path that ends in a zero byte. An empty one, and one that begins with it, would be no path for
// the kernel.
Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  if (path.empty() || path.find('\0') != path.npos) return Errno(EINVAL);
  if (path.size() >= sizeof(address.sun_path)) return Errno(ENAMETOOLONG);
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* Pointer(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

OwnedDescriptor NewSocket() {
  return OwnedDescriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// A message and what goes with it, as sendmsg(2) and recvmsg(2) take it.
struct Packet {
  explicit Packet(std::span<std::byte> bytes) : part{bytes.data(), bytes.size()} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
  }
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  iovec part;
  msghdr header = {};
  alignas(
      cmsghdr) std::byte control[CMSG_SPACE(PacketConnection::kDescriptorsMax * sizeof(int))] = {};
};

using Received = std::array<OwnedDescriptor, PacketConnection::kDescriptorsMax>;

// Takes hold of all that have come, whatever else came with them; how many of them are in `into`.
size_t TakeDescriptors(msghdr& header, Received& into) {
  size_t count = 0;
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= each->cmsg_len; at += sizeof(int)) {
      int descriptor;
      std::memcpy(&descriptor, reinterpret_cast<std::byte*>(each) + at, sizeof(descriptor));
      OwnedDescriptor owned(descriptor);  // one too many is closed
      if (count < into.size()) into[count++] = std::move(owned);
    }
  }
  return count;
}

// The mode that bind(2) gives depends on the umask, which belongs to all threads. Where somebody has
// put a link in the place of the name, what that leads to keeps its mode. As fchmodat(3) does with
// AT_SYMLINK_NOFOLLOW, which needs the main thread.
Errno OpenToAll(const std::string& path) {
  const OwnedDescriptor name(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (name.get() < 0 || fstat(name.get(), &status) != 0) return Errno::Last();
  if (!S_ISSOCK(status.st_mode)) return Errno(EOPNOTSUPP);
  const std::string itself = "/proc/thread-self/fd/" + std::to_string(name.get());
  if (chmod(itself.c_str(), kMode) == 0) return kSuccess;
  return errno == ENOENT ? Errno(EOPNOTSUPP) : Errno::Last();
}

// Until there is a message, or the end of all.
Errno AwaitPacket(int socket, Time deadline) {
  timespec left = {};
  if (deadline != Time::max()) {
    const Time now = std::chrono::steady_clock::now();
    const std::chrono::nanoseconds time = std::max(deadline, now) - now;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    left.tv_sec = seconds.count();
    left.tv_nsec = (time - seconds).count();
  }
  pollfd waited = {.fd = socket, .events = POLLIN, .revents = 0};
  const int ready = ppoll(&waited, 1, deadline == Time::max() ? nullptr : &left, nullptr);
  if (ready < 0) return Errno::Last();
  return ready == 0 ? Errno(ETIMEDOUT) : kSuccess;
}

}  // namespace

Result<PacketConnection> PacketConnection::Connect(const std::string& path) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.error();
  OwnedDescriptor socket = NewSocket();
  if (socket.get() < 0) return Errno::Last();
  if (connect(socket.get(), Pointer(*address), sizeof(*address)) != 0) return Errno::Last();
  return PacketConnection(std::move(socket));
}

Result<PacketConnection::Peer> PacketConnection::OtherSide() const {
  ucred credentials = {};
  socklen_t bytes = sizeof(credentials);
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    return Errno::Last();
  }
  return Peer{.pid = credentials.pid, .user = credentials.uid, .group = credentials.gid};
}

Errno PacketConnection::Send(std::span<const std::byte> message,
                             std::span<const int> descriptors) const {
  if (message.empty() || descriptors.size() > kDescriptorsMax) return Errno(EINVAL);
  Packet packet({const_cast<std::byte*>(message.data()), message.size()});
  if (!descriptors.empty()) {
    packet.header.msg_control = packet.control;
    packet.header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&packet.header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  if (sendmsg(socket_.get(), &packet.header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return Errno::Last();
  return kSuccess;
}

Result<size_t> PacketConnection::Receive(std::span<std::byte> buffer,
                                         std::vector<OwnedDescriptor>& descriptors,
                                         Time deadline) const {
  descriptors.reserve(descriptors.size() + kDescriptorsMax);  // before there is anything to lose
  for (;;) {
    Packet packet(buffer);
    packet.header.msg_control = packet.control;
    packet.header.msg_controllen = sizeof(packet.control);
    const ssize_t bytes = recvmsg(socket_.get(), &packet.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (bytes < 0 && errno == EAGAIN) {
      if (const Errno error = AwaitPacket(socket_.get(), deadline); !error.ok()) return error;
      continue;
    }
    // Said once, of what the other side has not read; what it has sent is there all the same.
    if (bytes < 0 && errno == ECONNRESET) continue;
    if (bytes < 0) return Errno::Last();
    Received received;
    const size_t count = TakeDescriptors(packet.header, received);
    if ((packet.header.msg_flags & MSG_TRUNC) != 0) return Errno(EMSGSIZE);
    if (bytes == 0) return size_t{0};
    std::move(received.begin(), received.begin() + static_cast<ptrdiff_t>(count),
              std::back_inserter(descriptors));
    return static_cast<size_t>(bytes);
  }
}

bool PacketConnection::HasMessage() const { return AwaitPacket(socket_.get(), Time::min()).ok(); }

Result<PacketListener> PacketListener::Listen(const std::string& path, Descriptors descriptors) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.error();
  OwnedDescriptor socket = NewSocket();
  if (socket.get() < 0) return Errno::Last();
  if (bind(socket.get(), Pointer(*address), sizeof(*address)) != 0) return Errno::Last();
  // Inherited by what is accepted. Newer than the headers of Debian 12.
  constexpr int kPassRights = 83;
  if (descriptors == Descriptors::kRefused) {
    const int none = 0;
    (void)setsockopt(socket.get(), SOL_SOCKET, kPassRights, &none, sizeof(none));
  }
  Errno error = OpenToAll(path);
  if (error.ok() && listen(socket.get(), kWaitingMax) != 0) error = Errno::Last();
  if (!error.ok()) {
    (void)unlink(path.c_str());
    return error;
  }
  return PacketListener(std::move(socket));
}

void PacketListener::Stop() const { (void)shutdown(socket_.get(), SHUT_RDWR); }

Result<PacketConnection> PacketListener::Accept() const {
  for (;;) {
    OwnedDescriptor socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() >= 0) return PacketConnection(std::move(socket));
    if (errno != EINTR && errno != ECONNABORTED) return Errno::Last();
  }
}

}  // namespace os
