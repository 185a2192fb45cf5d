/*
 * A file of 100 pages, made, changed and read again through a pool that caches eight of them.
 *
 *   cc page_file.c $(pkg-config --cflags --libs mpool)
 */

#define _POSIX_C_SOURCE 200809L

#include <mpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SIZE = 4096, PAGES = 100, CACHED = 8 };

static void fail(void) {
  fprintf(stderr, "%s\n", mpool_error());
  exit(1);
}

static MPOOL *open_pool(int fd) {
  MPOOL *pool = mpool_open(NULL, fd, PAGE_SIZE, CACHED);
  if (pool == NULL) fail();
  return pool;
}

/* Makes the pages, each with its number in it. */
static void make(int fd) {
  MPOOL *pool = open_pool(fd);
  for (int i = 0; i < PAGES; i++) {
    pgno_t number;
    char *page = mpool_new(pool, &number, MPOOL_PAGE_NEXT);
    if (page == NULL) fail();
    snprintf(page, PAGE_SIZE, "page %u", (unsigned)number);
    if (mpool_put(pool, page, MPOOL_DIRTY) != 0) fail();
  }
  if (mpool_sync(pool) != 0) fail(); /* mpool_close alone would discard what is not yet written */
  if (mpool_close(pool) != 0) fail();
}

/* Reads them again; returns how many are as they should be. */
static int check(int fd) {
  MPOOL *pool = open_pool(fd);
  int right = 0;
  for (pgno_t i = 0; i < PAGES; i++) {
    char expected[32];
    char *page = mpool_get(pool, i, 0);
    if (page == NULL) fail();
    snprintf(expected, sizeof expected, "page %u", (unsigned)i);
    right += strcmp(page, expected) == 0;
    if (mpool_put(pool, page, 0) != 0) fail();
  }
  mpool_stat(pool);
  if (mpool_close(pool) != 0) fail();
  return right;
}

int main(void) {
  FILE *file = tmpfile();
  if (file == NULL) {
    perror("tmpfile");
    return 1;
  }
  make(fileno(file));
  const int right = check(fileno(file));
  printf("%d of %d pages are right\n", right, PAGES);
  fclose(file);
  return right == PAGES ? 0 : 1;
}
