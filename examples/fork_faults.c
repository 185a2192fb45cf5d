/*
 * Locked memory after a fork: the next write to each page takes a fault to copy it, unless
 * mpin_refresh() has done so before.
 *
 *   cc fork_faults.c $(pkg-config --cflags --libs pinlock)
 */

#define _DEFAULT_SOURCE

#include <mpin.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PAGES = 64 };

static _Alignas(PAGE_BYTES) char buffer[PAGES * PAGE_BYTES];

static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

/* Writes to every page, and says how many faults that took. */
static long write_to_all(const char *when) {
  /* After a fork the stack is copied too, and what the kernel writes when a thread gets a processor
     (rseq(2)): before the count, not in it. */
  usleep(1);
  (void)faults();
  const long before = faults();
  for (int i = 0; i < PAGES; i++) ((volatile char *)buffer)[i * PAGE_BYTES] = 1;
  const long taken = faults() - before;
  printf("%-26s%ld faults\n", when, taken);
  return taken;
}

/* A child that shares this process' pages, and does nothing, until the descriptor is closed. */
static int fork_child(void) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  if (fork() == 0) {
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) != 0);
  }
  close(ends[0]);
  return ends[1];
}

/* Returns 1 if the numbers are as they should be, 0 if not, -1 if something failed. */
static int show(void) {
  const long locked = write_to_all("locked:");

  int child = fork_child();
  const long forked = write_to_all("after fork:");
  close(child);

  child = fork_child();
  if (mpin_refresh(buffer, sizeof buffer) != 0) {
    fprintf(stderr, "%s\n", mpin_error());
    return -1;
  }
  const long refreshed = write_to_all("after fork, mpin_refresh:");
  close(child);

  while (wait(NULL) > 0) continue;
  return locked == 0 && forked >= PAGES && refreshed == 0;
}

int main(void) {
  if (mpin(buffer, sizeof buffer) != 0) {
    fprintf(stderr, "%s\n", mpin_error());
    return 1;
  }
  /* The kernel may move a page just then (compaction), which is a fault of one page in one round. */
  int shown = show();
  for (int again = 0; shown == 0 && again < 2; again++) shown = show();
  if (munpin(buffer, sizeof buffer) != 0) return 1;
  return shown == 1 ? 0 : 1;
}
