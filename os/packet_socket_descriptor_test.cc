// Descriptors that come with a message, or should not.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "os/packet_socket.h"
#include "os/packet_socket_fixture.h"
#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

using PacketSocketDescriptors = PacketSocket;

TEST_F(PacketSocketDescriptors, CarriesDescriptors) {
  const Ends ends;
  std::vector<Witness> witnesses(PacketConnection::kDescriptorsMax);
  std::vector<int> given;
  for (const Witness& each : witnesses) given.push_back(each.given());
  ASSERT_EQ(ends.client.Send(Bytes("all"), given), kSuccess);
  ASSERT_EQ(ends.client.Send(Bytes("one"), std::span(given).first(1)), kSuccess);
  for (Witness& each : witnesses) each.CloseOwn();

  const Message message = ReceiveFrom(ends.server);
  EXPECT_EQ(message.text, "all");
  ASSERT_EQ(message.descriptors.size(), witnesses.size());
  for (size_t i = 0; i < witnesses.size(); ++i) {
    EXPECT_FALSE(witnesses[i].HasByte());
    EXPECT_EQ(write(message.descriptors[i].get(), "x", 1), 1);
    EXPECT_TRUE(witnesses[i].HasByte());
    EXPECT_EQ(fcntl(message.descriptors[i].get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(ReceiveFrom(ends.server).descriptors.size(), 1u);
}

TEST_F(PacketSocketDescriptors, AppendsDescriptors) {
  const Ends ends;
  const int given[] = {0, 0};
  std::vector<OwnedDescriptor> descriptors;
  for (size_t i = 1; i <= 10; ++i) {
    ASSERT_EQ(ends.client.Send(Bytes("x"), given), kSuccess);
    std::byte buffer[1];
    ASSERT_TRUE(ends.server.Receive(buffer, descriptors, Late()).ok());
    EXPECT_EQ(descriptors.size(), 2 * i);
  }
}

TEST_F(PacketSocketDescriptors, DoesNotSendWhatItMayNot) {
  const Ends ends;
  const std::vector<int> too_many(PacketConnection::kDescriptorsMax + 1, 0);
  EXPECT_EQ(ends.client.Send(Bytes("x"), too_many), Errno(EINVAL));
  const int closed[] = {-1};
  EXPECT_EQ(ends.client.Send(Bytes("x"), closed), Errno(EBADF));
  EXPECT_EQ(ReceiveFrom(ends.server, 100, std::chrono::steady_clock::now()).error,
            Errno(ETIMEDOUT));
}

// What a program could send that does not keep to this class: descriptors, and who it says it is.
void SendAnything(const PacketConnection& from, std::string_view text, size_t descriptors,
                  int descriptor, bool credentials) {
  alignas(cmsghdr)
      std::byte control[CMSG_SPACE(200 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))] = {};
  iovec part = {const_cast<char*>(text.data()), text.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* each = CMSG_FIRSTHDR(&header);
  size_t bytes = 0;
  if (credentials) {
    const ucred own = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
    *each = {
        .cmsg_len = CMSG_LEN(sizeof(own)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS};
    std::memcpy(CMSG_DATA(each), &own, sizeof(own));
    bytes += CMSG_SPACE(sizeof(own));
    each = CMSG_NXTHDR(&header, each);
  }
  if (descriptors > 0) {
    const std::vector<int> given(descriptors, descriptor);
    const size_t given_bytes = descriptors * sizeof(int);
    *each = {.cmsg_len = CMSG_LEN(given_bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    std::memcpy(CMSG_DATA(each), given.data(), given_bytes);
    bytes += CMSG_SPACE(given_bytes);
  }
  header.msg_controllen = bytes;
  ASSERT_EQ(sendmsg(from.descriptor(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(text.size()))
      << Errno::Last().Name();
}

TEST_F(PacketSocketDescriptors, DropsDescriptorsThatAreTooMany) {
  const Ends ends;
  for (const bool credentials : {false, true}) {
    for (const size_t count : {9u, 10u, 200u}) {
      Witness witness;
      SendAnything(ends.client, "many", count, witness.given(), credentials);
      witness.CloseOwn();
      const size_t open = OpenDescriptors();
      {
        const Message message = ReceiveFrom(ends.server);
        EXPECT_EQ(message.text, "many");
        EXPECT_EQ(message.descriptors.size(), PacketConnection::kDescriptorsMax);
        EXPECT_EQ(OpenDescriptors(), open + PacketConnection::kDescriptorsMax);
        EXPECT_TRUE(witness.IsHeld());
      }
      EXPECT_FALSE(witness.IsHeld());
    }
  }
}

TEST_F(PacketSocketDescriptors, PassesOverOtherControlMessages) {
  const Ends ends;
  const int on = 1;  // as nobody does who uses this class; then they come
  ASSERT_EQ(setsockopt(ends.server.descriptor(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
  Witness witness;
  SendAnything(ends.client, "who", 0, -1, true);
  SendAnything(ends.client, "both", 3, witness.given(), true);
  SendAnything(ends.client, "many", 200, witness.given(), true);
  witness.CloseOwn();
  EXPECT_EQ(ReceiveFrom(ends.server).text, "who");
  EXPECT_EQ(ReceiveFrom(ends.server).text, "both");
  EXPECT_EQ(ReceiveFrom(ends.server).text, "many");
  EXPECT_FALSE(witness.IsHeld());
}

TEST_F(PacketSocketDescriptors, DropsTheDescriptorsOfAMessageWithoutBytes) {
  const Ends ends;
  Witness witness;
  SendAnything(ends.client, "", 3, witness.given(), false);
  witness.CloseOwn();
  const Message message = ReceiveFrom(ends.server);
  EXPECT_EQ(message.error, kSuccess);
  EXPECT_EQ(message.text, "");
  EXPECT_TRUE(message.descriptors.empty());
  EXPECT_FALSE(witness.IsHeld());
}

TEST_F(PacketSocketDescriptors, ReceivesTheMessageWhereThereIsNoRoomForItsDescriptors) {
  RunInChild([] {
    const Ends ends;
    const int given[] = {0, 0, 0};
    ASSERT_EQ(ends.client.Send(Bytes("three"), given), kSuccess);
    const OwnedDescriptor next(dup(0));
    const auto room = static_cast<rlim_t>(next.get()) + 2;  // for one more
    const rlimit limit = {.rlim_cur = room, .rlim_max = room};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    {
      const Message message = ReceiveFrom(ends.server);
      EXPECT_EQ(message.text, "three");
      EXPECT_EQ(message.descriptors.size(), 1u);
    }
    const Result<PacketConnection> first = PacketConnection::Connect("name");
    ASSERT_TRUE(first.ok()) << first.error().Name();
    EXPECT_EQ(PacketConnection::Connect("name").error(), Errno(EMFILE));
    EXPECT_EQ(ends.listener.Accept().error(), Errno(EMFILE));
  });
}

TEST_F(PacketSocketDescriptors, ThatEndsDropsWhatNobodyHasReceived) {
  Witness witness;
  {
    const Ends ends;
    const int given[] = {witness.given()};
    ASSERT_EQ(ends.client.Send(Bytes("x"), given), kSuccess);
    witness.CloseOwn();
    EXPECT_TRUE(witness.IsHeld());
  }
  EXPECT_FALSE(witness.IsHeld());
}

}  // namespace
}  // namespace os
