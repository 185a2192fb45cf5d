#include "os/packet_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/packet_socket_fixture.h"
#include "tests/support/child.h"

namespace os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test_support::RunInChild;

// --- Messages -----------------------------------------------------------------------------------

TEST_F(PacketSocket, CarriesWholeMessagesBothWays) {
  const Ends ends;
  ASSERT_EQ(ends.client.Send(Bytes("first"), {}), kSuccess);
  ASSERT_EQ(ends.client.Send(Bytes(std::string_view("\0b", 2)), {}), kSuccess);
  ASSERT_EQ(ends.server.Send(Bytes("answer"), {}), kSuccess);
  EXPECT_EQ(ReceiveFrom(ends.server).text, "first");
  EXPECT_EQ(ReceiveFrom(ends.server, 2).text, std::string_view("\0b", 2));
  EXPECT_EQ(ReceiveFrom(ends.client).text, "answer");
  EXPECT_EQ(ends.client.Send({}, {}), Errno(EINVAL)) << "it would look like the end";
}

TEST_F(PacketSocket, CarriesAMessageOfManyPages) {
  const Ends ends;
  std::string text(100'000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  ASSERT_EQ(ends.client.Send(Bytes(text), {}), kSuccess);
  EXPECT_EQ(ReceiveFrom(ends.server, text.size()).text, text);
  EXPECT_EQ(ends.client.Send(Bytes(std::string(100'000'000, 'x')), {}), Errno(EMSGSIZE));
}

TEST_F(PacketSocket, DropsAMessageThatIsTooLong) {
  const Ends ends;
  Witness witness;
  const int given[] = {witness.given()};
  ASSERT_EQ(ends.client.Send(Bytes("0123456789"), given), kSuccess);
  ASSERT_EQ(ends.client.Send(Bytes("next"), {}), kSuccess);
  witness.CloseOwn();
  EXPECT_TRUE(witness.IsHeld());
  const Message too_long = ReceiveFrom(ends.server, 9);
  EXPECT_EQ(too_long.error, Errno(EMSGSIZE));
  EXPECT_TRUE(too_long.descriptors.empty());
  EXPECT_FALSE(witness.IsHeld());
  EXPECT_EQ(ReceiveFrom(ends.server, 9).text, "next");
}

TEST_F(PacketSocket, SendsUntilTheOtherSideTakesNoMore) {
  const Ends ends;
  const std::string text(1000, 'x');
  size_t sent = 0;
  Errno error;
  while (sent < 100'000 && (error = ends.client.Send(Bytes(text), {})).ok()) ++sent;
  EXPECT_EQ(error, Errno(EAGAIN));
  for (size_t i = 0; i < sent; ++i) {
    ASSERT_EQ(ReceiveFrom(ends.server, 2000, steady_clock::time_point::min()).text, text);
  }
  EXPECT_EQ(ends.client.Send(Bytes(text), {}), kSuccess);
}

TEST_F(PacketSocket, GivesEachMessageToOneOfTwoThatReceive) {
  constexpr int kMessages = 1000;
  const Ends ends;
  std::atomic<int> received{0};
  const auto receive = [&] {
    for (;;) {
      const Message message = ReceiveFrom(ends.server);
      ASSERT_EQ(message.error, kSuccess);
      if (message.text != "part") return;
      ++received;
    }
  };
  std::thread first(receive), second(receive);
  const auto send = [&](std::string_view text) {
    Errno error;
    while ((error = ends.client.Send(Bytes(text), {})) == Errno(EAGAIN)) std::this_thread::yield();
    EXPECT_EQ(error, kSuccess);
  };
  for (int i = 0; i < kMessages; ++i) send("part");
  send("end");
  send("end");
  first.join();
  second.join();
  EXPECT_EQ(received, kMessages);
}

// --- Waiting ------------------------------------------------------------------------------------

TEST_F(PacketSocket, WaitsForAMessage) {
  const Ends ends;
  std::thread sender([&] { EXPECT_EQ(ends.client.Send(Bytes("late"), {}), kSuccess); });
  EXPECT_EQ(ReceiveFrom(ends.server, 100, steady_clock::time_point::max()).text, "late");
  sender.join();
}

TEST_F(PacketSocket, GivesUpAtTheDeadline) {
  const Ends ends;
  const auto deadline = steady_clock::now() + milliseconds(20);
  EXPECT_EQ(ReceiveFrom(ends.server, 100, deadline).error, Errno(ETIMEDOUT));
  EXPECT_GE(steady_clock::now(), deadline);
  const auto past = steady_clock::time_point::min();
  EXPECT_EQ(ReceiveFrom(ends.server, 100, past).error, Errno(ETIMEDOUT));
  ASSERT_EQ(ends.client.Send(Bytes("there"), {}), kSuccess);
  EXPECT_EQ(ReceiveFrom(ends.server, 100, past).text, "there");
}

TEST_F(PacketSocket, StopsWaitingAtASignal) {
  RunInChild([] {
    const Ends ends;
    struct sigaction action {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
    std::atomic<bool> done{false};
    const pthread_t waiter = pthread_self();
    std::thread other([&done, waiter] {
      while (!done) {  // the first may come before the wait
        (void)pthread_kill(waiter, SIGUSR1);
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
    EXPECT_EQ(ReceiveFrom(ends.server).error, Errno(EINTR));
    done = true;
    other.join();
  });
}

// --- The other side -----------------------------------------------------------------------------

TEST_F(PacketSocket, TellsBothSidesWhoTheOtherIs) {
  const Result<PacketListener> listener = PacketListener::Listen("name");
  ASSERT_TRUE(listener.ok());
  const pid_t child = fork();
  if (child == 0) {
    (void)alarm(60);
    const Result<PacketConnection> connection = PacketConnection::Connect("name");
    const Result<PacketConnection::Peer> peer =
        connection.ok() ? connection->OtherSide() : Errno(EIO);
    const bool good = peer.ok() && peer->pid == getppid() && peer->user == geteuid() &&
                      peer->group == getegid() && connection->Send(Bytes("x"), {}).ok();
    for (;;) syscall(SYS_exit_group, good ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const Result<PacketConnection> connection = listener->Accept();
  ASSERT_TRUE(connection.ok());
  const Result<PacketConnection::Peer> peer = connection->OtherSide();
  ASSERT_TRUE(peer.ok());
  EXPECT_EQ(peer->pid, child);
  EXPECT_EQ(peer->user, geteuid());
  EXPECT_EQ(peer->group, getegid());
  EXPECT_EQ(ReceiveFrom(*connection).text, "x") << "sent by a process that is no more";
}

TEST_F(PacketSocket, TellsThatTheOtherSideHasGone) {
  Ends ends;
  ASSERT_EQ(ends.client.Send(Bytes("last"), {}), kSuccess);
  ends.client = PacketConnection();
  EXPECT_EQ(ReceiveFrom(ends.server).text, "last");
  for (int i = 0; i < 2; ++i) {
    const Message message = ReceiveFrom(ends.server);
    EXPECT_EQ(message.error, kSuccess);
    EXPECT_EQ(message.text, "");
  }
  EXPECT_EQ(ends.server.Send(Bytes("x"), {}), Errno(EPIPE)) << "and no signal";
}

TEST_F(PacketSocket, LosesNothingWhereTheOtherSideHasGoneWithoutReading) {
  Ends ends;
  ASSERT_EQ(ends.server.Send(Bytes("unread"), {}), kSuccess);
  ASSERT_EQ(ends.client.Send(Bytes("last"), {}), kSuccess);
  ends.client = PacketConnection();
  EXPECT_EQ(ReceiveFrom(ends.server).text, "last");
  EXPECT_EQ(ReceiveFrom(ends.server).error, kSuccess);
}

TEST_F(PacketSocket, TellsThatTheOtherSideGoesWhileItWaits) {
  Ends ends;
  std::thread other([&ends] { ends.client = PacketConnection(); });
  const Message message = ReceiveFrom(ends.server, 100, steady_clock::time_point::max());
  EXPECT_EQ(message.error, kSuccess);
  EXPECT_EQ(message.text, "");
  other.join();
}

TEST_F(PacketSocket, TellsThatItWasNeverAccepted) {
  Result<PacketListener> listener = PacketListener::Listen("name");
  ASSERT_TRUE(listener.ok());
  const Result<PacketConnection> connection = PacketConnection::Connect("name");
  ASSERT_TRUE(connection.ok());
  ASSERT_EQ(connection->Send(Bytes("x"), {}), kSuccess);
  *listener = PacketListener();
  const Message message = ReceiveFrom(*connection);
  EXPECT_EQ(message.error, kSuccess);
  EXPECT_EQ(message.text, "");
}

// --- Names --------------------------------------------------------------------------------------

TEST_F(PacketSocket, IsForEverybodyWhateverTheUmask) {
  RunInChild([] {
    (void)umask(077);
    const Result<PacketListener> listener = PacketListener::Listen("name");
    ASSERT_TRUE(listener.ok());
    struct stat status;
    ASSERT_EQ(stat("name", &status), 0);
    EXPECT_EQ(status.st_mode, mode_t{S_IFSOCK | 0666});
  });
}

TEST_F(PacketSocket, RefusesToConnectWhereNobodyListens) {
  EXPECT_EQ(PacketConnection::Connect("name").error(), Errno(ENOENT));
  { ASSERT_TRUE(PacketListener::Listen("name").ok()); }
  EXPECT_EQ(PacketConnection::Connect("name").error(), Errno(ECONNREFUSED));
  EXPECT_EQ(PacketListener::Listen("name").error(), Errno(EADDRINUSE)) << "what is left of it";
  EXPECT_EQ(PacketConnection::Connect("name/name").error(), Errno(ENOTDIR));
  EXPECT_EQ(PacketListener::Listen("folder/name").error(), Errno(ENOENT));
}

TEST_F(PacketSocket, RefusesToConnectToASocketOfAnotherKind) {
  const OwnedDescriptor stream(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "stream"};
  ASSERT_EQ(bind(stream.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(stream.get(), 1), 0);
  EXPECT_EQ(PacketConnection::Connect("stream").error(), Errno(EPROTOTYPE));
}

TEST_F(PacketSocket, IsAsFarAwayAsItsFolder) {
  ASSERT_EQ(mkdir("closed", 0700), 0);
  const Result<PacketListener> listener = PacketListener::Listen("closed/name");
  ASSERT_TRUE(listener.ok());
  ASSERT_TRUE(PacketConnection::Connect("closed/name").ok());
  ASSERT_EQ(chmod("closed", 0), 0);
  RunInChild({.drop_privilege = true}, [] {
    EXPECT_EQ(PacketConnection::Connect("closed/name").error(), Errno(EACCES));
    EXPECT_EQ(PacketListener::Listen("closed/other").error(), Errno(EACCES));
  });
  ASSERT_EQ(chmod("closed", 0700), 0);
}

TEST_F(PacketSocket, HasANameOfAtMost107Bytes) {
  const std::string longest(107, 'x'), too_long(108, 'x');
  const Result<PacketListener> listener = PacketListener::Listen(longest);
  ASSERT_TRUE(listener.ok());
  ASSERT_TRUE(PacketConnection::Connect(longest).ok());
  EXPECT_TRUE(listener->Accept().ok());
  EXPECT_EQ(PacketListener::Listen(too_long).error(), Errno(ENAMETOOLONG));
  EXPECT_EQ(PacketConnection::Connect(too_long).error(), Errno(ENAMETOOLONG));
  // These would be names in the abstract namespace.
  for (const std::string& none : {std::string(), std::string("\0x", 2)}) {
    EXPECT_EQ(PacketListener::Listen(none).error(), Errno(EINVAL));
    EXPECT_EQ(PacketConnection::Connect(none).error(), Errno(EINVAL));
  }
}

TEST_F(PacketSocket, DoesNotWaitToConnectWhereTooManyWait) {
  const Result<PacketListener> listener = PacketListener::Listen("name");
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(listener->Accept().error(), Errno(EAGAIN)) << "nor to accept where nobody does";
  std::vector<PacketConnection> waiting;
  Errno error;
  while (waiting.size() < 1000 && error.ok()) {
    Result<PacketConnection> connection = PacketConnection::Connect("name");
    error = connection.error();
    if (connection.ok()) waiting.push_back(std::move(*connection));
  }
  EXPECT_EQ(error, Errno(EAGAIN));
  EXPECT_GE(waiting.size(), 64u);
  ASSERT_TRUE(listener->Accept().ok());
  EXPECT_TRUE(PacketConnection::Connect("name").ok());
}

TEST_F(PacketSocket, IsClosedOnExec) {
  const Ends ends;
  for (const int each :
       {ends.listener.descriptor(), ends.client.descriptor(), ends.server.descriptor()}) {
    EXPECT_EQ(fcntl(each, F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(PacketSocket, RefusesDescriptorsWhereTheKernelCan) {
  const Result<PacketListener> listener =
      PacketListener::Listen("name", PacketListener::Descriptors::kRefused);
  ASSERT_TRUE(listener.ok()) << listener.error().Name();
  const Result<PacketConnection> to = PacketConnection::Connect("name");
  ASSERT_TRUE(to.ok()) << to.error().Name();
  const Result<PacketConnection> from = listener->Accept();
  ASSERT_TRUE(from.ok()) << from.error().Name();
  const std::byte byte{1};
  const int number = STDIN_FILENO;
  const Errno sent = to->Send({&byte, 1}, {&number, 1});
  utsname kernel{};
  ASSERT_EQ(uname(&kernel), 0);
  int major = 0, minor = 0;
  ASSERT_EQ(std::sscanf(kernel.release, "%d.%d", &major, &minor), 2);
  const bool can = major > 6 || (major == 6 && minor >= 16);
  EXPECT_EQ(sent, can ? Errno(EPERM) : kSuccess);
  EXPECT_EQ(from->Send({&byte, 1}, {&number, 1}), kSuccess) << "the other way they are taken";
}

TEST_F(PacketSocket, LetsNobodyConnectOnceItIsStopped) {
  const Result<PacketListener> listener = PacketListener::Listen("name");
  ASSERT_TRUE(listener.ok()) << listener.error().Name();
  listener->Stop();
  EXPECT_EQ(PacketConnection::Connect("name").error(), Errno(ECONNREFUSED));
}

}  // namespace
}  // namespace os
