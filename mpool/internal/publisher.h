// Publish: lets pools of this process be seen from outside (`mpool stat`, `top`, `map`).
//
// A thread waits at a socket that only processes of this user can ask (os/local_socket.h), and
// answers with a ProcessReport. It costs nothing while nobody asks. An answer looks at all frames,
// some thousands at a time with the pool's latch. Pools that processes share are seen without this.
//
// Thread-safe. A forked child publishes nothing until it opens a pool of its own.

#ifndef MPOOL_INTERNAL_PUBLISHER_H_
#define MPOOL_INTERNAL_PUBLISHER_H_

#include <chrono>
#include <string>
#include <vector>

#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_report.h"
#include "os/result.h"

namespace mpool::internal {

// `file`: the path of its file. EADDRINUSE: other users have taken all names of this process.
// EAGAIN: no thread, or no memory. The text is in ErrorText().
os::Errno Publish(PoolCore& pool, const std::string& file);
// Nothing, if it is not published. Waits for a report of the pool that is being made, and where it
// was the last one for an answer that is being sent, two seconds at most.
void Withdraw(PoolCore& pool);

// The other side.

struct PublishedProcess {
  int32_t pid = 0;  // as it is called here; 0: it is of a pid namespace that is not seen from here
  ProcessReport report;
};
// All processes of this user, in this network namespace, that publish pools; root sees those of all
// users. One that does not answer (it is stopped, say, or has no memory), or is of another version of
// this library, is told in `silent`, by its pid. Takes little longer than `timeout`, however many are
// silent. Throws std::bad_alloc.
os::Result<std::vector<PublishedProcess>> AskPublished(std::chrono::milliseconds timeout,
                                                       std::vector<int32_t>& silent);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_PUBLISHER_H_
