// A false exporter: it listens at a segment's number, and answers what no exporter would.

#ifndef TESTS_PROCESS_RSM_FALSE_EXPORTER_H_
#define TESTS_PROCESS_RSM_FALSE_EXPORTER_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <ostream>

#include "os/descriptor.h"
#include "os/memory_object.h"
#include "os/packet_socket.h"
#include "rsm/internal/protocol.h"
#include "tests/support/other_process.h"

namespace hostile {

// What a false exporter answers, to a request or at once.
struct FalseAnswer {
  const char* name;
  int code;  // that connect fails with, from an exporter of the same user
  std::function<void(const os::PacketConnection&)> answer;
  friend std::ostream& operator<<(std::ostream& out, const FalseAnswer& one) {
    return out << one.name;
  }
};

// That stays as large as it is.
os::MemoryObject FixedObject(uint64_t bytes);
// That can shrink.
os::OwnedDescriptor LooseObject(uint64_t bytes);
// A page as it should be, in which the exporter lives.
os::MemoryObject GoodPage();

// For an object of Bytes().
rsm::internal::Reply GoodReply();
void Send(const os::PacketConnection& connection, const rsm::internal::Reply& reply,
          std::initializer_list<int> descriptors);

// Listens at the number, and answers so whoever comes, until it is hung up.
void AnswerAll(const test_support::Line& line, const FalseAnswer& answer);

}  // namespace hostile

#endif  // TESTS_PROCESS_RSM_FALSE_EXPORTER_H_
