#include "os/local_socket.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

namespace os {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{60'000};

std::string UniqueName(const char* what) {
  return "mpool-test." + std::to_string(getpid()) + "." + what;
}

std::vector<std::byte> Bytes(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

TEST(LocalSocket, CarriesAllBytes) {
  const std::string name = UniqueName("carries");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  const std::vector<std::byte> sent = Bytes(1'000'003);
  std::thread server([&] {
    const Result<LocalConnection> connection = listener->Accept(kLong);
    ASSERT_TRUE(connection.ok());
    EXPECT_EQ(connection->Send(sent), kSuccess);
  });
  const Result<LocalConnection> connection = LocalConnection::Connect(name, kLong);
  ASSERT_TRUE(connection.ok());
  std::vector<std::byte> received;
  EXPECT_EQ(connection->ReceiveAll(sent.size(), received), kSuccess);
  EXPECT_EQ(received, sent);
  server.join();
}

TEST(LocalSocket, TellsBothSidesWhoTheOtherIs) {
  const std::string name = UniqueName("who");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  const pid_t child = fork();
  if (child == 0) {
    const Result<LocalConnection> connection = LocalConnection::Connect(name, kLong);
    if (!connection.ok()) _exit(1);
    const Result<LocalConnection::Peer> peer = connection->OtherSide();
    _exit(peer.ok() && peer->pid == getppid() && peer->user == geteuid() ? 0 : 2);
  }
  const Result<LocalConnection> connection = listener->Accept(kLong);
  ASSERT_TRUE(connection.ok());
  const Result<LocalConnection::Peer> peer = connection->OtherSide();
  ASSERT_TRUE(peer.ok());
  EXPECT_EQ(peer->pid, child);
  EXPECT_EQ(peer->user, geteuid());
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(LocalSocket, GivesUpOnASideThatSaysNothing) {
  const std::string name = UniqueName("silent");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  const Result<LocalConnection> connection = LocalConnection::Connect(name, milliseconds(20));
  ASSERT_TRUE(connection.ok()) << "it waits to be accepted";
  std::vector<std::byte> received;
  EXPECT_EQ(connection->ReceiveAll(10, received), Errno(ETIMEDOUT));
}

TEST(LocalSocket, GivesUpOnASideThatSaysLittle) {
  const std::string name = UniqueName("slow");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  const Result<LocalConnection> connection = LocalConnection::Connect(name, milliseconds(100));
  ASSERT_TRUE(connection.ok());
  const Result<LocalConnection> other = listener->Accept(kLong);
  ASSERT_TRUE(other.ok());
  std::atomic<bool> done{false};
  std::thread talker([&] {
    while (!done && other->Send(Bytes(1)).ok()) std::this_thread::sleep_for(milliseconds(5));
  });
  std::vector<std::byte> received;
  EXPECT_EQ(connection->ReceiveAll(1 << 20, received), Errno(ETIMEDOUT));
  done = true;
  talker.join();
}

TEST(LocalSocket, DoesNotWaitToConnectWhereTooManyWait) {
  const std::string name = UniqueName("full");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  std::vector<LocalConnection> waiting;
  Errno error;
  for (int i = 0; i < 1000 && error.ok(); ++i) {
    Result<LocalConnection> connection = LocalConnection::Connect(name, kLong);
    error = connection.ok() ? kSuccess : connection.error();
    if (connection.ok()) waiting.push_back(std::move(*connection));
  }
  EXPECT_EQ(error, Errno(EAGAIN));
}

TEST(LocalSocket, RefusesMoreThanIsWanted) {
  const std::string name = UniqueName("more");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  const Result<LocalConnection> connection = LocalConnection::Connect(name, kLong);
  ASSERT_TRUE(connection.ok());
  {
    const Result<LocalConnection> other = listener->Accept(kLong);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(other->Send(Bytes(11)), kSuccess);
  }
  std::vector<std::byte> received;
  EXPECT_EQ(connection->ReceiveAll(10, received), Errno(EMSGSIZE));
}

TEST(LocalSocket, SendingToASideThatHasGoneIsAnErrorAndNoSignal) {
  const std::string name = UniqueName("gone");
  const Result<LocalListener> listener = LocalListener::Listen(name);
  ASSERT_TRUE(listener.ok());
  { ASSERT_TRUE(LocalConnection::Connect(name, kLong).ok()); }
  const Result<LocalConnection> connection = listener->Accept(kLong);
  ASSERT_TRUE(connection.ok());
  EXPECT_EQ(connection->Send(Bytes(10'000'000)), Errno(EPIPE));
}

TEST(LocalSocket, IsListedWhileSomebodyListens) {
  const std::string prefix = UniqueName("listed");
  {
    const Result<LocalListener> first = LocalListener::Listen(prefix + ".1");
    const Result<LocalListener> second = LocalListener::Listen(prefix + ".2");
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(LocalListener::Listen(prefix + ".1").error(), Errno(EADDRINUSE));
    const Result<std::vector<std::string>> names = LocalListener::List(prefix);
    ASSERT_TRUE(names.ok());
    EXPECT_EQ(*names, (std::vector<std::string>{prefix + ".1", prefix + ".2"}));
  }
  EXPECT_TRUE(LocalListener::List(prefix)->empty());
  EXPECT_EQ(LocalConnection::Connect(prefix + ".1", kLong).error(), Errno(ECONNREFUSED));
}

TEST(LocalSocket, StopsWaiting) {
  const Result<LocalListener> listener = LocalListener::Listen(UniqueName("stops"));
  ASSERT_TRUE(listener.ok());
  std::thread server([&] { EXPECT_EQ(listener->Accept(kLong).error(), Errno(EINVAL)); });
  listener->Stop();
  server.join();
}

TEST(LocalSocket, HasANameOfSomeBytes) {
  EXPECT_EQ(LocalListener::Listen("").error(), Errno(EINVAL));
  EXPECT_EQ(LocalListener::Listen(std::string(101, 'x')).error(), Errno(EINVAL));
  EXPECT_EQ(LocalConnection::Connect("", kLong).error(), Errno(EINVAL));
}

}  // namespace
}  // namespace os
