// KILL_POINT: a named place where a test may kill the process.
//
// Between every two steps of which other processes may see the first without the second. Compiled
// into tests alone (-DMPOOL_KILL_POINTS); elsewhere it is nothing.

#ifndef MPOOL_INTERNAL_KILL_POINT_H_
#define MPOOL_INTERNAL_KILL_POINT_H_

#ifdef MPOOL_KILL_POINTS

namespace mpool::internal {

// Called at each; set by a test, which defines it.
void ReachKillPoint(const char* name);

}  // namespace mpool::internal

#define KILL_POINT(name) ::mpool::internal::ReachKillPoint(name)

#else

#define KILL_POINT(name) static_cast<void>(0)

#endif

#endif  // MPOOL_INTERNAL_KILL_POINT_H_
