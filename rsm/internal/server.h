// The server: a thread that lets importers in, and notices when they go.
//
// It starts with the first segment that is published, and lives until the process ends: importers learn
// of that end by its (os/death_words.h). It sleeps while nobody connects.
//
// Thread-safety: as each function says. MemoryLatch() comes before ServerLatch().

#ifndef RSM_INTERNAL_SERVER_H_
#define RSM_INTERNAL_SERVER_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"
#include "rsm/internal/publication.h"

namespace rsm::internal {

// Guards publications and their connections; held by the server's thread while it works, never while
// memory is copied.
inline constinit os::Latch server_latch;
inline os::Latch& ServerLatch() ABSL_LOCK_RETURNED(server_latch) { return server_latch; }

// Takes the number (0: any) and lets importers in from now on. Errors as of Names::Take;
// INSUFFICIENT_RESOURCES: no thread. Sets its segment and listener.
int OpenPublication(const std::shared_ptr<Publication>& publication)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(ServerLatch());
// Ends it: every importer is told, and the number is free.
void ClosePublication(const std::shared_ptr<Publication>& publication)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(ServerLatch());

// Lets the server look at what has become unused. Enters the kernel.
void WakeServer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ServerLatch());

// In a forked child: it has no server, and closes the parent's sockets.
void ForgetServer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ServerLatch());

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_SERVER_H_
