// RawImporter: an importer that speaks the protocol itself, and does with what it is given whatever the
// kernel lets it do.

#ifndef TESTS_PROCESS_RSM_RAW_IMPORTER_H_
#define TESTS_PROCESS_RSM_RAW_IMPORTER_H_

#include <cstddef>
#include <span>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/packet_socket.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"

namespace hostile {

template <typename Message>
std::span<const std::byte> BytesOf(const Message& message) {
  return std::as_bytes(std::span(&message, 1));
}

// Of test_support::kSegment, as this node.
rsm::internal::Request AskFor(rsm_permission_t permission);

class RawImporter {
 public:
  // To the socket in the working directory.
  RawImporter();
  RawImporter(RawImporter&&) = default;
  ~RawImporter();

  os::Errno Send(std::span<const std::byte> message, std::span<const int> descriptors = {}) const;
  // Asks, and takes what it is given.
  void Ask(rsm_permission_t permission);
  void Hear();
  // Whether the exporter hangs up, in time.
  bool IsHungUp() const;

  const rsm::internal::Reply& reply() const { return reply_; }
  rsm::internal::ConnectionPage* page() const { return page_; }
  int link() const { return files_[0].get(); }
  int object() const { return files_[1].get(); }

 private:
  os::PacketConnection connection_;
  rsm::internal::Reply reply_;
  std::vector<os::OwnedDescriptor> files_;
  rsm::internal::ConnectionPage* page_ = nullptr;
};

// Of a descriptor by which nobody may change the size.
void ExpectFixed(int descriptor);
// Of what an importer with the right to read is given.
void AttackForReading(bool can_open_again);

}  // namespace hostile

#endif  // TESTS_PROCESS_RSM_RAW_IMPORTER_H_
