// Exporters that are none, of the same user: who connects gets an error, and keeps nothing of them.

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/memory_object.h"
#include "os/packet_socket.h"
#include "os/shared_mapping.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"
#include "tests/process/rsm_false_exporter.h"
#include "tests/process/rsm_honest_exporter.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_segment.h"

namespace {

using hostile::AnswerAll;
using hostile::Bytes;
using hostile::FalseAnswer;
using hostile::FixedObject;
using hostile::Folder;
using hostile::GoodPage;
using hostile::GoodReply;
using hostile::kPages;
using hostile::kSocket;
using hostile::LooseObject;
using hostile::Send;
using rsm::internal::kConnectionPageBytes;
using rsm::internal::Reply;
using test_support::Connect;
using test_support::CountDescriptors;
using test_support::CountMappedObjects;
using test_support::FailsWith;
using test_support::Line;
using test_support::OtherProcess;
using test_support::RunInChild;
using test_support::SysVSegment;

// All is right but the reply.
std::function<void(const os::PacketConnection&)> With(const std::function<void(Reply&)>& change) {
  return [change](const os::PacketConnection& connection) {
    Reply reply = GoodReply();
    change(reply);
    Send(connection, reply, {GoodPage().descriptor(), FixedObject(Bytes()).descriptor()});
  };
}

const FalseAnswer kFalseAnswers[] = {
    {"HangsUp", RSMERR_CONN_ABORTED, [](const os::PacketConnection&) {}},
    {"AByte", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       EXPECT_TRUE(connection.Send(std::array<std::byte, 1>{}, {}).ok());
     }},
    {"TooMuch", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       EXPECT_TRUE(connection.Send(std::vector<std::byte>(10'000), {}).ok());
     }},
    {"AnotherMagic", RSMERR_CONN_ABORTED, With([](Reply& reply) { ++reply.magic; })},
    {"AnUnknownError", RSMERR_CONN_ABORTED, With([](Reply& reply) { reply.error = 9999; })},
    {"ANegativeError", RSMERR_CONN_ABORTED, With([](Reply& reply) { reply.error = -1; })},
    {"NoBytes", RSMERR_CONN_ABORTED, With([](Reply& reply) { reply.bytes = 0; })},
    {"AllBytes", RSMERR_CONN_ABORTED, With([](Reply& reply) { reply.bytes = ~uint64_t{0}; })},
    {"ManyBytes", RSMERR_INSUFFICIENT_MEM,
     With([](Reply& reply) { reply.bytes = uint64_t{1} << 62; })},
    {"AnOddOffset", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Reply reply = GoodReply();
       reply.offset = 1;
       Send(connection, reply, {GoodPage().descriptor(), FixedObject(2 * Bytes()).descriptor()});
     }},
    {"AnOddLength", RSMERR_CONN_ABORTED, With([](Reply& reply) { --reply.bytes; })},
    {"AFarOffset", RSMERR_CONN_ABORTED, With([](Reply& reply) { reply.offset = ~uint64_t{0}; })},
    {"NoDescriptors", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) { Send(connection, GoodReply(), {}); }},
    {"OneDescriptor", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(), {GoodPage().descriptor()});
     }},
    {"ManyDescriptors", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       const os::MemoryObject page = GoodPage(), object = FixedObject(Bytes());
       const int one = page.descriptor(), two = object.descriptor();
       Send(connection, GoodReply(), {one, two, one, two, one, two, one, two});
     }},
    {"NoObjects", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(), {STDIN_FILENO, STDIN_FILENO});
     }},
    {"ASocketForThePage", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(), {connection.descriptor(), FixedObject(Bytes()).descriptor()});
     }},
    {"APageThatCanShrink", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(),
            {LooseObject(kConnectionPageBytes).get(), FixedObject(Bytes()).descriptor()});
     }},
    {"APageThatIsEmpty", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(),
            {FixedObject(0).descriptor(), FixedObject(Bytes()).descriptor()});
     }},
    {"APageForReading", RSMERR_PERM_DENIED,
     [](const os::PacketConnection& connection) {
       const os::MemoryObject page = GoodPage();
       Send(connection, GoodReply(),
            {os::ReopenForReading(page.descriptor())->get(), FixedObject(Bytes()).descriptor()});
     }},
    {"ADeadPage", RSMERR_CONN_ABORTED,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(),
            {FixedObject(kConnectionPageBytes).descriptor(), FixedObject(Bytes()).descriptor()});
     }},
    {"AnObjectForReading", RSMERR_PERM_DENIED,
     [](const os::PacketConnection& connection) {
       const os::MemoryObject object = FixedObject(Bytes());
       Send(connection, GoodReply(),
            {GoodPage().descriptor(), os::ReopenForReading(object.descriptor())->get()});
     }},
    {"ASocketForTheObject", RSMERR_INSUFFICIENT_MEM,
     [](const os::PacketConnection& connection) {
       Send(connection, GoodReply(), {GoodPage().descriptor(), connection.descriptor()});
     }},
    {"ASysVSegmentThatIsNone", RSMERR_INSUFFICIENT_MEM,
     [](const os::PacketConnection& connection) {
       Reply reply = GoodReply();
       reply.sysv = 0x7FFFFFFF;
       reply.sysv_namespace = os::SysVNamespace();
       Send(connection, reply, {GoodPage().descriptor()});
     }},
};

class RsmFalseExporter : public testing::TestWithParam<FalseAnswer> {};

TEST_P(RsmFalseExporter, IsFoundOutAndNothingOfItIsKept) {
  const Folder folder;
  const OtherProcess exporter([&](const Line& line) { AnswerAll(line, GetParam()); });
  ASSERT_EQ(exporter.Hear(), 1u);
  (void)test_support::RsmController();
  const size_t descriptors = CountDescriptors();
  rsm_memseg_import_handle_t import = nullptr;
  for (int i = 0; i < 3; ++i) {
    const int code = Connect(import);
    // What is no shared memory here has a number there, or the other way round.
    if (GetParam().code == RSMERR_INSUFFICIENT_MEM && code != GetParam().code) {
      EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, code));
    } else {
      EXPECT_TRUE(FailsWith(GetParam().code, code));
    }
    EXPECT_EQ(import, nullptr);
    EXPECT_EQ(CountDescriptors(), descriptors);
    EXPECT_EQ(CountMappedObjects(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(RsmHostileExporter, RsmFalseExporter, testing::ValuesIn(kFalseAnswers),
                         [](const testing::TestParamInfo<FalseAnswer>& test) {
                           return std::string(test.param.name);
                         });

// Of memory of shmget(2) that is there. In a child: what is mapped wrongly may kill who uses it.
TEST(RsmHostileExporter, OfAnOddPartOfASysVSegmentIsFoundOut) {
  const Folder folder;
  const SysVSegment memory(2 * kPages);
  const std::function<void(Reply&)> changes[] = {[](Reply& reply) { reply.offset = 8; },
                                                 [](Reply& reply) { --reply.bytes; },
                                                 [](Reply& reply) { reply.bytes = 8; }};
  for (const auto& change : changes) {
    const FalseAnswer answer = {"", RSMERR_CONN_ABORTED,
                                [&](const os::PacketConnection& connection) {
                                  Reply reply = GoodReply();
                                  reply.sysv = memory.number();
                                  reply.sysv_namespace = os::SysVNamespace();
                                  change(reply);
                                  Send(connection, reply, {GoodPage().descriptor()});
                                }};
    {
      const OtherProcess exporter([&](const Line& line) { AnswerAll(line, answer); });
      ASSERT_EQ(exporter.Hear(), 1u);
      RunInChild([&] {
        rsm_memseg_import_handle_t import = nullptr;
        const size_t attachments = memory.CountAttachments();
        EXPECT_TRUE(FailsWith(answer.code, Connect(import)));
        EXPECT_EQ(memory.CountAttachments(), attachments);
      });
    }
    ASSERT_EQ(unlink(kSocket), 0);
  }
}

TEST(RsmHostileExporter, ThatNeverAnswersIsUnreachable) {
  const Folder folder;
  const OtherProcess exporter([&](const Line& line) {
    const os::Result<os::PacketListener> listener = os::PacketListener::Listen(kSocket);
    ASSERT_TRUE(listener.ok()) << listener.error().Name();
    line.Say(1);
    (void)line.Hear();
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  rsm_memseg_import_handle_t import = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_REMOTE_NODE_UNREACHABLE, Connect(import)));
}

}  // namespace
