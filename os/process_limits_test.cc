#include "os/process_limits.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <string>

#include "os/fake_tree.h"
#include "os/limits.h"
#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;
using testing::FakeTree;

void WriteProcess(FakeTree& tree) {
  tree.Write("/proc/77/status",
             "Name:\tmy db\nUid:\t1000\t1001\t1000\t1000\nNSpid:\t77\t5\nVmLck:\t      12 kB\n"
             "CapInh:\t0000000000000000\nCapEff:\t0000000000004000\n");
  tree.Write("/proc/77/limits",
             "Limit                     Soft Limit           Hard Limit           Units     \n"
             "Max resident set          4096                 unlimited            bytes     \n"
             "Max locked memory         65536                8388608              bytes     \n");
  tree.Write("/proc/77/uid_map", "         0          0 4294967295\n");
  tree.Write("/proc/77/maps", "55a0-55b0 r-xp 0 0:0 0 /x\nff00-ff10 --xp 0 00:00 0 [vsyscall]\n");
}

TEST(ReadProcessLimits, ReadsWhatTheKernelShows) {
  FakeTree tree;
  WriteProcess(tree);
  const Result<ProcessLimits> limits = ReadProcessLimits(77, tree.proc());
  ASSERT_TRUE(limits.ok());
  EXPECT_EQ(limits->pid, 77);
  EXPECT_EQ(limits->name, "my db");
  EXPECT_EQ(limits->uid, 1001u);
  EXPECT_EQ(limits->namespace_pids, (std::vector<int>{77, 5}));
  EXPECT_TRUE(limits->has_memory);
  ASSERT_TRUE(limits->memlock.has_value());
  EXPECT_EQ(limits->memlock->soft, 65536u);
  EXPECT_EQ(limits->memlock->hard, 8388608u);
  ASSERT_TRUE(limits->rss.has_value());
  EXPECT_EQ(limits->rss->soft, 4096u);
  EXPECT_EQ(limits->rss->hard, std::nullopt);
  EXPECT_EQ(limits->locked_bytes, 12u * 1024);
  EXPECT_EQ(limits->claims_lock_capability, true);
  EXPECT_EQ(limits->in_initial_user_namespace, true);
  EXPECT_EQ(limits->mappings, 1u);
}

TEST(ReadProcessLimits, AUserNamespaceIsKnownByItsMap) {
  FakeTree tree;
  WriteProcess(tree);
  tree.Write("/proc/77/uid_map", "         0       1000          1\n");
  EXPECT_EQ(ReadProcessLimits(77, tree.proc())->in_initial_user_namespace, false);
}

TEST(ReadProcessLimits, WhatCannotBeReadIsUnknown) {
  FakeTree tree;
  tree.Write("/proc/77/status", "Name:\tkthread\nUid:\tx\nCapEff:\t-\n");
  tree.Write("/proc/77/limits", "Max locked memory         many  few bytes\n");
  tree.Write("/proc/77/maps", "");
  const Result<ProcessLimits> limits = ReadProcessLimits(77, tree.proc());
  ASSERT_TRUE(limits.ok());
  EXPECT_FALSE(limits->has_memory);
  EXPECT_EQ(limits->uid, std::nullopt);
  EXPECT_FALSE(limits->memlock.has_value());
  EXPECT_EQ(limits->locked_bytes, std::nullopt);
  EXPECT_EQ(limits->claims_lock_capability, std::nullopt);
  EXPECT_EQ(limits->shares_user_namespace, std::nullopt);
  EXPECT_EQ(limits->mappings, std::nullopt);
}

TEST(ReadProcessLimits, WithoutAStatusItCannotTellWhetherThereIsMemory) {
  FakeTree tree;
  tree.Write("/proc/77/maps", "");
  EXPECT_TRUE(ReadProcessLimits(77, tree.proc())->has_memory);
}

TEST(ReadProcessLimits, KnowsThatThereIsNone) {
  EXPECT_EQ(ReadProcessLimits(78, FakeTree().proc()).error(), Errno(ENOENT));
  EXPECT_EQ(ReadProcessLimits(2'000'000'000).error(), Errno(ENOENT));
}

TEST(ReadProcessLimits, OfThisProcessIsWhatItSeesItself) {
  const Result<ProcessLimits> limits = ReadProcessLimits(getpid());
  ASSERT_TRUE(limits.ok());
  ASSERT_TRUE(limits->memlock.has_value());
  EXPECT_EQ(limits->memlock->soft, MemlockLimit().soft);
  EXPECT_EQ(limits->memlock->hard, MemlockLimit().hard);
  EXPECT_EQ(limits->locked_bytes, *LockedBytes());
  EXPECT_EQ(limits->claims_lock_capability, *ClaimsLockCapability());
  EXPECT_EQ(limits->in_initial_user_namespace, *InInitialUserNamespace());
  EXPECT_EQ(limits->shares_user_namespace, true);
  EXPECT_EQ(limits->uid, geteuid());
  EXPECT_GT(limits->mappings.value_or(0), 0u);
}

TEST(ReadProcessLimits, SeesThatAnotherUserNamespaceIsAnother) {
  const pid_t parent = getpid();
  RunInChild({.namespaces = CLONE_NEWUSER}, [parent] {
    const Result<ProcessLimits> limits = ReadProcessLimits(parent);
    ASSERT_TRUE(limits.ok());
    // The link may not be read from within; where it may, it differs.
    EXPECT_NE(limits->shares_user_namespace, true);
    EXPECT_EQ(ReadProcessLimits(getpid())->in_initial_user_namespace, false);
  });
}

TEST(UserName, IsThatOfTheSystem) {
  EXPECT_EQ(UserName(0), "root");
  EXPECT_EQ(UserName(3'999'999'999), "");
}

}  // namespace
}  // namespace os
