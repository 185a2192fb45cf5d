/*
 * Two parts of a program lock the same buffer, and each unlocks it when it is done. With mlock(2)
 * the first munlock(2) would have taken the lock away from both; mpin(3) counts.
 *
 *   cc lock_a_buffer.c $(pkg-config --cflags --libs pinlock)
 */

#include <inttypes.h>
#include <mpin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char buffer[10000];

/* Prints how the buffer stands, and ends the program if it is not as it should be. */
static void show(const char *what, uint64_t count) {
  struct mpin_info info;
  if (mpin_query(buffer, sizeof buffer, &info) != 0) {
    fprintf(stderr, "mpin_query: %s\n", mpin_error());
    exit(1);
  }
  printf("%-28s %" PRIu64 " of %" PRIu64 " pages locked, counter %" PRIu64 "\n", what,
         info.pages_locked, info.pages, info.count_min);
  if (info.count_min != count || info.count_max != count) exit(1);
}

static void pin(void) {
  if (mpin(buffer, sizeof buffer) != 0) {
    fprintf(stderr, "%s\n", mpin_error());
    exit(1);
  }
}

static void unpin(void) {
  if (munpin(buffer, sizeof buffer) != 0) {
    fprintf(stderr, "%s\n", mpin_error());
    exit(1);
  }
}

int main(void) {
  pin();
  show("one part has pinned it:", 1);
  pin();
  show("another part has, too:", 2);
  unpin();
  show("the first is done with it:", 1);
  memset(buffer, 1, sizeof buffer); /* takes no page fault */
  unpin();
  show("so is the second:", 0);
  return 0;
}
