#include "rsm/internal/names.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "os/shared_object.h"
#include "rsm/internal/access.h"
#include "rsm/internal/error.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {
namespace {

using test_support::Line;
using test_support::OtherProcess;
using test_support::RsmFolder;
using test_support::RunInChild;

constexpr rsm_memseg_id_t kNumber = 0x400001;

testing::AssertionResult Fails(int code, int result, const std::string& words = "") {
  const std::string text = ErrorText();
  if (result == code && text.find(words) != text.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << ErrorName(result) << ": " << text;
}

// One folder, opened.
class NamesTest : public testing::Test {
 protected:
  NamesTest() { EXPECT_EQ(Names::Open(names_), RSM_SUCCESS) << ErrorText(); }

  // The error of taking it, and where it was taken, its listener.
  int Take(rsm_memseg_id_t number, os::PacketListener& listener) const {
    return names_->Take(number, listener);
  }
  std::vector<rsm_memseg_id_t> List() const {
    std::vector<rsm_memseg_id_t> listed;
    EXPECT_EQ(names_->List(listed), RSM_SUCCESS) << ErrorText();
    return listed;
  }
  int Connect(rsm_memseg_id_t number) const {
    os::PacketConnection connection;
    return names_->Connect(number, connection);
  }
  // A process takes it and is killed.
  void LeaveOver(rsm_memseg_id_t number) const {
    OtherProcess process([&](const Line& line) {
      std::optional<Names> names;
      os::PacketListener listener;
      ASSERT_EQ(Names::Open(names), RSM_SUCCESS);
      rsm_memseg_id_t taken = number;
      line.Say(static_cast<uint64_t>(names->Take(taken, listener)));
      line.Hear();
    });
    ASSERT_EQ(process.Hear(), uint64_t{RSM_SUCCESS});
    process.Kill();
    ASSERT_TRUE(std::filesystem::exists(PathOf(number)));
  }
  std::string PathOf(rsm_memseg_id_t number) const {
    char name[16];
    (void)std::snprintf(name, sizeof(name), "/%08x", number);
    return folder_.path() + name;
  }
  // All of them, those in the making too.
  size_t CountEntries() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      count += !entry.path().filename().string().starts_with(".lock.");
    }
    return count;
  }

  const RsmFolder folder_;
  std::optional<Names> names_;
};

TEST_F(NamesTest, IsOfTheFolderOfTheVariable) { EXPECT_EQ(names_->path(), folder_.path()); }

TEST_F(NamesTest, ConnectsWithWhoHasTakenTheNumber) {
  os::PacketListener listener;
  ASSERT_EQ(Take(kNumber, listener), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(CountEntries(), 1u);
  EXPECT_TRUE(std::filesystem::is_socket(PathOf(kNumber)));
  EXPECT_EQ(Connect(kNumber), RSM_SUCCESS) << ErrorText();
  EXPECT_TRUE(listener.Accept().ok());
  names_->Release(kNumber);
  EXPECT_EQ(CountEntries(), 0u);
  EXPECT_TRUE(Fails(RSMERR_SEG_NOT_PUBLISHED, Connect(kNumber), "nobody listens at"));
}

TEST_F(NamesTest, GivesANumberToOneAlone) {
  os::PacketListener listener, other;
  ASSERT_EQ(Take(kNumber, listener), RSM_SUCCESS);
  EXPECT_TRUE(Fails(RSMERR_SEGID_IN_USE, Take(kNumber, other), "is published already"));
  EXPECT_EQ(CountEntries(), 1u) << "nothing is left in the making";
  RunInChild([&] { EXPECT_TRUE(Fails(RSMERR_SEGID_IN_USE, Take(kNumber, other))); });
  EXPECT_EQ(Connect(kNumber), RSM_SUCCESS) << ErrorText();
  names_->Release(kNumber);
  EXPECT_EQ(Take(kNumber, other), RSM_SUCCESS) << ErrorText();
}

TEST_F(NamesTest, ChoosesNumbersThatNobodyHas) {
  std::set<rsm_memseg_id_t> chosen;
  os::PacketListener listeners[20];
  for (os::PacketListener& listener : listeners) {
    rsm_memseg_id_t number = 0;
    ASSERT_EQ(names_->Take(number, listener), RSM_SUCCESS) << ErrorText();
    EXPECT_GE(number, kChosenIdMin);
    EXPECT_TRUE(chosen.insert(number).second);
  }
  const std::vector<rsm_memseg_id_t> listed = List();
  EXPECT_EQ(std::set<rsm_memseg_id_t>(listed.begin(), listed.end()), chosen);
}

TEST_F(NamesTest, ListsTheNumbersInOrderAndNothingElse) {
  os::PacketListener one, two, three;
  ASSERT_EQ(Take(0x500000, one), RSM_SUCCESS);
  ASSERT_EQ(Take(0xFFFFFFFF, two), RSM_SUCCESS);
  ASSERT_EQ(Take(0x400001, three), RSM_SUCCESS);
  for (const char* const name :
       {"/400001", "/0040000G", "/0x400002", "/00400003x", "/ABCDEF01", "/-"}) {
    std::ofstream(folder_.path() + name) << "";
  }
  EXPECT_EQ(List(), (std::vector<rsm_memseg_id_t>{0x400001, 0x500000, 0xFFFFFFFF}));
}

TEST_F(NamesTest, TellsThatTheFolderCannotBeRead) {
  const Names& names = *names_;
  std::vector<rsm_memseg_id_t> listed = {1};
  int result = RSM_SUCCESS;
  {
    const test_support::DescriptorHog hog(0);
    result = names.List(listed);
  }
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files"));
}

// --- What is left over --------------------------------------------------------------------------

TEST_F(NamesTest, TakesANumberThatADeadProcessHasLeft) {
  LeaveOver(kNumber);
  os::PacketListener listener;
  EXPECT_EQ(Take(kNumber, listener), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(CountEntries(), 1u);
  EXPECT_EQ(Connect(kNumber), RSM_SUCCESS) << ErrorText();
}

TEST_F(NamesTest, TakesAwayWhatADeadProcessHasLeftWhenSomebodyConnects) {
  LeaveOver(kNumber);
  EXPECT_EQ(List(), std::vector<rsm_memseg_id_t>{kNumber}) << "until then it is there";
  EXPECT_TRUE(Fails(RSMERR_SEG_NOT_PUBLISHED, Connect(kNumber)));
  EXPECT_EQ(CountEntries(), 0u);
}

TEST_F(NamesTest, TakesANumberThatItsOwnProcessHasGivenUpWithoutReleasingIt) {
  {
    os::PacketListener listener;
    ASSERT_EQ(Take(kNumber, listener), RSM_SUCCESS);
  }
  os::PacketListener again;
  EXPECT_EQ(Take(kNumber, again), RSM_SUCCESS) << ErrorText();
}

TEST_F(NamesTest, LeavesTheNameOfAProcessThatLivesButDoesNotAccept) {
  os::PacketListener listener, other;
  ASSERT_EQ(Take(kNumber, listener), RSM_SUCCESS);
  os::PacketConnection waiting[80];
  int result = RSM_SUCCESS;
  for (os::PacketConnection& connection : waiting) {
    result = names_->Connect(kNumber, connection);
    if (result != RSM_SUCCESS) break;
  }
  EXPECT_TRUE(Fails(RSMERR_REMOTE_NODE_UNREACHABLE, result, "many wait for it already"));
  EXPECT_TRUE(Fails(RSMERR_SEGID_IN_USE, Take(kNumber, other)));
  EXPECT_TRUE(std::filesystem::exists(PathOf(kNumber)));
}

TEST_F(NamesTest, LeavesNothingInTheMakingWhereItFails) {
  ASSERT_EQ(chmod(folder_.path().c_str(), 0500), 0);
  os::PacketListener listener;
  const int result = Take(kNumber, listener);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0700), 0);
  if (result == RSM_SUCCESS) GTEST_SKIP() << "this user may write to every folder";
  EXPECT_TRUE(Fails(RSMERR_PERM_DENIED, result, folder_.path()));
  EXPECT_EQ(CountEntries(), 0u);
}

// --- Folders ------------------------------------------------------------------------------------

TEST(NamesFolderTest, IsRefusedWhereOthersCouldTakeNamesAway) {
  const RsmFolder folder;
  std::optional<Names> names;
  for (const mode_t mode : {0777u, 0770u, 0707u, 0722u}) {
    folder.SetMode(mode);
    EXPECT_TRUE(Fails(RSMERR_PERM_DENIED, Names::Open(names), folder.path())) << mode;
    EXPECT_FALSE(names.has_value());
    EXPECT_NE(std::string(ErrorText()).find("root's and sticky"), std::string::npos);
  }
  for (const mode_t mode : {01777u, 01770u, 0755u, 0711u, 0700u}) {
    folder.SetMode(mode);
    EXPECT_EQ(Names::Open(names), RSM_SUCCESS) << mode << ": " << ErrorText();
  }
}

TEST(NamesFolderTest, IsRefusedWhereItIsALink) {
  const RsmFolder folder;
  const std::string real = folder.path() + "/real", link = folder.path() + "/link";
  ASSERT_EQ(mkdir(real.c_str(), 0700), 0);
  ASSERT_EQ(symlink(real.c_str(), link.c_str()), 0);
  std::optional<Names> names;
  ASSERT_EQ(setenv("RSM_FOLDER", link.c_str(), 1), 0);
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, Names::Open(names), link));
  EXPECT_FALSE(names.has_value());
  ASSERT_EQ(setenv("RSM_FOLDER", real.c_str(), 1), 0);
  EXPECT_EQ(Names::Open(names), RSM_SUCCESS) << ErrorText();
}

TEST(NamesFolderTest, IsRefusedWhereItIsNoFolderOrThereIsNone) {
  const RsmFolder folder;
  const std::string file = folder.path() + "/file";
  std::ofstream(file) << "text";
  std::optional<Names> names;
  ASSERT_EQ(setenv("RSM_FOLDER", file.c_str(), 1), 0);
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, Names::Open(names), "Not a directory"));
  ASSERT_EQ(setenv("RSM_FOLDER", (folder.path() + "/none").c_str(), 1), 0);
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, Names::Open(names), "No such file"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/none")) << "it does not make this one";
}

TEST(NamesFolderTest, IsThisUsersOwnWhereNoneIsGivenAndTheAdministratorHasMadeNone) {
  if (std::filesystem::exists("/run/rsm")) GTEST_SKIP() << "the administrator has made one";
  (void)unsetenv("RSM_FOLDER");
  const std::string own = "/dev/shm/rsm." + std::to_string(os::CurrentUser());
  const bool was_there = std::filesystem::exists(own);
  std::optional<Names> names;
  const int result = Names::Open(names);
  if (result != RSM_SUCCESS && !was_there && access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "/dev/shm: " << std::strerror(errno);
  }
  ASSERT_EQ(result, RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(names->path(), own);
  struct stat status = {};
  ASSERT_EQ(stat(own.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_EQ(status.st_uid, os::CurrentUser());
  if (!was_there) (void)rmdir(own.c_str());
}

}  // namespace
}  // namespace rsm::internal
