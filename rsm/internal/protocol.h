// What exporter and importer tell each other, and the page that they share.
//
// Both are of one machine, so that everything is in its own byte order. A request and its reply are one
// message each (os/packet_socket.h); descriptors come with the reply. After that the connection is there
// to be ended.

#ifndef RSM_INTERNAL_PROTOCOL_H_
#define RSM_INTERNAL_PROTOCOL_H_

#include <atomic>
#include <cstdint>

#include "rsm/rsmapi.h"

namespace rsm::internal {

inline constexpr uint32_t kMagic = 0x314D5352;  // "RSM1"; another layout has another number

enum class Question : uint32_t {
  kConnect = 1,
  kDescribe = 2,  // for `mpool rsm ls`
};

struct Request {
  uint32_t magic = kMagic;
  Question question = Question::kConnect;
  rsm_node_id_t node = 0;  // of the importer
  rsm_memseg_id_t segment = 0;
  rsm_permission_t permission = 0;
};

// What is mapped: a part of the file whose descriptor comes with the reply, or of a segment of shmget(2).
struct Reply {
  uint32_t magic = kMagic;
  int32_t error = RSM_SUCCESS;
  uint64_t bytes = 0;
  uint64_t offset = 0;          // bytes into it
  uint64_t sysv_namespace = 0;  // in which the next is a number
  int32_t sysv = -1;            // of a segment of shmget(2); -1: a file
  uint32_t flags = 0;           // of create
  // Of kDescribe.
  int32_t pid = 0;
  uint32_t user = 0;
  rsm_permission_t mode = 0;
  uint32_t importers = 0;
};

// One for each connection: other importers have no part in it. Both sides write to it, and believe it as
// much as they believe the other one: what is wrong there harms who wrote it.
struct ConnectionPage {
  std::atomic<uint32_t>
      life;  // of the exporter's process (os/death_words.h); first, as that needs it
  std::atomic<uint32_t> ended;  // 1: unpublished or destroyed
  // Signals: what was posted, and how many of them were taken. The difference is pending.
  std::atomic<uint32_t> posted_to_importer, taken_by_importer;
  std::atomic<uint32_t> posted_to_exporter, taken_by_exporter;
};
static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(ConnectionPage) == 24);

inline constexpr uint64_t kConnectionPageBytes = 4096;

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_PROTOCOL_H_
