/* Compiled as C11: the interface as a C program sees it. */

#include "mpool/mpool.h"

/* Callers read these four straight from the struct; what follows them is private. */
_Static_assert(offsetof(MPOOL, npages) == 0, "npages");
_Static_assert(offsetof(MPOOL, pagesize) == 8, "pagesize");
_Static_assert(offsetof(MPOOL, curcache) == 16, "curcache");
_Static_assert(offsetof(MPOOL, maxcache) == 20, "maxcache");

/* It grows at its end only: what is here stays where it is. */
_Static_assert(offsetof(struct mpool_stat, gets) == 0 * sizeof(uint64_t), "gets");
_Static_assert(offsetof(struct mpool_stat, hits) == 1 * sizeof(uint64_t), "hits");
_Static_assert(offsetof(struct mpool_stat, misses) == 2 * sizeof(uint64_t), "misses");
_Static_assert(offsetof(struct mpool_stat, news) == 3 * sizeof(uint64_t), "news");
_Static_assert(offsetof(struct mpool_stat, puts) == 4 * sizeof(uint64_t), "puts");
_Static_assert(offsetof(struct mpool_stat, deletes) == 5 * sizeof(uint64_t), "deletes");
_Static_assert(offsetof(struct mpool_stat, page_ins) == 6 * sizeof(uint64_t), "page_ins");
_Static_assert(offsetof(struct mpool_stat, page_outs) == 7 * sizeof(uint64_t), "page_outs");
_Static_assert(offsetof(struct mpool_stat, evictions) == 8 * sizeof(uint64_t), "evictions");
_Static_assert(offsetof(struct mpool_stat, pins) == 9 * sizeof(uint64_t), "pins");
_Static_assert(offsetof(struct mpool_stat, dirty) == 10 * sizeof(uint64_t), "dirty");
_Static_assert(offsetof(struct mpool_stat, frames) == 11 * sizeof(uint64_t), "frames");
_Static_assert(offsetof(struct mpool_stat, frames_locked) == 12 * sizeof(uint64_t),
               "frames_locked");
_Static_assert(offsetof(struct mpool_stat, frames_overflow) == 13 * sizeof(uint64_t),
               "frames_overflow");
_Static_assert(offsetof(struct mpool_stat, recoveries) == 14 * sizeof(uint64_t), "recoveries");
_Static_assert(offsetof(struct mpool_stat, suspects) == 15 * sizeof(uint64_t), "suspects");

/* The values of 4.4BSD. */
_Static_assert(MAX_PAGE_NUMBER == 0xffffffff && sizeof(pgno_t) == 4 && (pgno_t)-1 > 0, "pgno_t");
_Static_assert(MPOOL_DIRTY == 1 && MPOOL_IGNOREPIN == 1, "flags of put and get");
_Static_assert(MPOOL_PAGE_REQUEST == 1 && MPOOL_PAGE_NEXT == 2, "flags of new");

int MakeAPageFromC(int fd, pgno_t pagesize);

static void Mark(void *cookie, pgno_t pgno, void *page) {
  *(char *)page = *(char *)cookie;
  (void)pgno;
}

/* An old caller, to the letter: makes page 0 with an 'n' in it, which pgout makes an 'f'. */
int MakeAPageFromC(int fd, pgno_t pagesize) {
  MPOOL *mp;
  pgno_t pgno;
  char *page;
  static char cookie = 'f';

  if ((mp = mpool_open(NULL, fd, pagesize, 16)) == NULL) return -1;
  mpool_filter(mp, NULL, Mark, &cookie);
  if ((page = mpool_new(mp, &pgno, MPOOL_PAGE_NEXT)) == NULL) return -1;
  page[0] = page[1] = 'n';
  if (mpool_put(mp, page, MPOOL_DIRTY) != 0) return -1;
  if (mp->npages != 1) return -1;
  if (mpool_sync(mp) != 0) return -1;
  return mpool_close(mp);
}
