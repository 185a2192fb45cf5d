#include "pinlock/internal/failure.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace pinlock::internal {
namespace {

struct Expectation {
  Cause cause;
  int error;
  std::vector<const char*> words;  // cause and cure
};

const std::vector<Expectation>& Expectations() {
  static const std::vector<Expectation> all = {
      {Cause::kRangeWraps, EINVAL, {"beyond the address space", "check address and length"}},
      {Cause::kHole, EINVAL, {"0x7000", "not mapped", "map the whole range"}},
      {Cause::kInaccessible, EINVAL, {"0x7000", "PROT_NONE", "mprotect"}},
      {Cause::kPastEndOfFile, EINVAL, {"0x7000", "past the end of its file", "extend"}},
      {Cause::kNotLockable, EINVAL, {"0x7000", "never locks"}},
      {Cause::kNotPinned, EINVAL, {"0x7000", "not pinned", "needs an mpin"}},
      {Cause::kNoResult, EINVAL, {"NULL"}},
      {Cause::kLimit,
       ENOMEM,
       {"RLIMIT_MEMLOCK", "64 KiB allowed", "60 KiB locked", "8 KiB more asked for",
        "ulimit -l 68"}},
      {Cause::kLimitZero, ENOMEM, {"RLIMIT_MEMLOCK is 0", "8 KiB asked for", "ulimit -l"}},
      {Cause::kPageLimit,
       ENOMEM,
       {"PLOCK_MAX", "64 KiB allowed", "60 KiB pinned", "mpin_set_max_pages"}},
      {Cause::kRssLimit, ENOMEM, {"RLIMIT_RSS", "64 KiB allowed", "ulimit -m 68"}},
      {Cause::kCountFull, EAGAIN, {"0x7000", "as often as can be counted", "munpin"}},
      {Cause::kTooManyMappings, EAGAIN, {"vm.max_map_count", "65530", "sysctl", "131060"}},
      {Cause::kNoMemory, EAGAIN, {"no memory for 8 KiB more", "cgroup", "raise"}},
      {Cause::kNoHeadroom,
       EAGAIN,
       {"/app/one", "room for 4 KiB more", "128 KiB in all", "124 KiB used", "8 KiB are asked for",
        "kills a process", "memory.max", "--memory"}},
      {Cause::kNoTableMemory, EAGAIN, {"page counters", "free some"}},
      {Cause::kNoPagemap, ENOENT, {"/proc/self/pagemap", "Permission denied", "mounted"}},
      {Cause::kFileSystemFull, ENOSPC, {"0x7000", "no space left on the file system"}},
      {Cause::kBusy, EBUSY, {"thread 4711", "0x7000", "mpin_io_end", "try again"}},
      {Cause::kNoIo, EINVAL, {"has not begun I/O", "mpin_io_begin"}},
      {Cause::kOverlap, EINVAL, {"overlap", "mremap(2)"}},
  };
  return all;
}

Failure Example(Cause cause) {
  Failure failure;
  failure.cause = cause;
  failure.error = cause == Cause::kNoPagemap ? os::Errno(EACCES) : ErrnoOf(cause);
  failure.operation = Operation::kLock;
  failure.address = 0x6ffe;
  failure.bytes = 8191;
  failure.where = 0x7000;
  failure.bytes_needed = 8192;
  failure.bytes_held = 60 * 1024;
  failure.limit_soft = 64 * 1024;
  failure.limit_hard = Failure::kUnlimited;
  failure.mappings_max = 65530;
  failure.thread = 4711;
  failure.headroom.bound = os::Headroom::Bound::kCgroupV2;
  failure.headroom.bytes = 4096;
  failure.headroom.limit_bytes = 128 * 1024;
  failure.headroom.used_bytes = 124 * 1024;
  std::strcpy(failure.headroom.group.data(), "/app/one");
  return failure;
}

std::string TextOf(const Failure& failure) {
  std::array<char, 1024> text;
  text.fill('#');
  Describe(failure, text);
  return text.data();
}

TEST(Failure, NoCauseIsSuccessAndWordless) {
  EXPECT_EQ(ErrnoOf(Cause::kNone), os::kSuccess);
  EXPECT_EQ(TextOf(Failure()), "");
}

TEST(Failure, EveryCauseIsExpectedHere) {
  ASSERT_EQ(Expectations().size(), static_cast<size_t>(Cause::kOverlap));
  for (size_t i = 0; i < Expectations().size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(Expectations()[i].cause), i + 1);
  }
}

TEST(Failure, EveryCauseHasItsErrno) {
  for (const Expectation& expected : Expectations()) {
    EXPECT_EQ(ErrnoOf(expected.cause), os::Errno(expected.error)) << expected.words[0];
  }
}

TEST(Failure, EveryCauseIsOneLineThatNamesTheRequestTheCauseAndTheCure) {
  for (const Expectation& expected : Expectations()) {
    const std::string text = TextOf(Example(expected.cause));
    EXPECT_TRUE(text.starts_with("mpin of 8191 bytes at 0x6ffe: ")) << text;
    for (const char* words : expected.words) EXPECT_NE(text.find(words), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_EQ(text.find('#'), std::string::npos) << text;
    EXPECT_LT(text.size(), 700u) << text;
  }
}

TEST(Failure, NamesTheCallThatFailed) {
  Failure failure = Example(Cause::kRangeWraps);
  failure.operation = Operation::kUnlock;
  EXPECT_TRUE(TextOf(failure).starts_with("munpin of "));
  failure.operation = Operation::kQuery;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_query of "));
  failure.operation = Operation::kStat;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_get_stat of "));
  failure.operation = Operation::kCheck;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_check of "));
  failure.operation = Operation::kForget;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_forget of "));
  failure.operation = Operation::kMoved;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_moved of "));
  failure.operation = Operation::kRefresh;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_refresh of "));
  failure.operation = Operation::kIoBegin;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_io_begin of "));
  failure.operation = Operation::kIoEnd;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_io_end of "));
  failure.operation = Operation::kSetMaxPages;
  EXPECT_TRUE(TextOf(failure).starts_with("mpin_set_max_pages of "));
}

TEST(Failure, SaysWhereThereIsNoRoom) {
  Failure failure = Example(Cause::kNoHeadroom);
  failure.headroom.bound = os::Headroom::Bound::kCgroupV1;
  EXPECT_NE(TextOf(failure).find("memory.limit_in_bytes"), std::string::npos) << TextOf(failure);
  failure.headroom.bound = os::Headroom::Bound::kSystem;
  const std::string text = TextOf(failure);
  EXPECT_NE(text.find("the machine has room for 4 KiB"), std::string::npos) << text;
  EXPECT_NE(text.find("swap space"), std::string::npos) << text;
  EXPECT_EQ(text.find("cgroup"), std::string::npos) << text;
}

TEST(Failure, AHardLimitThatIsTooLowNeedsAnAdministrator) {
  Failure failure = Example(Cause::kLimit);
  failure.limit_hard = 64 * 1024;
  const std::string text = TextOf(failure);
  EXPECT_EQ(text.find("ulimit -l"), std::string::npos) << text;
  for (const char* words : {"administrator", "hard limit is 64 KiB", "/etc/security/limits.conf",
                            "memlock 68 (KiB)", "LimitMEMLOCK=69632 (bytes)"}) {
    EXPECT_NE(text.find(words), std::string::npos) << words << " in " << text;
  }
}

TEST(Failure, SaysThatAPrivilegeInAUserNamespaceDoesNotCount) {
  Failure failure = Example(Cause::kLimit);
  EXPECT_EQ(TextOf(failure).find("CAP_IPC_LOCK"), std::string::npos);
  failure.privilege_in_namespace_only = true;
  const std::string text = TextOf(failure);
  EXPECT_NE(text.find("CAP_IPC_LOCK"), std::string::npos) << text;
  EXPECT_NE(text.find("user namespace"), std::string::npos) << text;
}

TEST(Failure, IsCutToFitAnyBuffer) {
  for (const Expectation& expected : Expectations()) {
    const Failure failure = Example(expected.cause);
    const std::string whole = TextOf(failure);
    for (size_t size = 0; size <= whole.size() + 1; ++size) {
      std::array<char, 1024> text;
      text.fill('#');
      Describe(failure, std::span(text).first(size));
      ASSERT_EQ(text[size], '#') << "wrote past " << size << " bytes";
      if (size == 0) continue;
      ASSERT_EQ(std::string(text.data()), whole.substr(0, size - 1));
    }
  }
}

}  // namespace
}  // namespace pinlock::internal
