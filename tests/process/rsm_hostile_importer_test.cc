// Importers that do not play by the rules: what they are given can be used for what they have asked, and
// for nothing else, and what they send disturbs nobody.

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"
#include "tests/process/rsm_honest_exporter.h"
#include "tests/process/rsm_raw_importer.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/seed.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using hostile::AskFor;
using hostile::AttackForReading;
using hostile::Bytes;
using hostile::BytesOf;
using hostile::ExpectFixed;
using hostile::Exporter;
using hostile::Folder;
using hostile::kLook;
using hostile::kPost;
using hostile::kSocket;
using hostile::kTag;
using hostile::kWait;
using hostile::RawImporter;
using rsm::internal::ConnectionPage;
using rsm::internal::Question;
using rsm::internal::Request;
using test_support::Connect;
using test_support::Eventually;
using test_support::ImportersOf;
using test_support::kSegment;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::Succeeds;
using test_support::TaggedMemory;

// A segment that nobody may write.
void PublishForReaders(rsm_memseg_export_handle_t segment) {
  EXPECT_TRUE(Succeeds(Publish(segment, kSegment, 0444)));
}
// The same, but writers were allowed before.
void PublishForReadersAfterWriters(rsm_memseg_export_handle_t segment) {
  EXPECT_TRUE(Succeeds(Publish(segment, kSegment, 0666)));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment)));
  PublishForReaders(segment);
}

TEST(RsmHostileImporter, CannotWriteWhereNobodyMay) {
  const Folder folder;
  for (const auto publish : {PublishForReaders, PublishForReadersAfterWriters}) {
    const Exporter exporter(publish);
    AttackForReading(true);
    exporter.ExpectAsBefore();
    exporter.End();
  }
}

// Whoever may write can spoil the contents, and nothing else.
TEST(RsmHostileImporter, WithTheRightToWriteCanNeitherShrinkNorSealIt) {
  const Folder folder;
  const Exporter exporter(0666);
  {
    RawImporter importer;
    ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_RDWR));
    ExpectFixed(importer.object());
    ExpectFixed(importer.link());
    ASSERT_EQ(pwrite(importer.object(), "spoilt", 6, 0), 6);
    EXPECT_EQ(exporter.Ask(kLook), 0u);
    // A hole reads as zeros; nobody is hit by SIGBUS.
    ASSERT_EQ(fallocate(importer.object(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(Bytes())),
              0);
    EXPECT_EQ(exporter.Ask(kLook), 0u);
    const uint64_t word = TaggedMemory::Word(kTag, 0);
    ASSERT_EQ(pwrite(importer.object(), &word, sizeof(word), 0), ssize_t{sizeof(word)});
  }
  exporter.ExpectAsBefore(false);
  exporter.End();
}

// --- The page of the connection --------------------------------------------------------------------

// What an importer may write there, at worst.
void Scribble(ConnectionPage& page, uint32_t value) {
  for (std::atomic<uint32_t>* const word :
       {&page.life, &page.ended, &page.posted_to_importer, &page.taken_by_importer,
        &page.posted_to_exporter, &page.taken_by_exporter}) {
    word->store(value);
  }
}

TEST(RsmHostileImporter, ScribblesOverThePageOfItsConnectionAndSpoilsItsOwnAlone) {
  const Folder folder;
  Exporter exporter(0666);
  const OtherProcess honest([](const Line& line) {
    rsm_memseg_import_handle_t import = nullptr;
    ASSERT_TRUE(Succeeds(Connect(import)));
    line.Say(1);
    while (line.Hear() != Line::kNothing) {
      line.Say(static_cast<uint64_t>(rsm_intr_signal_wait(import, 50'000)));
    }
  });
  ASSERT_EQ(honest.Hear(), 1u);
  std::mt19937 random(static_cast<unsigned>(test_support::TestSeed()));
  std::vector<uint32_t> values = {0,
                                  1,
                                  0x3FFFFFFF,
                                  0x40000000,
                                  0x80000000,
                                  0xFFFFFFFF,
                                  static_cast<uint32_t>(exporter.process().pid())};
  for (int i = 0; i < 10; ++i) values.push_back(static_cast<uint32_t>(random()));
  for (const uint32_t value : values) {
    RawImporter importer;
    ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_RDWR));
    Scribble(*importer.page(), value);
    importer.page()->posted_to_exporter.fetch_add(1);
    EXPECT_EQ(exporter.Ask(kPost), uint64_t{RSM_SUCCESS});
    EXPECT_EQ(exporter.Ask(kWait), uint64_t{RSM_SUCCESS});
    honest.Say(1);
    EXPECT_EQ(honest.Hear(), uint64_t{RSM_SUCCESS});
    Scribble(*importer.page(), value);
  }
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 1; })) << ImportersOf();
  // The exporter's death is told to others, and its unpublishing, though a word says something else.
  RawImporter importer;
  ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_RDWR));
  Scribble(*importer.page(), 0x12345678);
  honest.Say(1);
  exporter.process().Kill();
  EXPECT_EQ(honest.Hear(), uint64_t{RSMERR_CONN_ABORTED});
  EXPECT_EQ(importer.page()->life.load(), 0x12345678u) << "the kernel leaves alone what is not his";
}

// --- What is no request ----------------------------------------------------------------------------

std::vector<std::byte> Garbage(std::mt19937& random, size_t bytes) {
  std::vector<std::byte> garbage(bytes);
  for (std::byte& one : garbage) one = static_cast<std::byte>(random());
  return garbage;
}

// sendmsg(2) itself: no bytes, and as many descriptors as the kernel takes. False: the kernel sends
// them to nobody who wants none (EPERM, since Linux 6.16).
bool SendRaw(int socket, size_t bytes, const std::vector<int>& descriptors) {
  const size_t descriptor_bytes = descriptors.size() * sizeof(int);
  std::vector<std::byte> message(bytes);
  std::vector<std::byte> control(CMSG_SPACE(descriptor_bytes));
  iovec part = {message.data(), message.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptor_bytes);
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptor_bytes);
  const ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  if (sent < 0 && errno == EPERM) return false;
  EXPECT_EQ(sent, static_cast<ssize_t>(bytes)) << std::strerror(errno);
  return true;
}

int ConnectSocket() {
  const int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, kSocket, sizeof(kSocket));
  EXPECT_EQ(connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0)
      << std::strerror(errno);
  return made;
}

TEST(RsmHostileImporter, SendsGarbageAndIsHungUp) {
  const Folder folder;
  const Exporter exporter(0666);
  std::mt19937 random(static_cast<unsigned>(test_support::TestSeed()));
  for (const size_t bytes : {1u, 4u, 19u, 20u, 21u, 24u, 100u, 4096u, 100'000u}) {
    const RawImporter importer;
    ASSERT_TRUE(importer.Send(Garbage(random, bytes)).ok());
    EXPECT_TRUE(importer.IsHungUp()) << bytes << " bytes";
  }
  for (size_t bytes = 1; bytes < sizeof(Request); ++bytes) {
    const RawImporter importer;
    const Request request = AskFor(RSM_PERM_READ);
    ASSERT_TRUE(importer.Send(BytesOf(request).first(bytes)).ok());
    EXPECT_TRUE(importer.IsHungUp()) << "the first " << bytes << " bytes of a request";
  }
  exporter.ExpectAsBefore();
  exporter.End();
}

TEST(RsmHostileImporter, SendsRequestsOfAnotherKindAndIsHungUpOrRefused) {
  const Folder folder;
  const Exporter exporter(0666);
  Request magic = AskFor(RSM_PERM_READ), segment = magic, node = magic, question = magic;
  magic.magic = ~magic.magic;
  segment.segment = kSegment + 1;
  for (const Request& request : {magic, segment}) {
    const RawImporter importer;
    ASSERT_TRUE(importer.Send(BytesOf(request)).ok());
    EXPECT_TRUE(importer.IsHungUp());
  }
  question.question = static_cast<Question>(99);
  {
    RawImporter importer;
    ASSERT_TRUE(importer.Send(BytesOf(question)).ok());
    EXPECT_TRUE(importer.IsHungUp()) << "no such question";
  }
  node.node = 99;
  RawImporter importer;
  ASSERT_TRUE(importer.Send(BytesOf(node)).ok());
  ASSERT_NO_FATAL_FAILURE(importer.Hear());
  EXPECT_EQ(importer.reply().error, RSMERR_SEG_NOT_PUBLISHED_TO_NODE);
  exporter.ExpectAsBefore();
  exporter.End();
}

TEST(RsmHostileImporter, SendsDescriptorsThatNobodyKeeps) {
  const Folder folder;
  const Exporter exporter(0666);
  constexpr size_t kScmMax = 253;
  for (const size_t count : {size_t{1}, size_t{8}, size_t{9}, kScmMax}) {
    for (const size_t bytes : {size_t{0}, size_t{1}, sizeof(Request), size_t{5000}}) {
      const os::OwnedDescriptor socket(ConnectSocket());
      (void)SendRaw(socket.get(), bytes, std::vector<int>(count, STDIN_FILENO));
      Exporter::ExpectServes();
    }
    RawImporter importer;
    const Request request = AskFor(RSM_PERM_READ);
    std::vector<int> descriptors(std::min<size_t>(count, 8), STDIN_FILENO);
    const os::Errno error = importer.Send(BytesOf(request), descriptors);
    if (error == os::Errno(EPERM)) continue;  // as SendRaw
    ASSERT_TRUE(error.ok()) << error.Name();
    ASSERT_NO_FATAL_FAILURE(importer.Hear());
    EXPECT_EQ(importer.reply().error, RSM_SUCCESS) << "it is a request all the same";
  }
  exporter.ExpectAsBefore();
  exporter.End();
}

// A TCP connection whose last descriptor is closed by nobody in a hurry: what was written to it is waited
// for, and is never read.
class LingeringConnection {
 public:
  static constexpr int kSeconds = 300;

  LingeringConnection()
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        connection_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), name, length), 0) << std::strerror(errno);
    EXPECT_EQ(getsockname(listener_.get(), name, &length), 0) << std::strerror(errno);
    EXPECT_EQ(listen(listener_.get(), 1), 0) << std::strerror(errno);
    EXPECT_EQ(connect(connection_.get(), name, length), 0) << std::strerror(errno);
    const std::vector<std::byte> bytes(1 << 16);
    while (send(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
    EXPECT_EQ(errno, EAGAIN);
    const linger option = {1, kSeconds};
    EXPECT_EQ(setsockopt(connection_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof(option)), 0);
  }
  // Resets the connection first: nobody waits any more.
  ~LingeringConnection() { listener_ = os::OwnedDescriptor(); }
  int descriptor() const { return connection_.get(); }
  void CloseDescriptor() { connection_ = os::OwnedDescriptor(); }

 private:
  os::OwnedDescriptor listener_, connection_;
};

TEST(RsmHostileImporter, SendsTheLastDescriptorOfAConnectionThatLingersAndHoldsNobodyUp) {
  const Folder folder;
  const Exporter exporter(0600);
  LingeringConnection lingering;
  const os::OwnedDescriptor socket(ConnectSocket());
  const bool is_sent = SendRaw(socket.get(), 1, {lingering.descriptor()});
  if (is_sent) {
    lingering.CloseDescriptor();
    EXPECT_TRUE(Eventually([&] {
      int bytes_on_the_way = 1;
      return ioctl(socket.get(), TIOCOUTQ, &bytes_on_the_way) == 0 && bytes_on_the_way == 0;
    })) << "nobody takes it";
  }
  ASSERT_EQ(exporter.Ask(kPost), uint64_t{RSM_SUCCESS});
  if (is_sent) return;  // before anybody closed it
  Exporter::ExpectServes();
  exporter.End();
}

TEST(RsmHostileImporter, AsksTwiceAndIsHungUp) {
  const Folder folder;
  const Exporter exporter(0666);
  RawImporter importer;
  ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_RDWR));
  const Request request = AskFor(RSM_PERM_RDWR);
  ASSERT_TRUE(importer.Send(BytesOf(request)).ok());
  EXPECT_TRUE(importer.IsHungUp());
  exporter.ExpectAsBefore();
  exporter.End();
}

TEST(RsmHostileImporter, TakesNoAnswerAndHoldsNobodyUp) {
  const Folder folder;
  const Exporter exporter(0666);
  constexpr size_t kCount = 100;
  std::vector<RawImporter> importers;
  for (size_t i = 0; i < kCount; ++i) {
    importers.emplace_back();
    const Request request = AskFor(RSM_PERM_READ);
    ASSERT_TRUE(importers.back().Send(BytesOf(request)).ok());
  }
  Exporter::ExpectServes();
  EXPECT_TRUE(Eventually([] { return ImportersOf() == kCount; }))
      << ImportersOf() << " of those who have asked";
  importers.clear();
  exporter.ExpectAsBefore();
  exporter.End();
}

TEST(RsmHostileImporter, ConnectsAndNeverAsks) {
  const Folder folder;
  const Exporter exporter(0666);
  constexpr size_t kCount = 200;
  std::vector<RawImporter> importers;
  for (size_t i = 0; i < kCount; ++i) importers.emplace_back();
  for (int i = 0; i < 20; ++i) Exporter::ExpectServes();
  // They are dropped some time, though they are still there.
  exporter.ExpectAsBefore();
  for (const RawImporter& importer : importers) EXPECT_TRUE(importer.IsHungUp());
  exporter.End();
}

}  // namespace
