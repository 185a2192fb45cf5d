// Processes of other users, in a folder that all may write to: they get what is meant for them, and can
// neither end nor delay anybody.

#include <fcntl.h>
#include <grp.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "os/memory_object.h"
#include "os/packet_socket.h"
#include "os/shared_mapping.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"
#include "tests/process/rsm_false_exporter.h"
#include "tests/process/rsm_honest_exporter.h"
#include "tests/process/rsm_raw_importer.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/shared_memory.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using hostile::AnswerAll;
using hostile::AskFor;
using hostile::AttackForReading;
using hostile::Bytes;
using hostile::BytesOf;
using hostile::Exporter;
using hostile::FalseAnswer;
using hostile::FixedObject;
using hostile::Folder;
using hostile::GoodPage;
using hostile::GoodReply;
using hostile::kPages;
using hostile::kSocket;
using hostile::kTag;
using hostile::LooseObject;
using hostile::RawImporter;
using hostile::Send;
using rsm::internal::Reply;
using rsm::internal::Request;
using test_support::Connect;
using test_support::CountDescriptors;
using test_support::Create;
using test_support::FailsWith;
using test_support::kSegment;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::SysVSegment;
using test_support::TaggedMemory;

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

// --- Memory of shmget(2) -------------------------------------------------------------------------

constexpr char kSecret[] = "not for him";

// With the number of memory that its importer may use, and the exporter may not.
TEST_F(RsmHostileUser, CannotLendAnImporterMemoryOfItsOwn) {
  for (const uid_t user : {getuid(), kOtherUser}) {
    SCOPED_TRACE(user);
    const SysVSegment memory(kPages);
    std::memcpy(memory.page(0), kSecret, sizeof(kSecret));
    shmid_ds owner = {};
    owner.shm_perm.uid = user;
    owner.shm_perm.gid = user;
    owner.shm_perm.mode = 0600;
    ASSERT_EQ(shmctl(memory.number(), IPC_SET, &owner), 0) << std::strerror(errno);
    const FalseAnswer answer = {"", RSMERR_CONN_ABORTED,
                                [&](const os::PacketConnection& connection) {
                                  Reply reply = GoodReply();
                                  reply.sysv = memory.number();
                                  reply.sysv_namespace = os::SysVNamespace();
                                  Send(connection, reply, {GoodPage().descriptor()});
                                }};
    {
      const OtherProcess exporter([&](const Line& line) {
        ASSERT_TRUE(Become(kUser));
        ASSERT_EQ(shmat(memory.number(), nullptr, SHM_RDONLY), reinterpret_cast<void*>(-1));
        AnswerAll(line, answer);
      });
      ASSERT_EQ(exporter.Hear(), 1u);
      RunInChild([&] {
        ASSERT_TRUE(user == getuid() || Become(user));
        const size_t attachments = memory.CountAttachments();
        for (const rsm_permission_t permission : {0400u, 0200u, 0600u}) {
          rsm_memseg_import_handle_t import = nullptr;
          const int code = Connect(import, permission);
          EXPECT_TRUE(code == RSMERR_CONN_ABORTED || code == RSMERR_PERM_DENIED) << code;
          char text[sizeof(kSecret)] = {}, spoilt[] = "spoilt";
          EXPECT_NE(rsm_memseg_import_get(import, 0, text, sizeof(text)), RSM_SUCCESS) << text;
          EXPECT_NE(rsm_memseg_import_put(import, 0, spoilt, sizeof(spoilt)), RSM_SUCCESS);
          EXPECT_EQ(memory.CountAttachments(), attachments);
        }
      });
    }
    EXPECT_STREQ(reinterpret_cast<const char*>(memory.page(0)), kSecret);
    ASSERT_EQ(unlink(kSocket), 0);
  }
}

// A third user's, whose mode is for all: it is the exporter's to lend.
TEST_F(RsmHostileUser, LendsMemoryOfSomebodyElseThatHeMayUse) {
  const SysVSegment memory(kPages);
  shmid_ds owner = {};
  owner.shm_perm.mode = 0666;
  ASSERT_EQ(shmctl(memory.number(), IPC_SET, &owner), 0) << std::strerror(errno);
  std::memcpy(memory.page(0), kSecret, sizeof(kSecret));
  const OtherProcess exporter([&](const Line& line) {
    ASSERT_TRUE(Become(kUser));
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.page(0), Bytes(), 0)));
    ASSERT_TRUE(Succeeds(Publish(segment, kSegment, 0666)));
    line.Say(1);
    (void)line.Hear();
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  for (const uid_t user : {getuid(), kUser, kOtherUser}) {
    RunInChild([&] {
      ASSERT_TRUE(user == getuid() || Become(user));
      rsm_memseg_import_handle_t import = nullptr;
      char text[sizeof(kSecret)] = {}, changed[] = "changed";
      ASSERT_TRUE(Succeeds(Connect(import)));
      EXPECT_TRUE(Succeeds(rsm_memseg_import_get(import, 0, text, sizeof(text))));
      EXPECT_STREQ(text, kSecret);
      EXPECT_TRUE(Succeeds(rsm_memseg_import_put(import, static_cast<off_t>(Bytes() / 2), changed,
                                                 sizeof(changed))));
      EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
    });
    EXPECT_STREQ(reinterpret_cast<const char*>(memory.page(kPages / 2)), "changed");
    std::memset(memory.page(kPages / 2), 0, sizeof("changed"));
  }
}

// --- Names ---------------------------------------------------------------------------------------

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

// Whether rsm_error() has one of the words.
testing::AssertionResult TellsOfOneOf(const std::vector<std::string>& words) {
  const std::string text = rsm_error();
  for (const std::string& word : words) {
    if (text.find(word) != text.npos) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << text;
}

// Whoever makes the lock of another user first keeps him from publishing there, but not waiting: he is
// told of what is in the way, and who can take it away.
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
      EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, Publish(segment), folder_.path() + "/" + name));
      EXPECT_TRUE(TellsOfOneOf({"root", "superuser", "administrator", std::to_string(kUser)}));
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
