// Two sides of a connection in a folder of their own, and what is received.

#ifndef OS_PACKET_SOCKET_FIXTURE_H_
#define OS_PACKET_SOCKET_FIXTURE_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/packet_socket.h"
#include "os/result.h"

namespace os {

inline std::chrono::steady_clock::time_point Late() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

inline std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline size_t OpenDescriptors() {
  const std::filesystem::directory_iterator list("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(list), end(list)));
}

// Tells whether anybody has its other end yet.
class Witness {
 public:
  Witness() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    kept_ = OwnedDescriptor(ends[0]);
    given_ = OwnedDescriptor(ends[1]);
  }
  int given() const { return given_.get(); }
  void CloseOwn() { given_ = OwnedDescriptor(); }
  bool IsHeld() const { return ReadByte() != 0; }
  bool HasByte() const { return ReadByte() == 1; }

 private:
  ssize_t ReadByte() const {
    char byte;
    return read(kept_.get(), &byte, 1);
  }
  OwnedDescriptor kept_, given_;
};

struct Message {
  Errno error;
  std::string text;
  std::vector<OwnedDescriptor> descriptors;
};

inline Message ReceiveFrom(const PacketConnection& connection, size_t bytes_max = 100,
                           std::chrono::steady_clock::time_point deadline = Late()) {
  Message message;
  std::string buffer(bytes_max, '?');
  const Result<size_t> bytes =
      connection.Receive(std::as_writable_bytes(std::span(buffer)), message.descriptors, deadline);
  message.error = bytes.error();
  if (bytes.ok()) message.text = buffer.substr(0, *bytes);
  return message;
}

// In a folder of its own, in which names are short. A test ends with the descriptors it began with.
class PacketSocket : public testing::Test {
 protected:
  PacketSocket() : folder_(testing::TempDir() + "/packet_socket_test.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr) << Errno::Last().Name();
    EXPECT_EQ(chdir(folder_.c_str()), 0);
  }
  ~PacketSocket() override {
    EXPECT_EQ(chdir("/"), 0);
    std::filesystem::remove_all(folder_);
    EXPECT_EQ(OpenDescriptors(), descriptors_);
  }

 private:
  const size_t descriptors_ = OpenDescriptors();
  std::string folder_;
};

struct Ends {
  PacketListener listener = *PacketListener::Listen("name");
  PacketConnection client = *PacketConnection::Connect("name");
  PacketConnection server = *listener.Accept();
};

}  // namespace os

#endif  // OS_PACKET_SOCKET_FIXTURE_H_
