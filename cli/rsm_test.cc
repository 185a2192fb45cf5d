// `mpool rsm ls` as a user of the program meets it, with exporters that are processes of their own.

#include "cli/rsm.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "rsm/rsmapi.h"

namespace cli {
namespace {

constexpr size_t kBytes = 16 * 4096;
constexpr rsm_node_id_t kThisNode = 1;
constexpr char kHeadings[] = "SEGMENT  SIZE  MODE  IMPORTERS  PID  UID  STATE\n";

// --- The parts --------------------------------------------------------------------------------

std::vector<ExportedSegment> Examples() {
  rsm::internal::Reply reply;
  reply.bytes = 1'048'576;
  reply.pid = 1234;
  reply.user = 1000;
  reply.mode = 0640;
  reply.importers = 2;
  reply.flags = RSM_ALLOW_REBIND;
  ExportedSegment live{.number = 0x400000, .description = reply, .reason = {}};
  ExportedSegment stopped{.number = 0x80000001, .description = {}, .reason = "no answer\n"};
  ExportedSegment stale{.number = 0xffffffff, .description = {}, .stale = true, .reason = "gone"};
  return {live, stopped, stale};
}

TEST(RsmTableOf, ShowsALineForEachSegmentInColumns) {
  EXPECT_EQ(TableOf(Examples(), {}, false),
            "SEGMENT        SIZE  MODE  IMPORTERS   PID   UID  STATE\n"
            "0x00400000  1.0 MiB  0640          2  1234  1000  live\n"
            "0x80000001        ?     ?          ?     ?     ?  unknown\n"
            "0xffffffff        ?     ?          ?     ?     ?  stale\n");
}

TEST(RsmTableOf, ShowsWhatIsAskedFor) {
  OutputOptions options{.bytes = true, .headings = false};
  options.columns = "size,rebind,segment";
  EXPECT_EQ(TableOf(Examples(), options, false),
            "1048576  yes  0x00400000\n"
            "      ?  ?    0x80000001\n"
            "      ?  ?    0xffffffff\n");
  EXPECT_EQ(TableOf({}, {}, true),
            "\x1b[1mSEGMENT  SIZE  MODE  IMPORTERS  PID  UID  STATE\x1b[0m\n");
  EXPECT_EQ(TableOf({}, {.headings = false}, false), "");
}

TEST(RsmTableOf, ColoursWhatIsNotLive) {
  OutputOptions options{.headings = false};
  options.columns = "STATE";
  EXPECT_EQ(TableOf(Examples(), options, true),
            "live\n\x1b[33munknown\x1b[0m\n\x1b[33mstale\x1b[0m\n");
}

TEST(RsmJsonOf, HasNumbersAndNullWhereTheyAreNotKnown) {
  const std::string text = JsonOf("/dev/shm/\xff", Examples());
  ExpectValidJson(text, "mpool.rsm.ls/1");
  EXPECT_EQ(nlohmann::json::parse(text), nlohmann::json::parse(R"({
    "schema": "mpool.rsm.ls/1", "folder": null, "folder_hex": "2f6465762f73686d2fff",
    "segments": [
      {"segment": 4194304, "state": "live", "memory_bytes": 1048576, "mode": "0640",
       "importers": 2, "pid": 1234, "uid": 1000, "allows_rebind": true, "reason": null},
      {"segment": 2147483649, "state": "unknown", "memory_bytes": null, "mode": null,
       "importers": null, "pid": null, "uid": null, "allows_rebind": null,
       "reason": "no answer\n"},
      {"segment": 4294967295, "state": "stale", "memory_bytes": null, "mode": null,
       "importers": null, "pid": null, "uid": null, "allows_rebind": null, "reason": "gone"}]})"));
}

// --- The program ------------------------------------------------------------------------------

void Check(int code, const char* call) {
  if (code == RSM_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", call, rsm_error());
  _exit(1);
}

// Exports until the process ends.
rsm_memseg_id_t Export(rsm_memseg_id_t number, rsm_permission_t mode, uint_t flags = 0) {
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  rsmapi_controller_handle_t controller = nullptr;
  rsm_memseg_export_handle_t segment = nullptr;
  Check(rsm_get_controller(nullptr, &controller), "rsm_get_controller");
  Check(rsm_memseg_export_create(controller, &segment, memory, kBytes, flags), "create");
  rsmapi_access_entry_t access = {kThisNode, mode};
  Check(rsm_memseg_export_publish(segment, &number, &access, 1), "publish");
  return number;
}

// Another process, which does something, then something else again and again until it is killed.
class Other {
 public:
  explicit Other(
      const std::function<rsm_memseg_id_t()>& body,
      const std::function<void()>& again = [] { pause(); }) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      alarm(300);
      const rsm_memseg_id_t number = body();
      if (write(ends[1], &number, sizeof(number)) != sizeof(number)) _exit(1);
      for (;;) again();
    }
    close(ends[1]);
    EXPECT_EQ(read(ends[0], &segment_, sizeof(segment_)), sizeof(segment_))
        << "the other process has failed";
    close(ends[0]);
  }
  Other(rsm_memseg_id_t number, rsm_permission_t mode, uint_t flags = 0)
      : Other([=] { return Export(number, mode, flags); }) {}
  ~Other() { Kill(); }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    (void)waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void Stop() const {
    kill(pid_, SIGSTOP);
    EXPECT_EQ(waitpid(pid_, nullptr, WUNTRACED), pid_);
  }
  pid_t pid() const { return pid_; }
  rsm_memseg_id_t segment() const { return segment_; }

 private:
  pid_t pid_ = -1;
  rsm_memseg_id_t segment_ = 0;
};

class RsmLs : public testing::Test {
 protected:
  RsmLs() {
    folder_ = Temporary("rsm.XXXXXX");
    if (mkdtemp(folder_.data()) == nullptr) std::abort();
    setenv("RSM_FOLDER", folder_.c_str(), 1);
  }
  ~RsmLs() override {
    (void)std::system(("rm -rf '" + folder_ + "'").c_str());
    unsetenv("RSM_FOLDER");
  }

  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }
  static Outcome Succeed(const std::string& options) {
    Outcome outcome = RunMpool("rsm ls " + options);
    EXPECT_EQ(outcome.exit_code, 0) << options << outcome.out << outcome.err;
    return outcome;
  }
  static nlohmann::json List() {
    const Outcome ls = Succeed("--json");
    EXPECT_EQ(ls.err, "");
    return ExpectValidJson(ls.out, "mpool.rsm.ls/1")["segments"];
  }

  std::string folder_;
};

TEST_F(RsmLs, ShowsOnlyHeadingsWhereThereAreNone) {
  EXPECT_EQ(Succeed("").out, kHeadings);
  EXPECT_EQ(Succeed("-n").out, "");
  EXPECT_EQ(List(), nlohmann::json::array());
}

TEST_F(RsmLs, ListsSegmentsInTheOrderOfTheirNumbers) {
  const Other chosen(0, 0666);
  const Other small(0x400001, 0640, RSM_ALLOW_REBIND);
  const nlohmann::json list = List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0], (nlohmann::json{{"segment", 0x400001},
                                     {"state", "live"},
                                     {"memory_bytes", kBytes},
                                     {"mode", "0640"},
                                     {"importers", 0},
                                     {"pid", small.pid()},
                                     {"uid", geteuid()},
                                     {"allows_rebind", true},
                                     {"reason", nullptr}}));
  EXPECT_EQ(list[1]["segment"], chosen.segment());
  EXPECT_EQ(list[1]["mode"], "0666");
  EXPECT_EQ(list[1]["pid"], chosen.pid());
  EXPECT_EQ(list[1]["allows_rebind"], false);

  const std::string pid = std::to_string(small.pid());
  EXPECT_EQ(Succeed("-n -o segment,pid,state").out.rfind("0x00400001  " + pid + "  live\n", 0), 0u);
  EXPECT_NE(Succeed("").out.find("  64.0 KiB  0640 "), std::string::npos) << Succeed("").out;
  EXPECT_NE(Succeed("-b").out.find("  65536  0640 "), std::string::npos) << Succeed("-b").out;
}

TEST_F(RsmLs, CountsImporters) {
  const Other other(0, 0600);
  rsmapi_controller_handle_t controller = nullptr;
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_EQ(rsm_get_controller(nullptr, &controller), RSM_SUCCESS) << rsm_error();
  ASSERT_EQ(
      rsm_memseg_import_connect(controller, kThisNode, other.segment(), RSM_PERM_READ, &import),
      RSM_SUCCESS)
      << rsm_error();
  EXPECT_EQ(List()[0]["importers"], 1);
  EXPECT_EQ(rsm_memseg_import_disconnect(import), RSM_SUCCESS);
  EXPECT_EQ(rsm_release_controller(controller), RSM_SUCCESS);
}

TEST_F(RsmLs, TakesAwayWhatKilledProcessesHaveLeft) {
  Other other(0x400002, 0600);
  EXPECT_EQ(access(PathOf("00400002").c_str(), F_OK), 0);
  other.Kill();
  EXPECT_EQ(access(PathOf("00400002").c_str(), F_OK), 0) << "nobody has come by yet";
  EXPECT_EQ(Succeed("").out, kHeadings);
  EXPECT_NE(access(PathOf("00400002").c_str(), F_OK), 0);
}

TEST_F(RsmLs, ShowsAsStaleWhatItMayNotTakeAway) {
  // A folder of several users. Who takes names away there has a lock, which cannot be had here.
  ASSERT_EQ(chmod(folder_.c_str(), 01777), 0);
  Other(0x400003, 0600).Kill();
  const std::string lock = PathOf(".lock." + std::to_string(geteuid()));
  (void)unlink(lock.c_str());
  ASSERT_EQ(mkdir(lock.c_str(), 0700), 0);
  const Outcome ls = Succeed("-n -o SEGMENT,STATE");
  EXPECT_EQ(ls.out, "0x00400003  stale\n");
  EXPECT_NE(ls.err.find("mpool rsm ls: segment 0x400003 is not published"), std::string::npos)
      << ls.err;
}

TEST_F(RsmLs, WaitsForStoppedExportersAtTheSameTimeAndTellsOfThem) {
  const Other live(0x400003, 0600), first(0x400004, 0600), second(0x400005, 0600);
  first.Stop();
  second.Stop();
  const Outcome ls = Succeed("-n -o segment,size,state --color=always");
  EXPECT_EQ(ls.out,
            "0x00400003  64.0 KiB  live\n"
            "\x1b[33m0x00400004         ?  unknown\x1b[0m\n"
            "\x1b[33m0x00400005         ?  unknown\x1b[0m\n");
  for (const char* number : {"0x400004", "0x400005"}) {
    const std::string line = std::string("mpool rsm ls: the exporter of segment ") + number +
                             " does not answer; is its process stopped?\n";
    EXPECT_NE(ls.err.find(line), std::string::npos) << ls.err;
  }
  const Outcome quiet = Succeed("-q --json");
  EXPECT_EQ(quiet.err, "");
  const auto list = ExpectValidJson(quiet.out, "mpool.rsm.ls/1")["segments"];
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[1]["state"], "unknown");
  EXPECT_NE(list[1]["reason"].get<std::string>().find("is its process stopped?"),
            std::string::npos);
}

// Listens at the number, but not as an exporter.
int ListenAt(const std::string& folder, const char* number) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, number);
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  const bool listens =
      chdir(folder.c_str()) == 0 &&
      bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      listen(listener, 8) == 0;
  if (!listens) _exit(1);
  return listener;
}

void AnswerNext(int listener, const std::string& answer) {
  const int connection = accept(listener, nullptr, nullptr);
  char request[256];
  (void)!read(connection, request, sizeof(request));
  if (!answer.empty()) (void)send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
  close(connection);
}

TEST_F(RsmLs, BelievesNobodyWhoAnswersNonsense) {
  for (const size_t bytes : {size_t{0}, size_t{9}, size_t{4096}}) {
    int listener = -1;
    const Other other(
        [&] {
          listener = ListenAt(folder_, "00400006");
          return 0x400006;
        },
        [&] { AnswerNext(listener, std::string(bytes, 'x')); });
    const Outcome ls = Succeed("-n");
    EXPECT_EQ(ls.out, "0x00400006  ?  ?  ?  ?  ?  unknown\n") << bytes;
    EXPECT_NE(ls.err.find("the exporter of segment 0x400006 "), std::string::npos) << ls.err;
    ASSERT_EQ(unlink(PathOf("00400006").c_str()), 0);
  }
}

TEST_F(RsmLs, PassesOverNamesThatAreNoNumbers) {
  for (const char* name : {"4000001", "0040000g", "004000010", "README"}) {
    ASSERT_EQ(symlink("/nonexistent", PathOf(name).c_str()), 0);
  }
  EXPECT_EQ(Succeed("").out, kHeadings);
}

TEST_F(RsmLs, NamesTheFolderIfItIsToSayMore) {
  const Outcome ls = Succeed("-v");
  EXPECT_EQ(ls.err, "mpool rsm ls: the folder is " + folder_ + "\n");
  EXPECT_EQ(ls.out, kHeadings);
  EXPECT_EQ(nlohmann::json::parse(Succeed("--json").out)["folder"], folder_);
}

TEST_F(RsmLs, SaysWhyTheFolderIsOfNoUse) {
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  const Outcome refused = RunMpool("rsm ls");
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find("mpool rsm ls: the folder " + folder_), std::string::npos)
      << refused.err;
  ASSERT_EQ(rmdir(folder_.c_str()), 0);
  const Outcome gone = RunMpool("rsm ls --json");
  EXPECT_EQ(gone.exit_code, 1) << gone.err;
  EXPECT_EQ(gone.out, "");
  EXPECT_NE(gone.err.find("No such file"), std::string::npos) << gone.err;
}

TEST_F(RsmLs, MistakesAreToldWithStatus2) {
  const struct {
    const char* arguments;
    const char* error;
  } cases[] = {{"rsm", "mpool rsm: a command is needed\n"},
               {"rsm", "Usage: mpool rsm"},
               {"rsm bogus", "bogus"},
               {"rsm demo", "demo"},
               {"rsm ls x", "x"},
               {"rsm ls --color=perhaps", "perhaps"},
               {"rsm ls -o BOGUS", "there is no column 'BOGUS'; there are SEGMENT,SIZE"},
               {"help rsm bogus", "`mpool help rsm` lists them"}};
  for (const auto& [arguments, error] : cases) {
    const Outcome outcome = RunMpool(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_NE(outcome.err.find(error), std::string::npos) << arguments << "\n" << outcome.err;
  }
}

TEST_F(RsmLs, HelpNamesTheWholeCommand) {
  for (const char* arguments : {"rsm ls --help", "rsm ls -h", "help rsm ls"}) {
    const Outcome help = RunMpool(arguments);
    EXPECT_EQ(help.exit_code, 0) << arguments;
    EXPECT_NE(help.out.find("Usage: mpool rsm ls [OPTIONS]\n"), std::string::npos) << help.out;
    EXPECT_NE(help.out.find("--no-headings"), std::string::npos) << help.out;
  }
  for (const char* arguments : {"rsm --help", "help rsm"}) {
    const Outcome help = RunMpool(arguments);
    EXPECT_EQ(help.exit_code, 0) << arguments;
    EXPECT_NE(help.out.find("\n  ls "), std::string::npos) << help.out;
  }
}

}  // namespace
}  // namespace cli
