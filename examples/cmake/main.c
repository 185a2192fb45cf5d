/*
 * Prints the first line of a file's first page, which is locked in memory meanwhile.
 *
 *   first_page FILE
 */
#define _POSIX_C_SOURCE 200809L
#include <mpool.h>
#include <stdio.h>
#include <string.h>

enum { kPageSize = 512 }; /* a smaller file has no whole page, and cannot be read */

static int fail(const char *what) {
  fprintf(stderr, "first_page: %s\n", what);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return fail("usage: first_page FILE");
  FILE *file = fopen(argv[1], "r");
  if (file == NULL) return fail("cannot open the file");
  MPOOL *pool = mpool_open(NULL, fileno(file), kPageSize, 4);
  if (pool == NULL) return fail(mpool_error());
  const char *page = mpool_get(pool, 0, 0);
  if (page == NULL) return fail(mpool_error());
  const char *end = memchr(page, '\n', kPageSize);
  printf("%.*s\n", end == NULL ? kPageSize : (int)(end - page), page);
  if (mpool_put(pool, (void *)page, 0) || mpool_close(pool)) return fail(mpool_error());
  return fclose(file) == 0 ? 0 : 1;
}
