#include "os/local_socket.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace os {
namespace {

constexpr size_t kNameBytesMax = 100;
constexpr int kWaitingMax = 8;

struct Address {
  sockaddr_un address = {};
  socklen_t bytes = 0;
};

Result<Address> AddressOf(const std::string& name) {
  if (name.empty() || name.size() > kNameBytesMax) return Errno(EINVAL);
  Address result;
  result.address.sun_family = AF_UNIX;
  // A zero byte first: the abstract namespace.
  std::memcpy(result.address.sun_path + 1, name.data(), name.size());
  result.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

const sockaddr* Pointer(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.address);
}

OwnedDescriptor NewSocket() {
  return OwnedDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

}  // namespace

Result<LocalConnection> LocalConnection::Connect(const std::string& name,
                                                 std::chrono::milliseconds timeout) {
  const Result<Address> address = AddressOf(name);
  if (!address.ok()) return address.error();
  OwnedDescriptor socket = NewSocket();
  if (socket.get() < 0) return Errno::Last();
  // Whoever listens may not be whom the name promises, and let its queue be full.
  int on = 1, off = 0;
  if (ioctl(socket.get(), FIONBIO, &on) != 0) return Errno::Last();
  if (connect(socket.get(), Pointer(*address), address->bytes) != 0) return Errno::Last();
  if (ioctl(socket.get(), FIONBIO, &off) != 0) return Errno::Last();
  return LocalConnection(std::move(socket), std::chrono::steady_clock::now() + timeout);
}

Errno LocalConnection::SetTimeLeft(int option) const {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
  if (left.count() <= 0) return Errno(ETIMEDOUT);
  timeval time = {};
  time.tv_sec = left.count() / 1000;
  time.tv_usec = left.count() % 1000 * 1000;
  if (setsockopt(socket_.get(), SOL_SOCKET, option, &time, sizeof(time)) != 0) {
    return Errno::Last();
  }
  return kSuccess;
}

Result<LocalConnection::Peer> LocalConnection::OtherSide() const {
  ucred credentials = {};
  socklen_t bytes = sizeof(credentials);
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    return Errno::Last();
  }
  return Peer{.pid = credentials.pid, .user = credentials.uid};
}

Errno LocalConnection::Send(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    if (const Errno error = SetTimeLeft(SO_SNDTIMEO); !error.ok()) return error;
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (sent < 0) return Errno::Last();
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return kSuccess;
}

void LocalConnection::Finish() const { (void)shutdown(socket_.get(), SHUT_WR); }

Errno LocalConnection::ReceiveAll(size_t bytes_max, std::vector<std::byte>& out) const {
  constexpr size_t kPart = 65'536;
  size_t received = 0;
  for (;;) {
    if (const Errno error = SetTimeLeft(SO_RCVTIMEO); !error.ok()) return error;
    const size_t old_size = out.size();
    out.resize(old_size + kPart);
    const ssize_t got = recv(socket_.get(), out.data() + old_size, kPart, 0);
    const int error = errno;
    out.resize(old_size + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && (error == EINTR || error == EAGAIN)) continue;
    if (got < 0) return Errno(error);
    if (got == 0) return kSuccess;
    received += static_cast<size_t>(got);
    if (received > bytes_max) return Errno(EMSGSIZE);
  }
}

Result<LocalListener> LocalListener::Listen(const std::string& name) {
  const Result<Address> address = AddressOf(name);
  if (!address.ok()) return address.error();
  OwnedDescriptor socket = NewSocket();
  if (socket.get() < 0) return Errno::Last();
  if (bind(socket.get(), Pointer(*address), address->bytes) != 0) return Errno::Last();
  if (listen(socket.get(), kWaitingMax) != 0) return Errno::Last();
  return LocalListener(std::move(socket));
}

Result<LocalConnection> LocalListener::Accept(std::chrono::milliseconds timeout) const {
  for (;;) {
    OwnedDescriptor socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.get() < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return Errno::Last();
    }
    return LocalConnection(std::move(socket), std::chrono::steady_clock::now() + timeout);
  }
}

void LocalListener::Stop() const { (void)shutdown(socket_.get(), SHUT_RDWR); }

// A line of /proc/net/unix ends in "@NAME" for an abstract name; flag 00010000 is a listener's.
Result<std::vector<std::string>> LocalListener::List(const std::string& prefix) {
  std::ifstream file("/proc/net/unix");
  if (!file) return Errno(errno != 0 ? errno : EIO);
  std::vector<std::string> names;
  const std::string wanted = " @" + prefix;
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find(wanted);
    if (at == line.npos || line.find(" 00010000 ") == line.npos) continue;
    names.push_back(line.substr(at + 2));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace os
