/*
 * mpool(3): a page pool over a file, whose pages are resident while they are in it.
 *
 * The eight functions of 4.4BSD's mpool(3) with their signatures and flag values, so that old
 * callers compile unchanged, and a few of ours. Every frame and all bookkeeping are locked in
 * memory (mpin(3)): a page that is in the pool cannot be paged out, and getting it neither faults
 * nor enters the kernel, nor takes a latch. RLIMIT_MEMLOCK therefore bounds the pool, and maxcache
 * is a maximum.
 *
 * Where this differs from 4.4BSD: pins are counted; a page made by mpool_new() is always zero;
 * pages past the end are EINVAL unless mpool_set_eof() says otherwise; a failed write loses
 * nothing; every call is safe from every thread. Link with -lmpool.
 *
 * After fork(2) a pool belongs to the parent alone: in the child every call on it fails with
 * EINVAL, but the pages must not be touched there.
 */

#ifndef MPOOL_MPOOL_H_
#define MPOOL_MPOOL_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A db.h that has DBT guards itself with _DB_H_; include it first, or define MPOOL_NO_DBT. */
#if !defined(_DB_H_) && !defined(MPOOL_NO_DBT)
typedef struct {
  void *data;  /* the bytes */
  size_t size; /* how many */
} DBT;
#endif

typedef uint32_t pgno_t; /* a page of the file: its offset divided by the page size; or a count */

#ifndef MAX_PAGE_NUMBER
#define MAX_PAGE_NUMBER 0xffffffff
#endif

/* Flags of mpool_put(). */
#define MPOOL_DIRTY 0x01 /* the page was changed and is to be written */
/* Flags of mpool_get(). */
#define MPOOL_IGNOREPIN 0x01 /* leave the pins alone: the page may go at the next call */
/* Flags of mpool_new(). */
#define MPOOL_PAGE_REQUEST 0x01 /* the page number that *pgno holds */
#define MPOOL_PAGE_NEXT 0x02    /* the one after the last; also if the flags are 0 */

/* Modes of mpool_set_eof(). */
#define MPOOL_EOF_ERROR 0 /* a page past the end is EINVAL */
#define MPOOL_EOF_ZERO 1  /* it reads as zeros, and extends the file once it is written */
/* Modes of mpool_set_overflow(). */
#define MPOOL_OVERFLOW_FAIL 0     /* a page that cannot be locked is not handed out */
#define MPOOL_OVERFLOW_UNLOCKED 1 /* it is, and the statistics tell */
/* Modes of mpool_set_suspect(): a page that another process had pinned when it died. */
#define MPOOL_SUSPECT_ERROR 0 /* the next mpool_get() of it fails, once, with EIO */
#define MPOOL_SUSPECT_KEEP 1  /* it is as it was left */
#define MPOOL_SUSPECT_DROP 2  /* it goes, and is read from the file again */

/* A pool. The first four members may be read; they are as fresh as the last miss or new. */
typedef struct MPOOL {
  pgno_t npages;          /* pages in the file, written or not */
  unsigned long pagesize; /* bytes in a page */
  pgno_t curcache;        /* pages in the pool */
  pgno_t maxcache;        /* the most that it caches, unless more are pinned */
  struct mpool_private *mp_private;
} MPOOL;

/* What mpool_get_stat() tells. Grows at its end only. */
struct mpool_stat {
  uint64_t gets;            /* pages asked for: hits + misses */
  uint64_t hits;            /* of these, found in the pool */
  uint64_t misses;          /* of these, not found at once */
  uint64_t news;            /* pages made */
  uint64_t puts;            /* pages put back */
  uint64_t deletes;         /* pages deleted */
  uint64_t page_ins;        /* pages read from the file */
  uint64_t page_outs;       /* pages written to the file */
  uint64_t evictions;       /* pages that made room for others */
  uint64_t pins;            /* pins held now */
  uint64_t dirty;           /* dirty pages now */
  uint64_t frames;          /* frames now, used or free */
  uint64_t frames_locked;   /* of these, locked in memory */
  uint64_t frames_overflow; /* of these, beyond maxcache because all others were pinned */
  uint64_t recoveries;      /* of shared pools: times that a dead process was cleaned up after */
  uint64_t suspects;        /* of shared pools: pages that a dead process had pinned for writing */
  uint64_t hugetlb_bytes;   /* bytes of frames and page table in huge pages of hugetlbfs */
  uint64_t waits;           /* times that a call has waited for another thread's I/O or pin */
  uint64_t syncs;           /* mpool_sync() calls, whatever became of them */
  uint64_t prefetched;      /* of page_ins, by mpool_prefetch() */
  uint64_t writer_outs;     /* of page_outs, by the background writer */
  uint64_t read_errors;     /* pages that could not be read */
  uint64_t write_errors;    /* pages that could not be written; each try counts */
  uint64_t
      pin_failures; /* mpool_get() and mpool_new() calls that got no frame, for whatever cause */
};

/*
 * Opens a pool over the seekable file `fd`, which stays the caller's and must stay open. `key`:
 * NULL; or a const DBT * of up to 1,024 bytes that name a pool which the processes of a user share.
 * The first one makes it; then fd is not needed, and the file is found as it was then. maxcache is
 * the largest that any has asked for. See mpool(3), "Shared pools".
 * `pagesize`: bytes in a page, any number from 1 on. `maxcache`: pages to cache; 0 is 1. Pages of
 * the file: its size divided by pagesize, rounded down; the bytes behind them stay as they are
 * until a page is written there. Returns NULL with errno:
 *
 *   EBADF    fd is not open, or not for reading
 *   ESPIPE   fd is not a regular file
 *   EINVAL   pagesize is 0, or fd was opened with O_APPEND, which would misplace every write
 *   EFBIG    the file has more pages than a pgno_t can count
 *   ENOMEM   not even one page can be locked, or no address space is left
 *   EAGAIN   no memory, or too many mappings
 *
 * With a key also:
 *
 *   EINVAL   it has no bytes or too many; or the pool has pages of another size
 *   EACCES   another user has taken the pool's name
 *   EAGAIN   64 processes have the pool open
 *   ENOSPC   /dev/shm is full
 *   EPROTO   the pool is damaged, or of another version of this library
 *   ESTALE   its file cannot be found any more, and fd is not it
 *   ENOTSUP  the kernel has no membarrier(2) that serves
 */
MPOOL *mpool_open(void *key, int fd, pgno_t pagesize, pgno_t maxcache);

/*
 * Sets the filters: `pgin` is called with each page after it is read, `pgout` with a copy of each
 * before it is written; both get `pgcookie`, the page number and the page. Either may be NULL. They
 * may be called in any thread that uses the pool, and must return. They may use other pages of the
 * pool themselves, but not the page that they are called for, nor mpool_sync() or mpool_close():
 * these would wait for the filter.
 */
void mpool_filter(MPOOL *mp, void (*pgin)(void *, pgno_t, void *),
                  void (*pgout)(void *, pgno_t, void *), void *pgcookie);

/*
 * Makes a page, zeroed and pinned, and stores its number in *pgnoaddr. It is not dirty until it is
 * put so. MPOOL_PAGE_NEXT, or 0: the number is that of pages so far, and is never used twice.
 * MPOOL_PAGE_REQUEST: the number is taken from *pgnoaddr. Returns NULL with errno:
 *
 *   EEXIST  the requested page is in the file or in the pool
 *   EFBIG   there is no higher page number, or it would lie beyond the largest file offset
 *   EINVAL  other flags, or pgnoaddr is NULL
 *   ENOMEM, EAGAIN, or an error of writing: as for mpool_get()
 */
void *mpool_new(MPOOL *mp, pgno_t *pgnoaddr, unsigned int flags);

/*
 * Pins a page and returns it, after reading it if it is not in the pool. Pins are counted: each
 * needs a put of its own. The pointer is good while the page is pinned. After the last put the page
 * stays as it is until this thread has asked for another one, unless another thread makes it go,
 * possibly with its memory. Returns NULL with errno:
 *
 *   EINVAL  the page is past the end; the file was truncated and no longer has it; or flags
 *   ENOMEM  every page in the pool is pinned, and the lock limit allows no more
 *   EAGAIN  the same, for want of memory; or the page is pinned 65,535 times
 *   EIO     of a shared pool: a process died that may have been changing the page; see
 *           mpool_set_suspect()
 *   another the error of reading it, or that of writing the pages that would have to go
 */
void *mpool_get(MPOOL *mp, pgno_t pgno, unsigned int flags);

/*
 * Takes one pin from a page. MPOOL_DIRTY: it was changed. Returns 0, or -1 with errno EINVAL: other
 * flags, the page is not pinned, or it is not the address of one. Where one thread puts a page that
 * another got, and that one puts it too, once more than it was pinned, the mistake is not noticed.
 */
int mpool_put(MPOOL *mp, void *pgaddr, unsigned int flags);

/*
 * Drops a page from the pool without writing it. The caller must hold the only pin, which is gone
 * then. The file is not changed and its page count stays. Returns 0, or -1 with errno:
 *
 *   EBUSY   the page is pinned more than once; or a filter tries to delete a page being written
 *   EINVAL  it is not pinned, or it is not the address of a page
 */
int mpool_delete(MPOOL *mp, void *pgaddr);

/*
 * Writes all dirty pages, pinned ones too, and returns when they are on stable storage. Every page
 * is tried; one that cannot be written stays dirty. Returns 0, or -1 with the first error: EBADF if
 * the file is not open for writing, ENOMEM for want of memory for the list of pages or for pgout's
 * copies, or that of pwritev(2) or fdatasync(2). Beyond RLIMIT_FSIZE the kernel sends SIGXFSZ;
 * where that is ignored the error is EFBIG.
 */
int mpool_sync(MPOOL *mp);

/*
 * Frees the pool. Dirty pages are discarded, pins end, the file stays open. Returns 0, or -1 with
 * errno EINVAL: mp is NULL, or the parent's.
 */
int mpool_close(MPOOL *mp);

/* Prints the statistics and the list of cached pages to standard error: d is dirty, P is pinned. */
#if defined(__GNUC__) && defined(__cplusplus)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a function and a struct of one name, as with stat(2) */
#endif
void mpool_stat(MPOOL *mp);
#if defined(__GNUC__) && defined(__cplusplus)
#pragma GCC diagnostic pop
#endif

/*
 * Copies the first `size` bytes of the statistics to *stat; what this library does not know is set
 * to 0. Pass sizeof(struct mpool_stat). Returns 0, or -1 with errno EINVAL (stat is NULL).
 */
int mpool_get_stat(MPOOL *mp, struct mpool_stat *stat, size_t size);

/* What a page past the end is. Returns 0, or -1 with errno EINVAL (no such mode). */
int mpool_set_eof(MPOOL *mp, int mode);

/*
 * What happens when all pages are pinned and no more can be locked. Returns as mpool_set_eof(); of
 * a shared pool, which hands out locked pages only, ENOTSUP.
 */
int mpool_set_overflow(MPOOL *mp, int mode);

/*
 * What this process does with a page that another one had pinned when it died, and so may have been
 * changing. Returns as mpool_set_eof(). Until somebody gets it, such a page is neither written nor,
 * if it is dirty, evicted: mpool_sync() writes the others, and fails with EIO.
 */
int mpool_set_suspect(MPOOL *mp, int mode);

/*
 * Reads the pages into the pool that are not there, without pinning them. Numbers past the end are
 * skipped. Returns how many were started: fewer than asked for where pages were there already,
 * could not be read, or are more than the pool can hold. -1 with errno EINVAL: pages is NULL.
 */
int mpool_prefetch(MPOOL *mp, const pgno_t *pages, size_t count);

/*
 * The last failure of one of these functions in this thread, in one line: what failed, why, and
 * what to do. "" before the first failure. Valid until this thread's next failure.
 */
const char *mpool_error(void);

#ifdef __cplusplus
}
#endif

#endif /* MPOOL_MPOOL_H_ */
