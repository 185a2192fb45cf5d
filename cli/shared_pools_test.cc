// Shared pools as a user of the program meets them.

#include "cli/shared_pools.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "nlohmann/json.hpp"
#include "os/shared_object.h"
#include "tests/support/child.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace cli {
namespace {

using mpool::internal::SharedRegion;
using test_support::Pool;
using test_support::TestFile;

constexpr pgno_t kPageSize = 4096;

SharedPool LivePool() {
  SharedPool pool;
  pool.key = "orders";
  pool.name = "mpool.0.0123456789abcdef.0";
  pool.file = "/srv/orders.db";
  pool.page_size = 8192;
  pool.bytes = 4'300'800;
  pool.participants = 2;
  pool.pids = "12,13";
  pool.valid = true;
  return pool;
}

SharedPool DamagedPool() {
  SharedPool pool;
  pool.name = "mpool.0.fedcba9876543210.0";
  return pool;
}

TEST(Printable, LeavesNothingThatCouldDriveATerminal) {
  EXPECT_EQ(Printable("a key, of 1 ~!"), "a key, of 1 ~!");
  EXPECT_EQ(Printable(std::string("\0\x1b[31m\n\x7f", 8)), "\\x00\\x1b[31m\\x0a\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");
  EXPECT_EQ(Printable("\\x00"), "\\x5cx00") << "not what a byte 0 looks like";
}

TEST(TableOf, ShowsALineForEachPoolInColumns) {
  SharedPool stale = LivePool();
  stale.key = "a\tb";
  stale.page_size = 1000;
  stale.bytes = 0;
  stale.participants = 0;
  stale.pids = "";
  stale.file = "";
  const SharedPool pools[] = {LivePool(), stale, DamagedPool()};
  EXPECT_EQ(TableOf(pools, {}),
            "KEY     NAME                          PAGE     SIZE  PROCS  PIDS   STATE    FILE\n"
            "orders  mpool.0.0123456789abcdef.0   8 KiB  4.1 MiB      2  12,13  live     "
            "/srv/orders.db\n"
            "a\\x09b  mpool.0.0123456789abcdef.0  1000 B      0 B      0  -      stale    -\n"
            "-       mpool.0.fedcba9876543210.0       -      0 B      0  -      damaged  -\n");
}

TEST(TableOf, ShowsPlainBytesAndNoHeadingsIfAsked) {
  const SharedPool pools[] = {LivePool()};
  EXPECT_EQ(TableOf(pools, {.bytes = true, .headings = false}),
            "orders  mpool.0.0123456789abcdef.0  8192  4300800  2  12,13  live  /srv/orders.db\n");
}

TEST(TableOf, ShowsTheColumnsThatAreAskedFor) {
  const std::vector<SharedPool> pools = {LivePool()};
  OutputOptions options;
  options.columns = "state,key";
  EXPECT_EQ(TableOf(pools, options),
            "STATE  KEY\n"
            "live   orders\n");
}

TEST(TableOf, OfNoPoolsIsTheHeadings) {
  EXPECT_EQ(TableOf({}, {}), "KEY  NAME  PAGE  SIZE  PROCS  PIDS  STATE  FILE\n");
  EXPECT_EQ(TableOf({}, {.headings = false}), "");
}

TEST(JsonOf, HasNumbersOfBytesAndTheStates) {
  const SharedPool pools[] = {LivePool(), DamagedPool()};
  const auto expected = nlohmann::json::parse(R"({
    "schema": "mpool.ls/1",
    "pools": [{
      "key": "orders", "key_hex": "6f7264657273", "name": "mpool.0.0123456789abcdef.0",
      "page_bytes": 8192, "memory_bytes": 4300800, "participants": 2, "pids": [12, 13],
      "state": "live", "file": "/srv/orders.db", "file_hex": "2f7372762f6f72646572732e6462"
    }, {
      "key": null, "key_hex": null, "name": "mpool.0.fedcba9876543210.0",
      "page_bytes": null, "memory_bytes": 0, "participants": 0, "pids": [],
      "state": "damaged", "file": null, "file_hex": null
    }]})");
  EXPECT_EQ(nlohmann::json::parse(JsonOf(pools)), expected);
  EXPECT_EQ(nlohmann::json::parse(JsonOf({})),
            nlohmann::json::parse(R"({"schema": "mpool.ls/1", "pools": []})"));
}

TEST(JsonOf, HoldsAnyBytesInAscii) {
  SharedPool pool = LivePool();
  pool.key = std::string("\x1b\0\"\\\xc2\x9b", 6);
  pool.file = "/\xff";
  const SharedPool pools[] = {pool};
  const std::string text = JsonOf(pools);
  for (const char byte : text) EXPECT_TRUE((byte >= ' ' && byte <= '~') || byte == '\n') << text;
  const auto parsed = nlohmann::json::parse(text)["pools"][0];
  EXPECT_EQ(parsed["key"], pool.key);
  EXPECT_EQ(parsed["key_hex"], "1b00225cc29b");
  EXPECT_TRUE(parsed["file"].is_null()) << "it is not UTF-8";
  EXPECT_EQ(parsed["file_hex"], "2fff");
}

TEST(PidsOf, NamesAProcessOnceThatHasThePoolTwice) {
  SharedPool pool = LivePool();
  pool.pids = "12,13,12";
  EXPECT_EQ(PidsOf(pool), (std::vector<int>{12, 13}));
  pool.pids = "";
  EXPECT_EQ(PidsOf(pool), std::vector<int>{});
}

TEST(Meant, IsByNameOrElseByKey) {
  SharedPool other = LivePool();
  other.name = "mpool.0.0123456789abcdef.1";
  other.key = LivePool().name;
  SharedPool escaped = LivePool();
  escaped.name = "mpool.0.0123456789abcdef.2";
  escaped.key = "\n";
  SharedPool backslash = LivePool();
  backslash.name = "mpool.0.0123456789abcdef.3";
  backslash.key = "\\x0a";
  const SharedPool pools[] = {other, LivePool(), escaped, backslash, DamagedPool()};
  const auto names_of = [&pools](std::string_view which) {
    std::string last_digits;
    for (const SharedPool& pool : Meant(which, pools)) last_digits += pool.name.back();
    return last_digits;
  };
  EXPECT_EQ(names_of("orders"), "0");
  EXPECT_EQ(names_of(LivePool().name), "0") << "not the one that has it as its key";
  EXPECT_EQ(names_of("\n"), "2");
  EXPECT_EQ(names_of("\\x0a"), "23") << "a key as it is, and one as it is printed";
  EXPECT_EQ(names_of("\\x5cx0a"), "3");
  EXPECT_EQ(names_of(""), "") << "a damaged pool has no key";
  EXPECT_EQ(names_of("order"), "");
}

TEST(RefusalOf, NamesTheCauseAndTheCure) {
  SharedPool pool = LivePool();
  pool.key = "a\n";
  EXPECT_EQ(
      RefusalOf(pool),
      "the pool a\\x0a is open in processes 12,13; close it there or use --force, which leaves "
      "them their memory but lets nobody else join");
  pool.pids = "12";
  EXPECT_NE(RefusalOf(pool).find("is open in process 12;"), std::string::npos) << RefusalOf(pool);
  const std::string damaged = RefusalOf(DamagedPool());
  EXPECT_NE(damaged.find("mpool.0.fedcba9876543210.0 is damaged"), std::string::npos) << damaged;
  EXPECT_NE(damaged.find("fuser /dev/shm/mpool.0.fedcba9876543210.0"), std::string::npos)
      << damaged;
}

Pool OpenShared(std::string key, int fd) {
  DBT dbt{key.data(), key.size()};
  Pool pool(mpool_open(&dbt, fd, kPageSize, 8));
  EXPECT_NE(pool, nullptr) << mpool_error();
  return pool;
}

// 16 digits for each run: /dev/shm is the machine's, and a sandbox may use process numbers again.
std::string Unique() {
  std::random_device random;
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%08x%08x", random(), random());
  return digits;
}

std::string MakeKey() {
  return std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + "." +
         Unique();
}

// A process that has the pool open until it is killed.
class OtherProcess {
 public:
  OtherProcess(const std::string& key, int fd) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      alarm(60);
      const Pool pool = OpenShared(key, fd);
      if (pool == nullptr || write(ends[1], "", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ends[1]);
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 1) << "the other process could not open the pool";
    close(ends[0]);
  }
  ~OtherProcess() { Kill(); }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// The pool of this key in what ls --json prints; null: there is none.
nlohmann::json ListedAs(const std::string& key) {
  const Outcome ls = RunMpool("ls --json");
  EXPECT_EQ(ls.exit_code, 0) << ls.err;
  EXPECT_EQ(ls.err, "");
  const nlohmann::json all = ExpectValidJson(ls.out, "mpool.ls/1");
  for (const auto& pool : all["pools"]) {
    if (pool["key"] == key) return pool;
  }
  return nullptr;
}

// The line of ls that has the text, with one space between two columns; "": there is none.
std::string LineWith(const std::string& text, const std::string& options = "") {
  const Outcome ls = RunMpool("ls " + options);
  EXPECT_EQ(ls.exit_code, 0) << ls.err;
  EXPECT_EQ(ls.err, "");
  std::istringstream lines(ls.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(text) == std::string::npos) continue;
    const auto both_spaces = [](char a, char b) { return a == ' ' && b == ' '; };
    line.erase(std::unique(line.begin(), line.end(), both_spaces), line.end());
    return line;
  }
  return "";
}

std::string Quoted(const std::string& text) { return "'" + text + "'"; }

void ExpectRm(const std::string& arguments, int exit_code, const std::string& error) {
  const Outcome rm = RunMpool("rm " + arguments);
  EXPECT_EQ(rm.exit_code, exit_code) << arguments << "\n" << rm.err;
  EXPECT_EQ(rm.out, "");
  EXPECT_NE(rm.err.find(error), std::string::npos) << rm.err;
  if (error.empty()) {
    EXPECT_EQ(rm.err, "");
  }
}

class SharedPools : public testing::Test {
 protected:
  static std::string PathOf(const std::string& name) {
    return std::string(SharedRegion::kFolder) + "/" + name;
  }

  const std::string key_ = MakeKey();
  // Of an object that no pool has made.
  const std::string own_name_ = SharedRegion::NamePrefix() + Unique() + ".0";
  const TestFile file_{16, kPageSize};
};

TEST_F(SharedPools, AreListedWhileTheyAreOpen) {
  const std::string path = Temporary("a file");
  std::ofstream(path) << std::string(2 * kPageSize, 'x');
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  {
    const Pool pool = OpenShared(key_, fd);
    const OtherProcess other(key_, -1);
    const auto listed = ListedAs(key_);
    ASSERT_FALSE(listed.is_null());
    EXPECT_EQ(listed["state"], "live");
    EXPECT_EQ(listed["participants"], 2);
    EXPECT_EQ(listed["pids"], nlohmann::json({getpid(), other.pid()}));
    EXPECT_EQ(listed["page_bytes"], kPageSize);
    EXPECT_GE(listed["memory_bytes"], 8 * kPageSize);
    EXPECT_EQ(listed["file"], path);
    EXPECT_EQ(access(PathOf(listed["name"]).c_str(), F_OK), 0);

    const std::string line = LineWith(key_ + " ");
    const std::string pids = std::to_string(getpid()) + "," + std::to_string(other.pid());
    EXPECT_EQ(line.rfind(key_ + " " + listed["name"].get<std::string>() + " 4 KiB ", 0), 0u)
        << line;
    EXPECT_TRUE(line.ends_with("iB 2 " + pids + " live " + path)) << line;
    const std::string plain = LineWith(key_ + " ", "-b -n");
    EXPECT_NE(plain.find(" " + listed["memory_bytes"].dump() + " "), std::string::npos) << plain;
    EXPECT_NE(LineWith("KEY ", "--bytes"), "");
    EXPECT_EQ(LineWith("KEY ", "--bytes --no-headings"), "");
  }
  EXPECT_TRUE(ListedAs(key_).is_null()) << "who leaves last takes it away";
  close(fd);
}

TEST_F(SharedPools, AreOnlyHeadingsWhereThereAreNone) {
  test_support::ChildOptions options;
  options.namespaces = CLONE_NEWUSER | CLONE_NEWNS;
  test_support::RunInChild(options, [] {
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", SharedRegion::kFolder, "tmpfs", 0, nullptr) != 0) {
      GTEST_SKIP() << "/dev/shm cannot be hidden here: " << std::strerror(errno);
    }
    EXPECT_EQ(RunMpool("ls").out, "KEY  NAME  PAGE  SIZE  PROCS  PIDS  STATE  FILE\n");
    EXPECT_EQ(RunMpool("ls -n").out, "");
    EXPECT_EQ(RunMpool("ls").exit_code, 0);
    EXPECT_EQ(nlohmann::json::parse(RunMpool("ls --json").out)["pools"], nlohmann::json::array());
  });
}

TEST_F(SharedPools, AreStaleAfterTheirLastProcessWasKilledAndCanBeRemoved) {
  OtherProcess other(key_, file_.fd());
  const std::string process = "is open in process " + std::to_string(other.pid()) + ";";
  ExpectRm(key_, 1, "the pool " + key_ + " " + process);
  ExpectRm(ListedAs(key_)["name"], 1, process);
  ExpectRm(key_, 1, "close it there or use --force");
  EXPECT_EQ(ListedAs(key_)["state"], "live") << "it was refused";

  other.Kill();
  const auto listed = ListedAs(key_);
  ASSERT_FALSE(listed.is_null());
  EXPECT_EQ(listed["state"], "stale");
  EXPECT_EQ(listed["participants"], 0);
  EXPECT_EQ(listed["pids"], nlohmann::json::array());
  ExpectRm(key_, 0, "");
  EXPECT_NE(access(PathOf(listed["name"]).c_str(), F_OK), 0);
  ExpectRm(key_, 3, "has the key or name '" + key_ + "'; `mpool ls`");
  ExpectRm(listed["name"], 3, listed["name"]);
}

// Whoever joins or leaves a pool holds the first byte of its object, and is quick, unless it was
// stopped.
TEST_F(SharedPools, AreNotWaitedForWhereAProcessWasStoppedWhileItJoined) {
  const OtherProcess other(key_, file_.fd());
  const std::string name = ListedAs(key_)["name"];
  const auto object = os::SharedObject::Open(mpool::internal::SharedRegion::kFolder, name);
  ASSERT_TRUE(object.ok());
  ASSERT_EQ(object->LockByte(0), os::kSuccess);
  ExpectRm("--force " + key_, 1, "for more than a second; is it stopped?");
  object->UnlockByte(0);
  ExpectRm("--force " + key_, 0, "");
}

TEST_F(SharedPools, RemovedOnesAreToldAsJson) {
  OtherProcess(key_, file_.fd()).Kill();
  const std::string name = ListedAs(key_)["name"];
  const Outcome rm = RunMpool("rm --json " + key_);
  EXPECT_EQ(rm.exit_code, 0) << rm.err;
  EXPECT_EQ(ExpectValidJson(rm.out, "mpool.rm/1")["removed"], name);
}

TEST_F(SharedPools, CanBeRemovedByTheirNameToo) {
  OtherProcess(key_, file_.fd()).Kill();
  ExpectRm(ListedAs(key_)["name"], 0, "");
  EXPECT_TRUE(ListedAs(key_).is_null());
}

TEST_F(SharedPools, LeaveTheirProcessesTheMemoryWhenTheyAreRemovedByForce) {
  const Pool pool = OpenShared(key_, file_.fd());
  test_support::ChangePage(pool, 3, "changed ");
  ExpectRm("--force " + key_, 0, "");
  EXPECT_TRUE(ListedAs(key_).is_null());
  EXPECT_EQ(test_support::PageIn(pool, 3), test_support::Filled("changed ", kPageSize));
  const Pool another = OpenShared(key_, file_.fd());
  EXPECT_EQ(test_support::PageIn(another, 3), test_support::Filled("3.", kPageSize));
  EXPECT_EQ(ListedAs(key_)["participants"], 1);
}

TEST_F(SharedPools, CannotDriveATerminalByTheirKey) {
  const std::string hostile = std::string("\x1b]0;title\a\r\n\0\xc2\x9b", 15) + key_;
  const std::string printed = "\\x1b]0;title\\x07\\x0d\\x0a\\x00\\xc2\\x9b" + key_;
  const Pool pool = OpenShared(hostile, file_.fd());
  EXPECT_EQ(LineWith(key_).rfind(printed + " ", 0), 0u) << LineWith(key_);
  EXPECT_FALSE(ListedAs(hostile).is_null());
  ExpectRm(Quoted(printed), 1, "the pool " + printed + " is open in process ");
  ExpectRm("--force " + Quoted(printed), 0, "");
  EXPECT_TRUE(ListedAs(hostile).is_null());
  const Outcome rm = RunMpool("rm \"$(printf 'no\\033\\nsuch')\"");
  EXPECT_EQ(rm.exit_code, 3);
  EXPECT_NE(rm.err.find("'no\\x1b\\x0asuch'"), std::string::npos) << rm.err;
}

TEST_F(SharedPools, AreDamagedWhereTheirObjectIsNoPool) {
  std::ofstream(PathOf(own_name_)) << "no pool";
  ASSERT_EQ(chmod(PathOf(own_name_).c_str(), 0600), 0) << std::strerror(errno);
  const std::string line = LineWith(own_name_);
  EXPECT_EQ(line.rfind("- ", 0), 0u) << line;
  EXPECT_NE(line.find(" damaged -"), std::string::npos) << line;
  ExpectRm("''", 3, "''");
  ExpectRm(own_name_, 0, "");
  EXPECT_NE(access(PathOf(own_name_).c_str(), F_OK), 0);
}

TEST_F(SharedPools, AreRefusedWithStatus5WhereTheyAreDamagedAndOpen) {
  const Pool pool = OpenShared(key_, file_.fd());
  const std::string name = ListedAs(key_)["name"];
  std::fstream(PathOf(name)) << "damaged";
  EXPECT_NE(LineWith(name).find(" 1 - damaged -"), std::string::npos) << LineWith(name);
  ExpectRm(name, 5, "the pool " + name + " is damaged, and open in processes");
  ExpectRm("--force " + name, 0, "");
}

TEST_F(SharedPools, AreNotRemovedWhereOthersMayOpenTheObject) {
  std::ofstream(PathOf(own_name_)) << "no pool";
  ASSERT_EQ(chmod(PathOf(own_name_).c_str(), 0644), 0) << std::strerror(errno);
  EXPECT_EQ(LineWith(own_name_), "");
  for (const char* force : {"", "--force "})
    ExpectRm(force + own_name_, 4, "remove it as its owner");
  EXPECT_EQ(unlink(PathOf(own_name_).c_str()), 0) << "it is left alone";
}

TEST_F(SharedPools, AreMeantByAnyArgument) {
  for (const std::string which : {"demo", "ls", "[a]", "a=b", "../../etc/passwd", "mpool.0.x.0"}) {
    ExpectRm(Quoted(which), 3, "'" + which + "'");
  }
  ExpectRm("-- --json", 3, "'--json'");
}

}  // namespace
}  // namespace cli
