// rsm_memseg_export_publish(3), sentence by sentence: what its access list gives to whom. Needs several
// users, but for what concerns the caller's own.

#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::Get;
using test_support::Import;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Put;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;

constexpr uid_t kUser = 65534, kOtherUser = 65533;
constexpr gid_t kGroup = 65534, kOtherGroup = 65533;

constexpr std::array<rsm_permission_t, 14> kModes = {0,    0400, 0200, 0600, 0040, 0020, 0060,
                                                     0004, 0002, 0006, 0640, 0604, 0466, 0666};

// For the rest of the process. False: it may not.
bool Become(uid_t user, gid_t group, const std::vector<gid_t>& others = {}) {
  return setgroups(others.size(), others.data()) == 0 && setresgid(group, group, group) == 0 &&
         setresuid(user, user, user) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

// The part of a mode that counts for somebody, as READ and WRITE.
rsm_permission_t OwnerPart(rsm_permission_t mode) { return mode & RSM_PERM_RDWR; }
rsm_permission_t GroupPart(rsm_permission_t mode) { return (mode << 3) & RSM_PERM_RDWR; }
rsm_permission_t OthersPart(rsm_permission_t mode) { return (mode << 6) & RSM_PERM_RDWR; }

// A folder for all users, which an administrator has made.
class RsmUsers : public test_support::RsmTest {
 protected:
  RsmUsers() : RsmTest("/dev/shm") { folder().SetMode(01777); }

  void SetUp() override {
    RunInChild([] {
      if (!Become(kUser, kGroup)) {
        GTEST_SKIP() << "cannot become another user: " << std::strerror(errno);
      }
    });
  }

  // Publishes a segment for each of kModes, until the line is hung up. In a child.
  void PublishAll(const Line& line) const {
    std::vector<std::unique_ptr<TestMapping>> mappings;
    std::vector<Export> segments;
    for (const rsm_permission_t mode : kModes) {
      mappings.push_back(std::make_unique<TestMapping>(1));
      std::memcpy(mappings.back()->page(0), "read", 4);
      segments.push_back(Create(*mappings.back(), 1));
      line.Say(PublishFor(segments.back(), mode));
    }
    line.Hear();
  }

  // Expects that the caller may have exactly what `granted` says of each mode.
  void ExpectGranted(const std::vector<rsm_memseg_id_t>& numbers,
                     const std::function<rsm_permission_t(rsm_permission_t)>& granted) const {
    for (size_t i = 0; i < kModes.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "mode 0" << std::oct << kModes[i]);
      for (const rsm_permission_t permission : {0400u, 0200u, 0600u}) {
        if ((permission & ~granted(kModes[i])) != 0) {
          EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(numbers[i], permission)));
          continue;
        }
        const Import remote = Connect(numbers[i], permission);
        if ((permission & RSM_PERM_READ) != 0) {
          EXPECT_EQ(Get(remote, 0, 4), "read");
        }
        if ((permission & RSM_PERM_WRITE) != 0) {
          EXPECT_TRUE(Succeeds(Put(remote, 8, "written")));
        }
      }
    }
  }

  static std::vector<rsm_memseg_id_t> HearNumbers(const OtherProcess& exporter) {
    std::vector<rsm_memseg_id_t> numbers;
    while (numbers.size() < kModes.size()) {
      numbers.push_back(static_cast<rsm_memseg_id_t>(exporter.Hear()));
    }
    return numbers;
  }
};

TEST_F(RsmUsers, TheFirstDigitIsForTheExportersUserTheSecondForHisGroupTheThirdForOthers) {
  const OtherProcess exporter([this](const Line& line) {
    ASSERT_TRUE(Become(kUser, kGroup));
    PublishAll(line);
  });
  const std::vector<rsm_memseg_id_t> numbers = HearNumbers(exporter);
  RunInChild([&] {
    ASSERT_TRUE(Become(kUser, kOtherGroup));
    ExpectGranted(numbers, OwnerPart);
  });
  RunInChild([&] {
    ASSERT_TRUE(Become(kOtherUser, kGroup));
    ExpectGranted(numbers, GroupPart);
  });
  RunInChild([&] {
    ASSERT_TRUE(Become(kOtherUser, kOtherGroup));
    ExpectGranted(numbers, OthersPart);
  });
}

TEST_F(RsmUsers, FurtherGroupsOfTheImporterDoNotCount) {
  const OtherProcess exporter([this](const Line& line) {
    ASSERT_TRUE(Become(kUser, kGroup));
    PublishAll(line);
  });
  const std::vector<rsm_memseg_id_t> numbers = HearNumbers(exporter);
  RunInChild([&] {
    ASSERT_TRUE(Become(kOtherUser, kOtherGroup, {kGroup}));
    ExpectGranted(numbers, OthersPart);
  });
}

TEST_F(RsmUsers, TheSuperuserMayDoWhatAnybodyMay) {
  const OtherProcess exporter([this](const Line& line) {
    ASSERT_TRUE(Become(kUser, kGroup));
    PublishAll(line);
  });
  ExpectGranted(HearNumbers(exporter), [](rsm_permission_t mode) -> rsm_permission_t {
    return (mode & 0222) != 0 ? RSM_PERM_RDWR : RSM_PERM_READ;
  });
}

// The memory is the exporter's still, though he who made the segment was somebody else.
TEST_F(RsmUsers, AnExporterThatHasGivenUpHisUserPublishesForReading) {
  const OtherProcess exporter([this](const Line& line) {
    const TestMapping mapping(1);
    std::memcpy(mapping.page(0), "read", 4);
    const Export segment = Create(mapping, 1);
    ASSERT_EQ(setgroups(0, nullptr), 0);
    ASSERT_EQ(setresgid(kGroup, kGroup, kGroup), 0);
    ASSERT_EQ(setresuid(kUser, kUser, kUser), 0);
    line.Say(PublishFor(segment, 0644));
    line.Hear();
  });
  const auto number = static_cast<rsm_memseg_id_t>(exporter.Hear());
  const auto expect_read = [&] {
    const Import remote = Connect(number, RSM_PERM_READ);
    ASSERT_NE(remote, nullptr);
    EXPECT_EQ(Get(remote, 0, 4), "read");
  };
  expect_read();
  for (const uid_t user : {kUser, kOtherUser}) {
    RunInChild([&] {
      ASSERT_TRUE(Become(user, kOtherGroup));
      expect_read();
      EXPECT_EQ(TryToConnect(number, RSM_PERM_RDWR),
                user == kUser ? RSM_SUCCESS : RSMERR_PERM_DENIED);
    });
  }
}

TEST_F(RsmUsers, WithoutAListTheModeIsThatOfAFileThatTheExporterMakes) {
  for (const mode_t mask : {0022u, 0077u, 0000u, 0777u}) {
    SCOPED_TRACE(mask);
    const OtherProcess exporter([&](const Line& line) {
      ASSERT_TRUE(Become(kUser, kGroup));
      (void)umask(mask);
      const TestMapping mapping(1);
      const Export segment = Create(mapping, 1);
      line.Say(Publish(segment));
      line.Hear();
    });
    const auto number = static_cast<rsm_memseg_id_t>(exporter.Hear());
    const auto expect = [&](uid_t user, gid_t group, rsm_permission_t granted) {
      RunInChild([&] {
        ASSERT_TRUE(Become(user, group));
        for (const rsm_permission_t permission : {0400u, 0200u, 0600u}) {
          EXPECT_EQ(TryToConnect(number, permission),
                    (permission & ~granted) == 0 ? RSM_SUCCESS : RSMERR_PERM_DENIED);
        }
      });
    };
    const rsm_permission_t mode = 0666 & ~mask;
    expect(kUser, kGroup, OwnerPart(mode));
    expect(kOtherUser, kGroup, GroupPart(mode));
    expect(kOtherUser, kOtherGroup, OthersPart(mode));
  }
}

TEST_F(RsmUsers, ANumberThatAnotherUsersDeadProcessHasLeftIsInUseUntilThatUserComesBy) {
  constexpr rsm_memseg_id_t kNumber = 0x400001;
  const auto publish = [this](uid_t user, const Line& line) {
    ASSERT_TRUE(Become(user, kGroup));
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    rsm_memseg_id_t number = kNumber;
    const int result = rsm_memseg_export_publish(segment.get(), &number, nullptr, 0);
    line.Say(static_cast<uint64_t>(result));
    line.Hear();
  };
  {
    OtherProcess dead([&](const Line& line) { publish(kUser, line); });
    ASSERT_EQ(dead.Hear(), static_cast<uint64_t>(RSM_SUCCESS));
    dead.Kill();
  }
  {
    const OtherProcess other([&](const Line& line) { publish(kOtherUser, line); });
    EXPECT_EQ(other.Hear(), static_cast<uint64_t>(RSMERR_SEGID_IN_USE));
  }
  RunInChild([&] {
    ASSERT_TRUE(Become(kOtherUser, kGroup));
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(kNumber)));
  });
  {
    OtherProcess again([&](const Line& line) { publish(kUser, line); });
    EXPECT_EQ(again.Hear(), static_cast<uint64_t>(RSM_SUCCESS));
    EXPECT_EQ(TryToConnect(kNumber), RSM_SUCCESS);
    again.Kill();
  }
  RunInChild([&] {
    ASSERT_TRUE(Become(kUser, kGroup));
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(kNumber)));
  });
  EXPECT_EQ(folder().CountNames(), 0u) << "its own user has taken it away";
}

TEST_F(RsmUsers, AFolderOfAnotherUserIsNotTrusted) {
  ASSERT_EQ(chown(folder().path().c_str(), kUser, kGroup), 0) << std::strerror(errno);
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(0x400001), "must be this user's alone"));
  RunInChild([this] {
    ASSERT_TRUE(Become(kOtherUser, kOtherGroup));
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    rsm_memseg_id_t number = 0;
    EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED,
                          rsm_memseg_export_publish(segment.get(), &number, nullptr, 0)));
  });
  RunInChild([this] {
    ASSERT_TRUE(Become(kUser, kOtherGroup));
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    EXPECT_NE(Publish(segment), 0u);
  });
}

// --- The caller's own user ----------------------------------------------------------------------

TEST(RsmOwnUser, MayHaveWhatTheFirstDigitSays) {
  RunInChild([] {
    if (geteuid() == 0 && !Become(kUser, kGroup)) {
      GTEST_SKIP() << "the superuser may do all, and cannot become another user";
    }
    const RsmFolder folder("/dev/shm");
    rsmapi_controller_handle_t controller = nullptr;
    ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &controller)));
    for (const rsm_permission_t mode : kModes) {
      const TestMapping mapping(1);
      rsm_memseg_export_handle_t handle = nullptr;
      ASSERT_TRUE(Succeeds(rsm_memseg_export_create(controller, &handle, mapping.page(0),
                                                    test_support::PageSize(), 0)));
      const Export segment(handle);
      rsm_memseg_id_t number = 0;
      rsmapi_access_entry_t entry = {1, mode};
      ASSERT_TRUE(Succeeds(rsm_memseg_export_publish(handle, &number, &entry, 1)));
      for (const rsm_permission_t permission : {0400u, 0200u, 0600u}) {
        rsm_memseg_import_handle_t remote = nullptr;
        const int result = rsm_memseg_import_connect(controller, 1, number, permission, &remote);
        if ((permission & ~OwnerPart(mode)) != 0) {
          EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, result, "does not allow that to this user"));
          EXPECT_EQ(remote, nullptr);
        } else {
          ASSERT_TRUE(Succeeds(result));
          const Import disconnected(remote);
        }
      }
    }
  });
}

}  // namespace
