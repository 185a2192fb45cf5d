// Children of fork(3) that stay: what they have of their parent's keeps nobody from anything.

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/shared_memory.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::CountMappedObjects;
using test_support::Create;
using test_support::FailsWith;
using test_support::kSegment;
using test_support::Line;
using test_support::MapInstead;
using test_support::MemoryFile;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TaggedMemory;

constexpr size_t kPages = 2;

// --- Descriptors ----------------------------------------------------------------------------------

// That this process has open, of files whose names begin so.
size_t CountDescriptorsOf(std::string_view name) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir("/proc/self/fd"), closedir);
  if (entries == nullptr) {
    ADD_FAILURE() << std::strerror(errno);
    return 0;
  }
  size_t count = 0;
  while (const dirent* const entry = readdir(entries.get())) {
    char target[256];
    const ssize_t length = readlinkat(dirfd(entries.get()), entry->d_name, target, sizeof(target));
    if (length < 0) continue;  // "." and ".."
    count += std::string_view(target, static_cast<size_t>(length)).starts_with(name);
  }
  return count;
}

TEST(RsmFork, LeavesTheChildNeitherTheObjectNorItsDescriptor) {
  const RsmFolder folder;
  RunInChild([] {
    TaggedMemory memory(kPages, 1), other(kPages, 2);
    rsm_memseg_export_handle_t segment = nullptr, unpublished = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    ASSERT_TRUE(Succeeds(Create(unpublished, other.address(), other.bytes())));
    EXPECT_GE(CountDescriptorsOf("/memfd:rsm"), 2u);
    RunInChild([] {
      EXPECT_EQ(CountDescriptorsOf("/memfd:rsm"), 0u);
      EXPECT_EQ(CountMappedObjects(), 0u);
    });
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(unpublished)));
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    EXPECT_EQ(CountDescriptorsOf("/memfd:rsm"), 0u);
  });
}

TEST(RsmFork, LeavesTheChildOfAnImporterNoDescriptor) {
  const RsmFolder folder;
  const OtherProcess exporter([](const Line& line) {
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    line.Say(1);
    (void)line.Hear();
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  RunInChild([] {
    rsm_memseg_import_handle_t import = nullptr;
    ASSERT_TRUE(Succeeds(Connect(import)));
    EXPECT_GE(CountDescriptorsOf("/memfd:rsm"), 1u);
    RunInChild([] { EXPECT_EQ(CountDescriptorsOf("/memfd:rsm"), 0u); });
    uint64_t word = 0;
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)))
        << "the parent has it still";
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  });
}

// The program's own descriptor is the program's business; what the library has of it is not.
TEST(RsmFork, LeavesTheChildNoDescriptorOfMemoryThatWasSharedBefore) {
  const RsmFolder folder;
  RunInChild([] {
    const TaggedMemory memory(kPages, 1);
    os::OwnedDescriptor file = MemoryFile(kPages);
    MapInstead(memory.mapping(), kPages, file.get(), MAP_SHARED);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes(), 0)));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    RunInChild([] { EXPECT_EQ(CountDescriptorsOf("/memfd:test"), 1u) << "the program's"; });
    file = os::OwnedDescriptor();
    EXPECT_EQ(CountDescriptorsOf("/memfd:test"), 1u) << "the library's";
    RunInChild([] { EXPECT_EQ(CountDescriptorsOf("/memfd:test"), 0u); });
    rsm_memseg_import_handle_t import = nullptr;
    EXPECT_TRUE(Succeeds(Connect(import))) << "it serves whoever comes";
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
}

// --- Locks ----------------------------------------------------------------------------------------

// A socket at a segment's name, in the working directory, that nobody listens at, as a killed exporter
// leaves it. False: the test has failed.
bool LeaveDeadName() {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  (void)std::snprintf(address.sun_path, sizeof(address.sun_path), "%08x", kSegment);
  const os::OwnedDescriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  const bool is_made = bind(made.get(), name, sizeof(address)) == 0;
  EXPECT_TRUE(is_made) << std::strerror(errno);
  return is_made;
}

// That does nothing, and dies with its parent.
void MakeIdleChild() {
  const pid_t child = fork();
  ASSERT_GE(child, 0) << std::strerror(errno);
  if (child > 0) return;
  syscall(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL);
  for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);
}

// Who connects to a dead name takes it away, for which he locks others out.
TEST(RsmFork, WhileAThreadTakesDeadNamesAwayKeepsNobodyFromPublishing) {
  constexpr int kChildren = 100;
  const RsmFolder folder;
  OtherProcess importer([&](const Line& line) {
    ASSERT_EQ(chdir(folder.path().c_str()), 0);  // paths of sockets must be short
    (void)test_support::RsmController();
    std::atomic<bool> ends = false;
    std::atomic<int> rounds = 0;
    std::thread connecting([&] {
      for (; !ends.load() && LeaveDeadName(); ++rounds) {
        rsm_memseg_import_handle_t none = nullptr;
        EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, Connect(none)));
      }
    });
    EXPECT_TRUE(test_support::Eventually([&] { return rounds.load() > 0; }));
    for (int i = 0; i < kChildren; ++i) MakeIdleChild();
    line.Say(1);
    (void)line.Hear();
    ends.store(true);
    connecting.join();
  });
  ASSERT_EQ(importer.Hear(), 1u);
  RunInChild([] {
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
    EXPECT_TRUE(Succeeds(Publish(segment, kSegment + 1)));
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  // Its thread may be waiting as well.
  if (testing::Test::HasFailure()) importer.Kill();
}

}  // namespace
