// AccessList: who may import a segment, and how.
//
// As of Solaris: for each node permissions like those of a file, for the exporter's user, his group and
// all others. Pure: no system call. Not thread-safe; a value.

#ifndef RSM_INTERNAL_ACCESS_H_
#define RSM_INTERNAL_ACCESS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "rsm/rsmapi.h"

namespace rsm::internal {

// Of this machine, in access lists and elsewhere. The loopback controller reaches no other.
inline constexpr rsm_node_id_t kLocalNode = 1;
inline constexpr uint_t kAccessEntriesMax = 64;

struct User {
  uint32_t user = 0;
  uint32_t group = 0;
};

class AccessList {
 public:
  // Nobody.
  AccessList() = default;
  // Every node, with one mode: what publish does without a list.
  static AccessList OfEverybody(rsm_permission_t mode);
  // RSMERR_BAD_ACL: an entry with permission bits that are none, of another node, or a node twice; more
  // than kAccessEntriesMax.
  static int Check(std::span<const rsmapi_access_entry_t> entries);
  // Precondition: Check succeeds.
  explicit AccessList(std::span<const rsmapi_access_entry_t> entries);

  // RSM_SUCCESS, if `importer` at `node` may have all of `permission`; RSMERR_SEG_NOT_PUBLISHED_TO_NODE;
  // RSMERR_PERM_DENIED. The superuser may do what the node may.
  int Allows(rsm_node_id_t node, User exporter, User importer, rsm_permission_t permission) const;
  // Whether anybody may write.
  bool AllowsWriting() const;
  // For the local node; 0 where it is not in the list.
  rsm_permission_t ModeOf(rsm_node_id_t node) const;

 private:
  bool everybody_ = false;
  rsm_permission_t mode_ = 0;  // of everybody
  std::vector<rsmapi_access_entry_t> entries_;
};

// READ, WRITE or both.
bool IsPermission(rsm_permission_t permission);

// The first and last numbers that are the system's own, and those that it chooses for segments.
inline constexpr rsm_memseg_id_t kReservedIdMax = 0x3FFFFF;
inline constexpr rsm_memseg_id_t kChosenIdMin = 0x80000000;

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_ACCESS_H_
