// Importers and exporters that do not play by the rules: they speak the protocol themselves, and do with
// what they are given whatever the kernel lets them do.

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "os/memory_object.h"
#include "os/packet_socket.h"
#include "os/shared_mapping.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/seed.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using rsm::internal::ConnectionPage;
using rsm::internal::kConnectionPageBytes;
using rsm::internal::Question;
using rsm::internal::Reply;
using rsm::internal::Request;
using test_support::Connect;
using test_support::CountDescriptors;
using test_support::CountMappedObjects;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::ImportersOf;
using test_support::kSegment;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TaggedMemory;

using Clock = std::chrono::steady_clock;

constexpr size_t kPages = 2;
constexpr uint32_t kTag = 5;
size_t Bytes() { return kPages * test_support::PageSize(); }

constexpr uid_t kUser = 65534, kOtherUser = 65533;

// For the rest of the process. False: it may not.
bool Become(uid_t user) {
  return setgroups(0, nullptr) == 0 && setresgid(user, user, user) == 0 &&
         setresuid(user, user, user) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}
void SkipUnlessOthersCanBe() {
  RunInChild([] {
    if (!Become(kUser)) GTEST_SKIP() << "cannot become another user: " << std::strerror(errno);
  });
}

// Where segments are found, which is the working directory besides: paths of sockets must be short.
class Folder : public test_support::RsmFolder {
 public:
  explicit Folder(const std::string& parent = testing::TempDir()) : RsmFolder(parent) {
    EXPECT_EQ(chdir(path().c_str()), 0);
  }
  ~Folder() { EXPECT_EQ(chdir("/"), 0); }
};
constexpr char kSocket[] = "00500001";  // of kSegment

// --- An exporter, and what is asked of it ----------------------------------------------------------

enum Order : uint64_t { kEnd, kCountDescriptors, kLook, kPost, kWait };

// Publishes a segment, and does what it is told.
void Serve(const Line& line, const std::function<void(rsm_memseg_export_handle_t)>& publish) {
  TaggedMemory memory(kPages, kTag);
  rsm_memseg_export_handle_t segment = nullptr;
  ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
  publish(segment);
  test_support::AwaitIdleThreads();
  line.Say(0);
  for (uint64_t order = line.Hear(); order != Line::kNothing; order = line.Hear()) {
    uint64_t answer = 0;
    switch (order) {
      case kCountDescriptors:
        test_support::AwaitIdleThreads();
        answer = CountDescriptors();
        break;
      case kLook:
        answer = memory.IsIntact() ? 1 : 0;
        break;
      case kPost:
        answer = static_cast<uint64_t>(rsm_intr_signal_post(segment, 0));
        break;
      case kWait:
        answer = static_cast<uint64_t>(rsm_intr_signal_wait(segment, 0));
        break;
      default:
        EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    }
    line.Say(answer);
  }
}

class Exporter {
 public:
  explicit Exporter(int mode)
      : Exporter([mode](rsm_memseg_export_handle_t segment) {
          EXPECT_TRUE(Succeeds(Publish(segment, kSegment, mode)));
        }) {}
  explicit Exporter(const std::function<void(rsm_memseg_export_handle_t)>& publish)
      : process_([&](const Line& line) { Serve(line, publish); }) {
    EXPECT_EQ(process_.Hear(), 0u);
    descriptors_ = Ask(kCountDescriptors);
  }

  uint64_t Ask(Order order) const {
    process_.Say(order);
    return process_.Hear();
  }
  // All importers have gone, whatever they have done: nothing of them is left, and all goes on.
  void ExpectAsBefore(bool is_intact = true) const {
    EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
    EXPECT_TRUE(Eventually([&] { return Ask(kCountDescriptors) == descriptors_; }))
        << Ask(kCountDescriptors) << " descriptors, and " << descriptors_ << " at first";
    if (is_intact) {
      EXPECT_EQ(Ask(kLook), 1u) << "its memory has been changed";
    }
    ExpectServes();
  }
  // Others are served.
  static void ExpectServes() {
    rsm_memseg_import_handle_t import = nullptr;
    uint64_t word = 0;
    ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_READ)));
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
    EXPECT_EQ(word, TaggedMemory::Word(kTag, 0));
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  }
  void End() const { (void)Ask(kEnd); }
  OtherProcess& process() { return process_; }
  const OtherProcess& process() const { return process_; }

 private:
  OtherProcess process_;
  uint64_t descriptors_ = 0;
};

// --- An importer that speaks the protocol itself ---------------------------------------------------

template <typename Message>
std::span<const std::byte> BytesOf(const Message& message) {
  return std::as_bytes(std::span(&message, 1));
}

Request AskFor(rsm_permission_t permission) {
  Request request;
  request.node = 1;
  request.segment = kSegment;
  request.permission = permission;
  return request;
}

class RawImporter {
 public:
  RawImporter() {
    // Many at once may find the queue full.
    EXPECT_TRUE(Eventually([&] {
      os::Result<os::PacketConnection> made = os::PacketConnection::Connect(kSocket);
      if (made.ok()) connection_ = *std::move(made);
      return made.ok() || made.error() != os::Errno(EAGAIN);
    }));
    EXPECT_GE(connection_.descriptor(), 0);
  }
  RawImporter(RawImporter&&) = default;
  ~RawImporter() {
    if (page_ != nullptr) munmap(page_, kConnectionPageBytes);
  }

  os::Errno Send(std::span<const std::byte> message, std::span<const int> descriptors = {}) const {
    return connection_.Send(message, descriptors);
  }
  // Asks, and takes what it is given.
  void Ask(rsm_permission_t permission) {
    const Request request = AskFor(permission);
    ASSERT_TRUE(Send(BytesOf(request)).ok());
    ASSERT_NO_FATAL_FAILURE(Hear());
    ASSERT_EQ(reply_.error, RSM_SUCCESS);
    ASSERT_EQ(files_.size(), 2u);
    void* const page =
        mmap(nullptr, kConnectionPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, files_[0].get(), 0);
    ASSERT_NE(page, MAP_FAILED) << std::strerror(errno);
    page_ = static_cast<ConnectionPage*>(page);
  }
  void Hear() {
    const os::Result<size_t> got =
        connection_.Receive(std::as_writable_bytes(std::span(&reply_, 1)), files_,
                            Clock::now() + std::chrono::seconds(50));
    ASSERT_TRUE(got.ok()) << got.error().Name();
    ASSERT_EQ(*got, sizeof(reply_));
  }
  // Whether the exporter hangs up, in time.
  bool IsHungUp() const {
    Reply reply;
    std::vector<os::OwnedDescriptor> files;
    const os::Result<size_t> got =
        connection_.Receive(std::as_writable_bytes(std::span(&reply, 1)), files,
                            Clock::now() + std::chrono::seconds(50));
    return got.ok() ? *got == 0 : got.error() == os::Errno(ECONNRESET);
  }

  const Reply& reply() const { return reply_; }
  ConnectionPage* page() const { return page_; }
  int link() const { return files_[0].get(); }
  int object() const { return files_[1].get(); }

 private:
  os::PacketConnection connection_;
  Reply reply_;
  std::vector<os::OwnedDescriptor> files_;
  ConnectionPage* page_ = nullptr;
};

bool CanMap(int descriptor, int protection) {
  void* const mapped = mmap(nullptr, Bytes(), protection, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) return false;
  munmap(mapped, Bytes());
  return true;
}

// The same file, opened once more for reading and writing; -1: the kernel refuses.
os::OwnedDescriptor OpenAgain(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  return os::OwnedDescriptor(open(path.c_str(), O_RDWR | O_CLOEXEC));
}

// Of a descriptor by which nobody may change the size.
void ExpectFixed(int descriptor) {
  struct stat before {};
  ASSERT_EQ(fstat(descriptor, &before), 0);
  EXPECT_NE(ftruncate(descriptor, 0), 0);
  EXPECT_NE(ftruncate(descriptor, before.st_size - 1), 0);
  EXPECT_NE(ftruncate(descriptor, before.st_size * 2), 0);
  EXPECT_NE(fallocate(descriptor, 0, before.st_size, 4096), 0);
  // Nor forbid the exporter anything.
  EXPECT_NE(fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_NE(fcntl(descriptor, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  struct stat after {};
  ASSERT_EQ(fstat(descriptor, &after), 0);
  EXPECT_EQ(after.st_size, before.st_size);
}

// By all ways there are, through one descriptor.
void ExpectUnwritable(int descriptor) {
  EXPECT_FALSE(CanMap(descriptor, PROT_READ | PROT_WRITE));
  EXPECT_FALSE(CanMap(descriptor, PROT_WRITE));
  EXPECT_NE(pwrite(descriptor, "x", 1, 0), 1);
  EXPECT_NE(fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_NE(fallocate(descriptor, FALLOC_FL_ZERO_RANGE, 0, 4096), 0);
  void* const view = mmap(nullptr, Bytes(), PROT_READ, MAP_SHARED, descriptor, 0);
  ASSERT_NE(view, MAP_FAILED) << std::strerror(errno);
  EXPECT_NE(mprotect(view, Bytes(), PROT_READ | PROT_WRITE), 0);
  EXPECT_NE(madvise(view, Bytes(), MADV_REMOVE), 0);
  munmap(view, Bytes());
  ExpectFixed(descriptor);
}

// Of what an importer with the right to read is given.
void AttackForReading(bool can_open_again) {
  RawImporter importer;
  ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_READ));
  ExpectUnwritable(importer.object());
  ExpectFixed(importer.link());
  (void)fchmod(importer.object(), 0666);
  const os::OwnedDescriptor again = OpenAgain(importer.object());
  EXPECT_EQ(again.get() >= 0, can_open_again);
  if (again.get() >= 0) ExpectUnwritable(again.get());
}

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

// A folder for all users, as an administrator makes it.
class RsmHostileUser : public testing::Test {
 protected:
  RsmHostileUser() : folder_("/dev/shm") { folder_.SetMode(01777); }
  void SetUp() override { SkipUnlessOthersCanBe(); }
  const Folder folder_;
};

TEST_F(RsmHostileUser, CannotWriteWhatHeMayReadAlone) {
  const Exporter exporter(0644);
  RunInChild([] {
    ASSERT_TRUE(Become(kUser));
    AttackForReading(false);
    RawImporter importer;
    const Request request = AskFor(RSM_PERM_RDWR);
    ASSERT_TRUE(importer.Send(BytesOf(request)).ok());
    importer.Hear();
    EXPECT_EQ(importer.reply().error, RSMERR_PERM_DENIED);
  });
  exporter.ExpectAsBefore();
  exporter.End();
}

TEST_F(RsmHostileUser, GetsNothingOfWhatIsNotForHim) {
  const Exporter exporter(0600);
  RunInChild([] {
    ASSERT_TRUE(Become(kUser));
    const size_t descriptors = CountDescriptors();
    for (const rsm_permission_t permission : {0400u, 0200u, 0600u, 0u, 07777u, ~0u}) {
      RawImporter importer;
      const Request request = AskFor(permission);
      ASSERT_TRUE(importer.Send(BytesOf(request)).ok());
      ASSERT_NO_FATAL_FAILURE(importer.Hear());
      EXPECT_EQ(importer.reply().error, RSMERR_PERM_DENIED) << permission;
      EXPECT_EQ(CountDescriptors(), descriptors + 1) << "the connection alone";
    }
  });
  exporter.ExpectAsBefore();
  exporter.End();
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

// sendmsg(2) itself: no bytes, and as many descriptors as the kernel takes.
void SendRaw(int socket, size_t bytes, size_t descriptor_count) {
  std::vector<std::byte> message(bytes);
  std::vector<std::byte> control(CMSG_SPACE(descriptor_count * sizeof(int)));
  iovec part = {message.data(), message.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptor_count > 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptor_count * sizeof(int));
    std::vector<int> descriptors(descriptor_count, STDIN_FILENO);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptor_count * sizeof(int));
  }
  EXPECT_EQ(sendmsg(socket, &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes))
      << std::strerror(errno);
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
      SendRaw(socket.get(), bytes, count);
      Exporter::ExpectServes();
    }
    RawImporter importer;
    const Request request = AskFor(RSM_PERM_READ);
    std::vector<int> descriptors(std::min<size_t>(count, 8), STDIN_FILENO);
    ASSERT_TRUE(importer.Send(BytesOf(request), descriptors).ok());
    ASSERT_NO_FATAL_FAILURE(importer.Hear());
    EXPECT_EQ(importer.reply().error, RSM_SUCCESS) << "it is a request all the same";
  }
  exporter.ExpectAsBefore();
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

// --- An exporter that is none ----------------------------------------------------------------------

// What a false exporter answers, to a request or at once.
struct FalseAnswer {
  const char* name;
  int code;  // that connect fails with, from an exporter of the same user
  std::function<void(const os::PacketConnection&)> answer;
  friend std::ostream& operator<<(std::ostream& out, const FalseAnswer& one) {
    return out << one.name;
  }
};

os::MemoryObject FixedObject(uint64_t bytes) { return *os::MemoryObject::Create("false", bytes); }
// That can shrink.
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
// A page as it should be, in which the exporter lives.
os::MemoryObject GoodPage() {
  os::MemoryObject page = FixedObject(kConnectionPageBytes);
  const uint32_t life = 1;
  EXPECT_EQ(pwrite(page.descriptor(), &life, sizeof(life), 0), ssize_t{sizeof(life)});
  return page;
}
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
    {"AnOddOffset", RSMERR_INSUFFICIENT_MEM, With([](Reply& reply) { reply.offset = 1; })},
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

// Listens at the number, and answers so whoever comes, until it is hung up.
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

// --- Of another user -------------------------------------------------------------------------------

const FalseAnswer kShrinkingObject = {
    "AnObjectThatCanShrink", RSMERR_CONN_ABORTED, [](const os::PacketConnection& connection) {
      const os::OwnedDescriptor object = LooseObject(Bytes());
      Send(connection, GoodReply(), {GoodPage().descriptor(), object.get()});
      EXPECT_EQ(ftruncate(object.get(), 0), 0);
    }};
const FalseAnswer kShortObject = {
    "AnObjectThatIsShorter", RSMERR_CONN_ABORTED, [](const os::PacketConnection& connection) {
      Send(connection, GoodReply(),
           {GoodPage().descriptor(), FixedObject(Bytes() / 2).descriptor()});
    }};

// It would be killed by SIGBUS, by somebody who has no right to kill it.
TEST_F(RsmHostileUser, CannotHaveAnImporterKilledByAnObjectThatShrinks) {
  for (const FalseAnswer& answer : {kShrinkingObject, kShortObject}) {
    SCOPED_TRACE(answer.name);
    {
      const OtherProcess exporter([&](const Line& line) {
        ASSERT_TRUE(Become(kUser));
        AnswerAll(line, answer);
      });
      ASSERT_EQ(exporter.Hear(), 1u);
      // The superuser, and yet another one.
      for (const uid_t user : {getuid(), kOtherUser}) {
        RunInChild([&] {
          ASSERT_TRUE(user == getuid() || Become(user));
          const size_t descriptors = CountDescriptors();
          rsm_memseg_import_handle_t import = nullptr;
          EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Connect(import, RSM_PERM_READ)));
          EXPECT_EQ(CountDescriptors(), descriptors);
        });
      }
    }
    ASSERT_EQ(unlink(kSocket), 0);
  }
}

// What somebody has put at the name of a segment is neither followed nor taken away by others, and
// leaves nobody waiting. The numbers beside it are free.
TEST_F(RsmHostileUser, SquatsANameAndNothingElse) {
  const std::string name = kSocket, precious = "precious";
  const std::function<void()> squats[] = {
      [&] { EXPECT_GE(open(name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666), 0); },
      [&] { EXPECT_EQ(mkfifo(name.c_str(), 0666), 0); },
      [&] { EXPECT_EQ(mkdir(name.c_str(), 0777), 0); },
      [&] { EXPECT_EQ(symlink(precious.c_str(), name.c_str()), 0); },
      [&] { EXPECT_EQ(symlink("00500002", name.c_str()), 0); },
      [&] { EXPECT_TRUE(os::PacketListener::Listen(name).ok()) << "that nobody listens at"; },
  };
  int which = 0;
  for (const auto& squat : squats) {
    SCOPED_TRACE(which++);
    RunInChild([&] {
      ASSERT_TRUE(Become(kUser));
      squat();
    });
    struct stat before {
    }, after{};
    ASSERT_EQ(lstat(name.c_str(), &before), 0);
    RunInChild([&] {
      ASSERT_TRUE(Become(kOtherUser));
      TaggedMemory memory(kPages, kTag);
      rsm_memseg_export_handle_t segment = nullptr;
      rsm_memseg_import_handle_t import = nullptr;
      ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
      EXPECT_TRUE(FailsWith(RSMERR_SEGID_IN_USE, Publish(segment)));
      EXPECT_TRUE(test_support::IsRsmError(Connect(import)));
      EXPECT_TRUE(Succeeds(Publish(segment, kSegment + 1)));
      EXPECT_TRUE(test_support::IsRsmError(Connect(import))) << "even if it leads there";
      EXPECT_TRUE(Succeeds(Connect(import, RSM_PERM_READ, kSegment + 1)));
      EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
      EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    });
    ASSERT_EQ(lstat(name.c_str(), &after), 0);
    EXPECT_EQ(after.st_ino, before.st_ino);
    EXPECT_NE(access(precious.c_str(), F_OK), 0) << "made through the link";
    ASSERT_EQ(remove(name.c_str()), 0);
  }
}

// Whoever makes the lock of another user first keeps him from publishing there, but not waiting.
TEST_F(RsmHostileUser, SquatsALockAndIsToldOf) {
  const std::string name = ".lock." + std::to_string(kOtherUser);
  const std::function<void()> squats[] = {
      [&] {
        const int file = open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        EXPECT_GE(file, 0);
        EXPECT_EQ(fchmod(file, 0666), 0);
      },
      [&] {
        EXPECT_EQ(mkfifo(name.c_str(), 0666), 0);
        EXPECT_EQ(chmod(name.c_str(), 0666), 0);
      },
      [&] { EXPECT_EQ(symlink("/dev/null", name.c_str()), 0); },
  };
  for (const auto& squat : squats) {
    RunInChild([&] {
      ASSERT_TRUE(Become(kUser));
      squat();
    });
    RunInChild([&] {
      ASSERT_TRUE(Become(kOtherUser));
      TaggedMemory memory(kPages, kTag);
      rsm_memseg_export_handle_t segment = nullptr;
      ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
      EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, Publish(segment)));
      EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    });
    ASSERT_EQ(unlink(name.c_str()), 0);
  }
}

// As long as he likes: the exporter has time for others, whoever they are.
TEST_F(RsmHostileUser, ConnectsAndNeverAsks) {
  const Exporter exporter(0666);
  const OtherProcess hostile([](const Line& line) {
    ASSERT_TRUE(Become(kUser));
    std::vector<RawImporter> importers;
    for (int i = 0; i < 100; ++i) importers.emplace_back();
    line.Say(1);
    (void)line.Hear();
  });
  ASSERT_EQ(hostile.Hear(), 1u);
  RunInChild([] {
    ASSERT_TRUE(Become(kOtherUser));
    for (int i = 0; i < 20; ++i) Exporter::ExpectServes();
  });
  exporter.ExpectAsBefore();
  exporter.End();
}

}  // namespace
