/*
 * mpin(3): memory locks that nest.
 *
 * The kernel's mlock(2) does not: one munlock(2) undoes any number of mlock(2) calls, so two parts
 * of a program that lock the same page unlock it for each other. mpin and munpin keep a counter for
 * every page, as IRIX' mpin(2) and munpin(2) did, whose names and errors they follow.
 *
 * Every function is safe from every thread. A child made by fork(2) starts with no page pinned.
 * None is async-signal-safe. Link with -lpinlock.
 */

#ifndef PINLOCK_MPIN_H_
#define PINLOCK_MPIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What mpin_query() tells about a range of pages. */
struct mpin_info {
  uint64_t pages;          /* pages that hold any byte of the range */
  uint64_t pages_locked;   /* of these, pages with a counter above 0 */
  uint64_t pages_resident; /* of these, pages present in the page tables now */
  uint64_t count_min;      /* the lowest counter in the range */
  uint64_t count_max;      /* the highest */
};

/* What mpin_get_stat() tells about this process. Grows at its end only. */
struct mpin_stat {
  uint64_t pages_locked;   /* distinct pages with a counter above 0, now */
  uint64_t pages_residual; /* pages unpinned that the kernel refused to unlock so far, now */
  uint64_t pins;           /* successful mpin() calls */
  uint64_t unpins;         /* successful munpin() calls */
  uint64_t kernel_locks;   /* calls of mlock(2) */
  uint64_t kernel_unlocks; /* calls of munlock(2) */
  uint64_t failures;       /* calls that failed */
  uint64_t forgotten;      /* pages that were unmapped or replaced while they were pinned */
  uint64_t pages_max;      /* mpin_set_max_pages(), now; 0 is none */
  uint64_t failures_limit; /* of failures: RLIMIT_MEMLOCK, RLIMIT_RSS or mpin_set_max_pages() */
  uint64_t failures_room;  /* of failures: no room in the memory cgroup or the machine */
};

/*
 * Pins the pages that hold any of the `len` bytes at `addr`: makes them resident, locks them, and
 * adds 1 to the counter of each. Length 0 does nothing. Returns 0, or -1 with errno set and nothing
 * changed:
 *
 *   EINVAL  a page is not mapped, is mapped PROT_NONE, lies past the end of its file, or is secret
 *           memory (memfd_secret(2)); or addr + len is beyond the address space
 *   ENOMEM  without CAP_IPC_LOCK in the initial user namespace: more than RLIMIT_MEMLOCK,
 *           RLIMIT_RSS or mpin_set_max_pages() allows
 *   EAGAIN  no room for the pages in the memory cgroup or the machine, or no memory for the
 *           counters; a counter is at its maximum (32,767); or the process is at vm.max_map_count
 *   ENOSPC  the file system of a mapped file has no block for a page, now or when a shared mapping
 *           is written to
 *
 * mpin_error() says which. Blocks while pages are read in, 2 MiB at a time. Where every counter is
 * above 0 already, within 2 MiB, it neither enters the kernel nor waits for a thread that does, but
 * for the first time, while pages are residual and while an I/O is in progress (mpin(3)). The range
 * must stay mapped while it is pinned: munpin() it before munmap(2), or tell the library
 * afterwards (mpin_forget()).
 */
int mpin(void *addr, size_t len);

/*
 * Whether mpin() of the range would be refused now, and why: for memory that is about to be filled
 * by other means than its own addresses, as read(2) or write(2) to what it maps, which takes the
 * room before the lock does. Returns 0, or -1 with errno as mpin(); of what only an attempt shows
 * (ENOSPC, the end of a file, vm.max_map_count) it does not tell. Pins nothing, and promises
 * nothing: other threads and processes take room and locks as well. Enters the kernel.
 */
int mpin_check(void *addr, size_t len);

/*
 * Takes 1 from the counter of each page, and unlocks the pages whose counter gets to 0. Length 0
 * does nothing. Returns 0, or -1 with errno set and nothing changed:
 *
 *   EINVAL  a counter in the range is 0, or the range wraps; or a page was unmapped, which is
 *           noticed where a counter of the range would get to 0
 *   EBUSY   another thread is between mpin_io_begin() and mpin_io_end() on a page of the range
 *   EAGAIN  no memory for the counters
 *
 * Where the kernel itself refuses to unlock a page, the counter is 0 all the same and the page
 * counts as residual until a later call succeeds in unlocking it.
 */
int munpin(void *addr, size_t len);

/*
 * Locks pages again that are pinned, all of them, without counting: after fork(2), so that the
 * parent's next writes do not fault to copy them, or after somebody's munlock(2). Returns 0, or -1
 * with errno: EINVAL where a counter is 0, and the errors of mpin(). Blocks and enters the kernel.
 */
int mpin_refresh(void *addr, size_t len);

/*
 * Sets the counters of the range to 0, for memory that was unmapped or replaced while it was
 * pinned. What is mapped there now is unlocked. Returns 0, or -1 with errno and nothing changed:
 * EINVAL (the range wraps), EAGAIN (no memory for the counters).
 */
int mpin_forget(void *addr, size_t len);

/*
 * Moves the counters along with memory that mremap(2) has moved, grown or shrunk: call it with
 * what mremap was given and has returned. Memory that is new has counters of 0 and is unlocked.
 * Returns 0, or -1 with errno and nothing changed: EINVAL (a range wraps, or the two overlap and
 * do not begin at the same address), EAGAIN (no memory for the counters).
 */
int mpin_moved(void *old_addr, size_t old_len, void *new_addr, size_t new_len);

/*
 * Between the two calls, munpin() of any of the pages by another thread fails with EBUSY. The
 * pages must be pinned. They nest; mpin_io_end() takes the address and length of an mpin_io_begin()
 * by the same thread. A thread's I/O ends with the thread. Return 0, or -1 with errno:
 * EINVAL (a page is not pinned; no such mpin_io_begin()), EAGAIN (no memory).
 */
int mpin_io_begin(void *addr, size_t len);
int mpin_io_end(void *addr, size_t len);

/*
 * PLOCK_MAX of IRIX: the most distinct pages that this process, and children that it forks later,
 * may have pinned at a time; 0 is no limit, as at the start. It does not bind a process with
 * CAP_IPC_LOCK in the initial user namespace. What is pinned already stays. Returns 0, or -1 with
 * errno EAGAIN (no memory for the library's state).
 */
int mpin_set_max_pages(uint64_t pages);

/*
 * Fills in *info. Returns 0, or -1 with errno: EINVAL (info is NULL, or the range wraps); EAGAIN
 * (no memory for the counters), or the error of reading /proc/self/pagemap.
 */
int mpin_query(const void *addr, size_t len, struct mpin_info *info);

/*
 * This thread's last failure in words, in one line: what was asked for, what is held, which limit
 * bit and how to raise it. "" before the first failure. Valid until this thread's next call of it.
 */
const char *mpin_error(void);

/*
 * Copies the first `size` bytes of this process' statistics to *stat; what this library does not
 * know is set to 0. Pass sizeof(struct mpin_stat). Returns 0, or -1 with errno EINVAL (stat is
 * NULL).
 */
int mpin_get_stat(struct mpin_stat *stat, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* PINLOCK_MPIN_H_ */
