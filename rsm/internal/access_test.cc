#include "rsm/internal/access.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

constexpr rsm_permission_t kRead = RSM_PERM_READ, kWrite = RSM_PERM_WRITE, kBoth = RSM_PERM_RDWR;
constexpr User kExporter = {.user = 1000, .group = 100};
constexpr User kOfGroup = {.user = 1001, .group = 100};
constexpr User kOther = {.user = 1001, .group = 101};
constexpr User kSuperuser = {.user = 0, .group = 0};

AccessList ListOf(rsm_permission_t mode) {
  const rsmapi_access_entry_t entries[] = {{kLocalNode, mode}};
  EXPECT_EQ(AccessList::Check(entries), RSM_SUCCESS);
  return AccessList(entries);
}

bool Allows(const AccessList& list, User importer, rsm_permission_t permission) {
  return list.Allows(kLocalNode, kExporter, importer, permission) == RSM_SUCCESS;
}

TEST(AccessListTest, GivesEachOneTheDigitThatIsHis) {
  for (rsm_permission_t mode = 0; mode <= 0666; ++mode) {
    if ((mode & ~rsm_permission_t{0666}) != 0) continue;
    const AccessList list = ListOf(mode), everybody = AccessList::OfEverybody(mode);
    for (const rsm_permission_t permission : {kRead, kWrite, kBoth}) {
      const auto granted = [&](unsigned shift) {
        return ((mode << shift) & permission) == permission;
      };
      EXPECT_EQ(Allows(list, kExporter, permission), granted(0)) << mode;
      EXPECT_EQ(Allows(list, kOfGroup, permission), granted(3)) << mode;
      EXPECT_EQ(Allows(list, kOther, permission), granted(6)) << mode;
      EXPECT_EQ(Allows(everybody, kExporter, permission), granted(0)) << mode;
      EXPECT_EQ(Allows(everybody, kOfGroup, permission), granted(3)) << mode;
      EXPECT_EQ(Allows(everybody, kOther, permission), granted(6)) << mode;
    }
  }
}

TEST(AccessListTest, TakesTheFirstDigitForTheExportersUserAlthoughTheOthersGiveMore) {
  const AccessList list = ListOf(0066);
  EXPECT_FALSE(Allows(list, kExporter, kRead));
  EXPECT_TRUE(Allows(list, kOfGroup, kBoth));
  EXPECT_FALSE(Allows(list, {.user = kExporter.user, .group = 7}, kRead)) << "whatever his group";
}

TEST(AccessListTest, RefusesWithPermDeniedWhoIsOfTheNode) {
  EXPECT_EQ(ListOf(0600).Allows(kLocalNode, kExporter, kOther, kRead), RSMERR_PERM_DENIED);
  EXPECT_EQ(ListOf(0400).Allows(kLocalNode, kExporter, kExporter, kBoth), RSMERR_PERM_DENIED);
}

TEST(AccessListTest, RefusesANodeThatIsNotInIt) {
  for (const User importer : {kExporter, kOther, kSuperuser}) {
    EXPECT_EQ(AccessList().Allows(kLocalNode, kExporter, importer, kRead),
              RSMERR_SEG_NOT_PUBLISHED_TO_NODE);
    EXPECT_EQ(AccessList(std::span<const rsmapi_access_entry_t>())
                  .Allows(kLocalNode, kExporter, importer, kRead),
              RSMERR_SEG_NOT_PUBLISHED_TO_NODE);
    EXPECT_EQ(ListOf(0666).Allows(2, kExporter, importer, kRead), RSMERR_SEG_NOT_PUBLISHED_TO_NODE);
  }
}

TEST(AccessListTest, OfEverybodyHasEveryNode) {
  EXPECT_EQ(AccessList::OfEverybody(0600).Allows(7, kExporter, kExporter, kBoth), RSM_SUCCESS);
  EXPECT_EQ(AccessList::OfEverybody(0600).Allows(7, kExporter, kOther, kRead), RSMERR_PERM_DENIED);
}

TEST(AccessListTest, GivesTheSuperuserAllThatTheNodeMay) {
  EXPECT_TRUE(Allows(ListOf(0), kSuperuser, kBoth));
  EXPECT_TRUE(Allows(AccessList::OfEverybody(0), kSuperuser, kBoth));
}

TEST(AccessListTest, KnowsWhetherAnybodyMayWrite) {
  EXPECT_FALSE(AccessList().AllowsWriting());
  for (const rsm_permission_t mode : {0u, 0400u, 0444u, 0040u}) {
    EXPECT_FALSE(ListOf(mode).AllowsWriting());
    EXPECT_FALSE(AccessList::OfEverybody(mode).AllowsWriting());
  }
  for (const rsm_permission_t mode : {0200u, 0020u, 0002u, 0646u, 0666u}) {
    EXPECT_TRUE(ListOf(mode).AllowsWriting());
    EXPECT_TRUE(AccessList::OfEverybody(mode).AllowsWriting());
  }
}

TEST(AccessListTest, TellsTheModeOfANode) {
  EXPECT_EQ(ListOf(0640).ModeOf(kLocalNode), 0640u);
  EXPECT_EQ(ListOf(0640).ModeOf(2), 0u);
  EXPECT_EQ(AccessList::OfEverybody(0640).ModeOf(2), 0640u);
  EXPECT_EQ(AccessList().ModeOf(kLocalNode), 0u);
  EXPECT_EQ(AccessList::OfEverybody(0777).ModeOf(kLocalNode), 0666u) << "what it has no bits for";
}

TEST(AccessListTest, ChecksEntries) {
  using Entries = std::vector<rsmapi_access_entry_t>;
  EXPECT_EQ(AccessList::Check(Entries{}), RSM_SUCCESS);
  EXPECT_EQ(AccessList::Check(Entries{{kLocalNode, 0}}), RSM_SUCCESS);
  EXPECT_EQ(AccessList::Check(Entries{{kLocalNode, 0666}}), RSM_SUCCESS);
  for (const rsm_permission_t mode : {0001u, 0010u, 0100u, 0667u, 0777u, 01000u, 04666u}) {
    EXPECT_EQ(AccessList::Check(Entries{{kLocalNode, mode}}), RSMERR_BAD_ACL) << mode;
    EXPECT_NE(std::string(ErrorText()).find("at most 0666"), std::string::npos) << ErrorText();
  }
  for (const rsm_node_id_t node : {0u, 2u, ~0u}) {
    EXPECT_EQ(AccessList::Check(Entries{{node, 0600}}), RSMERR_BAD_ACL) << node;
  }
  EXPECT_EQ(AccessList::Check(Entries{{kLocalNode, 0600}, {kLocalNode, 0600}}), RSMERR_BAD_ACL);
  EXPECT_EQ(AccessList::Check(Entries(kAccessEntriesMax + 1, {kLocalNode, 0600})), RSMERR_BAD_ACL);
  EXPECT_NE(std::string(ErrorText()).find("at most 64"), std::string::npos) << ErrorText();
}

TEST(IsPermissionTest, IsToReadOrToWriteOrBoth) {
  for (rsm_permission_t permission = 0; permission < 02000; ++permission) {
    EXPECT_EQ(IsPermission(permission),
              permission == kRead || permission == kWrite || permission == kBoth)
        << permission;
  }
  EXPECT_FALSE(IsPermission(0x8000'0000u | kRead));
}

}  // namespace
}  // namespace rsm::internal
