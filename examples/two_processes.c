/*
 * Two processes count in one page, through a pool that they share. One of them is killed while it has
 * the page, and the other one is told so and goes on.
 *
 *   cc two_processes.c $(pkg-config --cflags --libs mpool)
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <mpool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_SIZE = 4096, CACHED = 8, TIMES = 1000 };

static void fail(void) {
  fprintf(stderr, "%s\n", mpool_error());
  exit(1);
}

/* The pool of this key: made by the first process, joined by the second one. */
static MPOOL *open_pool(int fd) {
  char name[64];
  const int length = snprintf(name, sizeof name, "two_processes of user %ld", (long)getuid());
  DBT key;
  key.data = name;
  key.size = (size_t)length;
  MPOOL *pool = mpool_open(&key, fd, PAGE_SIZE, CACHED);
  if (pool == NULL) fail();
  return pool;
}

/* Pins keep a page where it is; to keep others from changing it is the callers' business. These two
   take turns. */
static void count(MPOOL *pool) {
  for (int i = 0; i < TIMES; i++) {
    int *page = mpool_get(pool, 0, 0);
    if (page == NULL) fail();
    ++*page;
    if (mpool_put(pool, page, MPOOL_DIRTY) != 0) fail();
  }
}

static void die_with_the_page(MPOOL *pool) {
  int *page = mpool_get(pool, 0, 0);
  if (page == NULL) fail();
  ++*page;
  kill(getpid(), SIGKILL); /* before it is put */
}

int main(void) {
  FILE *file = tmpfile();
  if (file == NULL) {
    perror("tmpfile");
    return 1;
  }
  MPOOL *pool = open_pool(fileno(file));
  pgno_t number;
  int *page = mpool_new(pool, &number, MPOOL_PAGE_NEXT);
  if (page == NULL || mpool_put(pool, page, MPOOL_DIRTY) != 0) fail();

  /* A child has its parent's memory, but not its pools: it opens its own. */
  const pid_t child = fork();
  if (child == 0) {
    MPOOL *mine = open_pool(-1); /* the file is found without a descriptor */
    count(mine);
    die_with_the_page(mine);
  }
  if (waitpid(child, NULL, 0) != child) return 1;
  count(pool);

  /* Whoever joins a pool looks who is dead. So does a sync, and whoever waits. */
  if (mpool_sync(pool) != 0) printf("%s\n", mpool_error());
  page = mpool_get(pool, 0, 0);
  if (page == NULL && errno == EIO) {
    printf("%s\n", mpool_error());
    page = mpool_get(pool, 0, 0); /* said once; the page is as it was left */
  }
  if (page == NULL) fail();
  const int sum = *page;
  printf("counted to %d\n", sum);
  if (mpool_put(pool, page, 0) != 0 || mpool_sync(pool) != 0) fail();
  if (mpool_close(pool) != 0) fail(); /* the last one: the pool goes */
  fclose(file);
  return sum == 2 * TIMES + 1 ? 0 : 1;
}
