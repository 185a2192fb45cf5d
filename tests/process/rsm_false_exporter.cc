#include "tests/process/rsm_false_exporter.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tests/process/rsm_honest_exporter.h"
#include "tests/process/rsm_raw_importer.h"

namespace hostile {

using rsm::internal::kConnectionPageBytes;
using rsm::internal::Reply;
using rsm::internal::Request;
using test_support::Line;

using Clock = std::chrono::steady_clock;

os::MemoryObject FixedObject(uint64_t bytes) { return *os::MemoryObject::Create("false", bytes); }

os::OwnedDescriptor LooseObject(uint64_t bytes) {
  os::OwnedDescriptor made(memfd_create("false", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(made.get(), static_cast<off_t>(bytes)), 0);
  return made;
}

Reply GoodReply() {
  Reply reply;
  reply.bytes = Bytes();
  return reply;
}

void Send(const os::PacketConnection& connection, const Reply& reply,
          std::initializer_list<int> descriptors) {
  EXPECT_TRUE(
      connection.Send(BytesOf(reply), std::span(descriptors.begin(), descriptors.size())).ok());
}

os::MemoryObject GoodPage() {
  os::MemoryObject page = FixedObject(kConnectionPageBytes);
  const uint32_t life = 1;
  EXPECT_EQ(pwrite(page.descriptor(), &life, sizeof(life), 0), ssize_t{sizeof(life)});
  return page;
}

void AnswerAll(const Line& line, const FalseAnswer& answer) {
  os::Result<os::PacketListener> listener = os::PacketListener::Listen(kSocket);
  ASSERT_TRUE(listener.ok()) << listener.error().Name();
  line.Say(1);
  for (;;) {
    pollfd ready[] = {{listener->descriptor(), POLLIN, 0}, {line.descriptor(), POLLIN, 0}};
    ASSERT_GT(poll(ready, 2, 60'000), 0);
    if (ready[1].revents != 0) return;
    const os::Result<os::PacketConnection> connection = listener->Accept();
    ASSERT_TRUE(connection.ok());
    Request request;
    std::vector<os::OwnedDescriptor> none;
    (void)connection->Receive(std::as_writable_bytes(std::span(&request, 1)), none,
                              Clock::now() + std::chrono::seconds(50));
    answer.answer(*connection);
  }
}

}  // namespace hostile
