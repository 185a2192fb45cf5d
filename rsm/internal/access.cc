#include "rsm/internal/access.h"

#include <algorithm>

#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

constexpr rsm_permission_t kModeBits = 0666;

// What a mode gives the importer, as READ and WRITE of the owner.
rsm_permission_t Granted(rsm_permission_t mode, User exporter, User importer) {
  if (importer.user == exporter.user) return mode & RSM_PERM_RDWR;
  if (importer.group == exporter.group) return (mode << 3) & RSM_PERM_RDWR;
  return (mode << 6) & RSM_PERM_RDWR;
}

}  // namespace

AccessList AccessList::OfEverybody(rsm_permission_t mode) {
  AccessList list;
  list.everybody_ = true;
  list.mode_ = mode & kModeBits;
  return list;
}

AccessList::AccessList(std::span<const rsmapi_access_entry_t> entries)
    : entries_(entries.begin(), entries.end()) {}

int AccessList::Check(std::span<const rsmapi_access_entry_t> entries) {
  if (entries.size() > kAccessEntriesMax) {
    return Fail(RSMERR_BAD_ACL, "an access list of %zu entries; at most %u are possible",
                entries.size(), kAccessEntriesMax);
  }
  bool seen = false;
  for (const rsmapi_access_entry_t& entry : entries) {
    if ((entry.ae_permission & ~kModeBits) != 0) {
      return Fail(RSMERR_BAD_ACL,
                  "permission 0%o in the access list; it is like a file's mode, at most 0666",
                  entry.ae_permission);
    }
    if (entry.ae_node != kLocalNode || seen) {
      return Fail(RSMERR_BAD_ACL,
                  "node %u in the access list%s; the controller \"loopback\" reaches node %u alone",
                  entry.ae_node, seen ? " besides another entry" : "", kLocalNode);
    }
    seen = true;
  }
  return RSM_SUCCESS;
}

int AccessList::Allows(rsm_node_id_t node, User exporter, User importer,
                       rsm_permission_t permission) const {
  rsm_permission_t mode = mode_;
  if (!everybody_) {
    const auto entry = std::ranges::find(entries_, node, &rsmapi_access_entry_t::ae_node);
    if (entry == entries_.end()) return RSMERR_SEG_NOT_PUBLISHED_TO_NODE;
    mode = entry->ae_permission;
  }
  if (importer.user == 0) return RSM_SUCCESS;
  const rsm_permission_t granted = Granted(mode, exporter, importer);
  return (permission & ~granted) == 0 ? RSM_SUCCESS : RSMERR_PERM_DENIED;
}

bool AccessList::AllowsWriting() const {
  constexpr rsm_permission_t kWriteBits = 0222;
  return (everybody_ && (mode_ & kWriteBits) != 0) ||
         std::ranges::any_of(entries_, [](const rsmapi_access_entry_t& entry) {
           return (entry.ae_permission & kWriteBits) != 0;
         });
}

rsm_permission_t AccessList::ModeOf(rsm_node_id_t node) const {
  if (everybody_) return mode_;
  const auto entry = std::ranges::find(entries_, node, &rsmapi_access_entry_t::ae_node);
  return entry == entries_.end() ? 0 : entry->ae_permission;
}

bool IsPermission(rsm_permission_t permission) {
  return permission != 0 && (permission & ~rsm_permission_t{RSM_PERM_RDWR}) == 0;
}

}  // namespace rsm::internal
