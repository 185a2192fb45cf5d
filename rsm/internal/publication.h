// Publication: a segment as importers find it, from publish to unpublish.
//
// All of it is guarded by ServerLatch(), but for what says otherwise.

#ifndef RSM_INTERNAL_PUBLICATION_H_
#define RSM_INTERNAL_PUBLICATION_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "os/packet_socket.h"
#include "rsm/internal/access.h"
#include "rsm/internal/binding.h"
#include "rsm/internal/names.h"
#include "rsm/internal/protocol.h"

namespace rsm::internal {

// The exporter's end of a connection.
struct ConnectionEnd {
  os::PacketConnection socket;
  uint64_t number = 0;  // in the server's queue
  std::chrono::steady_clock::time_point since;
  // Null until the importer was let in. Unmapped by the server's thread, once nobody else has this end.
  ConnectionPage* page = nullptr;
};

// Of a segment, published or not.
struct ExporterSignals {
  std::atomic<uint32_t> changes = 0;  // of connections; for who waits, without the latch
  uint64_t left = 0;                  // pending ones of connections that have ended
};

struct Publication {
  rsm_memseg_id_t segment = 0;
  AccessList access;
  User exporter;
  Source source;  // belongs to the segment's binding
  uint64_t bytes = 0;
  uint32_t flags = 0;
  std::optional<Names> names;  // where its number is taken
  os::PacketListener listener;
  uint64_t number = 0;         // in the server's queue
  bool is_closed = false;      // to new importers
  bool had_importers = false;  // ever: somebody may have the object
  std::shared_ptr<ExporterSignals> signals;
  std::vector<std::shared_ptr<ConnectionEnd>> connections;  // of importers that were let in
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_PUBLICATION_H_
