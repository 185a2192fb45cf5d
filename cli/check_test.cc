// `mpool check` as a user meets it.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <string>

#include "cli/check_report.h"
#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/test_pool.h"

namespace cli {
namespace {

std::string FileOf(const std::string& name, size_t bytes) {
  const std::string path = Temporary(name);
  std::ofstream(path, std::ios::binary) << std::string(bytes, 'x');
  return path;
}

Outcome Check(const std::string& path, const std::string& options) {
  return RunMpool("check " + options + " '" + path + "'");
}

// The codes of what is wrong, and then of what is good to know.
std::string CodesOf(const nlohmann::ordered_json& json) {
  std::string codes;
  for (const auto& remark : json["findings"]) codes += remark["code"].get<std::string>() + " ";
  codes += "|";
  for (const auto& remark : json["notes"]) codes += " " + remark["code"].get<std::string>();
  return codes;
}

CheckReport SomeReport() {
  CheckReport report;
  report.path = "/srv/a\n";
  report.page_bytes = 4096;
  report.layout.bytes = 10 * 4096;
  report.layout.block_bytes = 4096;
  report.layout.free_bytes = 1 << 20;
  return report;
}

TEST(CheckReport, OfAGoodFileHasNoFinding) {
  EXPECT_FALSE(HasFinding(SomeReport()));
  EXPECT_EQ(TextOf(SomeReport(), {}),
            "/srv/a\\x0a: 40.0 KiB, 10 pages of 4 KiB\n"
            "Every page can be read, and nothing is wrong.\n");
  EXPECT_EQ(TextOf(SomeReport(), {.verbosity = -1}), "");
}

TEST(CheckReport, TellsWhatIsWrong) {
  CheckReport report = SomeReport();
  report.layout.bytes += 1;
  report.bad_pages = {{.first = 3, .count = 2, .error = os::Errno(EIO)}};
  SharedPool pool;
  pool.key = "orders";
  pool.pids = "12,13";
  pool.page_size = 8192;
  report.pools = {pool};
  EXPECT_TRUE(HasFinding(report));
  const std::string text = TextOf(report, {.verbosity = -1});
  EXPECT_EQ(text,
            "finding: the last 1 byte is no whole page, and so no part of a pool: a new page "
            "overwrites them; is it another page size?\n"
            "finding: 2 pages cannot be read: 3 to 4 (EIO)\n"
            "finding: the shared pool orders has it open (pids 12,13) with pages of 8 KiB\n");
  EXPECT_TRUE(TextOf(report, {}).ends_with("\n3 findings\n"));
  EXPECT_EQ(CodesOf(ExpectValidJson(JsonOf(report), "mpool.check/1")),
            "tail unreadable other-page-size | direct-io");
}

TEST(CheckReport, KnowsHowManyPagesAPoolCanNumber) {
  CheckReport report = SomeReport();
  report.page_bytes = 1;
  report.layout.bytes = CheckReport::kPagesMax;
  EXPECT_FALSE(HasFinding(report));
  ++report.layout.bytes;
  EXPECT_EQ(CodesOf(nlohmann::ordered_json::parse(JsonOf(report))),
            "too-many-pages | part-of-block part-of-mmu-page direct-io");
}

TEST(CheckReport, SaysWhetherHolesHaveRoom) {
  CheckReport report = SomeReport();
  report.hole_pages = 2;
  report.hole_bytes = 8192;
  EXPECT_NE(TextOf(report, {})
                .find("note: 2 pages lie in holes, without a block (8.0 KiB): zeros "
                      "until written; the file system has 1.0 MiB free for them\n"),
            std::string::npos)
      << TextOf(report, {});
  report.layout.free_bytes = 4096;
  EXPECT_NE(TextOf(report, {})
                .find("has only 4.0 KiB free for them, so that writing all of them "
                      "fails (ENOSPC)\n"),
            std::string::npos)
      << TextOf(report, {});
  EXPECT_FALSE(HasFinding(report));
}

TEST(CheckReport, SaysWhetherThePagesFitODirect) {
  CheckReport report = SomeReport();
  const auto text_of = [&report] { return TextOf(report, {.verbosity = 1}); };
  EXPECT_NE(text_of().find("O_DIRECT is not known here"), std::string::npos) << text_of();
  report.layout.direct_io = {.memory_alignment = 4, .offset_alignment = 512};
  EXPECT_NE(text_of().find("is right for O_DIRECT"), std::string::npos) << text_of();
  report.layout.direct_io->offset_alignment = 8192;
  EXPECT_NE(text_of().find("is wrong for O_DIRECT, which takes multiples of 8 KiB"),
            std::string::npos)
      << text_of();
  report.layout.direct_io = os::DirectIo();
  EXPECT_NE(text_of().find("it cannot be opened with O_DIRECT"), std::string::npos) << text_of();
}

TEST(MpoolCheck, FindsNothingWrongWithAGoodFile) {
  const std::string path = FileOf("a good file", 10 * 4096);
  const Outcome check = Check(path, "--pagesize 4K");
  EXPECT_EQ(check.exit_code, 0) << check.out;
  EXPECT_EQ(check.err, "");
  EXPECT_EQ(check.out.rfind(path + ": 40.0 KiB, 10 pages of 4 KiB\n", 0), 0u) << check.out;
  EXPECT_EQ(Check(path, "-q --pagesize 4096").out, "");
  const auto json = ExpectValidJson(Check(path, "--json --pagesize 4096").out, "mpool.check/1");
  EXPECT_EQ(json["pages"], 10);
  EXPECT_EQ(json["findings"].size(), 0u);
  EXPECT_EQ(json["file"], path);
}

TEST(MpoolCheck, FindsATail) {
  const Outcome check = Check(FileOf("tail", 10 * 4096 + 5), "-q --pagesize 4096");
  EXPECT_EQ(check.exit_code, 1);
  EXPECT_NE(check.out.find("finding: the last 5 bytes are no whole page"), std::string::npos)
      << check.out;
}

TEST(MpoolCheck, CountsThePagesInHoles) {
  const std::string path = FileOf("holes", 1 << 20);
  ASSERT_EQ(truncate(path.c_str(), 2 << 20), 0);
  const auto json = ExpectValidJson(Check(path, "--json --pagesize 768K").out, "mpool.check/1");
  EXPECT_EQ(json["tail_bytes"], 512 << 10);
  if (json["hole_pages"] == 0) GTEST_SKIP() << "the file system keeps no account of holes";
  EXPECT_EQ(json["hole_pages"], 1) << "the second page, from its middle on";
  EXPECT_EQ(json["hole_bytes"], 512 << 10) << "the tail is no part of a page";
}

TEST(MpoolCheck, RefusesMorePagesThanAPoolCanNumber) {
  const std::string path = FileOf("large", 1);
  ASSERT_EQ(truncate(path.c_str(), (off_t{1} << 32) + 1), 0);
  const auto json = ExpectValidJson(Check(path, "--json --pagesize 1").out, "mpool.check/1");
  EXPECT_EQ(json["findings"][0]["code"], "too-many-pages");
}

TEST(MpoolCheck, FindsASharedPoolWithOtherPages) {
  const std::string path = FileOf("shared", 10 * 8192);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  std::string key = "check." + std::to_string(std::random_device()()) + std::to_string(getpid());
  DBT dbt{key.data(), key.size()};
  {
    const test_support::Pool pool(mpool_open(&dbt, fd, 4096, 8));
    ASSERT_NE(pool, nullptr) << mpool_error();
    const std::string moved = path + " moved";
    ASSERT_EQ(std::rename(path.c_str(), moved.c_str()), 0) << "it is known by its inode";
    const Outcome same = Check(moved, "--json --pagesize 4096");
    EXPECT_EQ(same.exit_code, 0) << same.out;
    const auto json = ExpectValidJson(same.out, "mpool.check/1");
    ASSERT_EQ(json["shared_pools"].size(), 1u);
    EXPECT_EQ(json["shared_pools"][0]["key"], key);
    EXPECT_EQ(json["shared_pools"][0]["pids"], nlohmann::ordered_json({getpid()}));
    const Outcome other = Check(moved, "-q --pagesize 8192");
    EXPECT_EQ(other.exit_code, 1);
    EXPECT_NE(other.out.find("the shared pool " + key + " has it open (pids " +
                             std::to_string(getpid()) + ") with pages of 4 KiB"),
              std::string::npos)
        << other.out;
  }
  EXPECT_EQ(Check(path + " moved", "-q --pagesize 8192").exit_code, 0);
  close(fd);
}

TEST(MpoolCheck, SaysWhyItCannotLook) {
  const std::string secret = FileOf("secret", 4096);
  ASSERT_EQ(std::system(("chmod 0 '" + secret + "'").c_str()), 0);
  const std::string good = FileOf("good", 4096);
  const struct {
    std::string arguments;
    int exit_code;
    const char* reason;
  } cases[] = {{"--pagesize 4096 /nonexistent/file", 3, "No such file"},
               {"--pagesize 4096 " + good + "/file", 3, "Not a directory"},
               {"--pagesize 0 " + good, 2, "'0' is no size of a page"},
               {"--pagesize 4G " + good, 2, "'4G' is no size of a page"},
               {"--pagesize x " + good, 2, "'x' is no size of a page"},
               {good, 2, "--pagesize is required"},
               {"--pagesize 4096", 2, "FILE is required"},
               {"--pagesize 4096 " + secret, 4, "Permission denied"}};
  for (const auto& [arguments, exit_code, reason] : cases) {
    // The one that must be refused is not refused to root.
    if (exit_code == 4 && access(secret.c_str(), R_OK) == 0) continue;
    const Outcome check = RunMpool("check " + arguments);
    EXPECT_EQ(check.exit_code, exit_code) << arguments << check.out;
    EXPECT_NE(check.err.find(reason), std::string::npos) << check.err;
    EXPECT_EQ(check.out, "");
  }
}

TEST(MpoolCheck, FindsWhatIsNoRegularFile) {
  for (const char* path : {"/", "/dev/null"}) {
    const Outcome check = Check(path, "--json --pagesize 4096");
    EXPECT_EQ(check.exit_code, 1);
    const auto json = ExpectValidJson(check.out, "mpool.check/1");
    EXPECT_EQ(CodesOf(json), "not-regular |");
  }
}

}  // namespace
}  // namespace cli
