/*
 * A program that has never heard of pinlock: unmaps, replaces and moves memory. It is run with
 * libpinlock preloaded, which another part of it (here: what it finds by dlsym) uses to pin.
 * Prints what the counters are after each step.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

struct mpin_info {
  uint64_t pages, pages_locked, pages_resident, count_min, count_max;
};

typedef int (*pin_function)(void *, size_t);
typedef int (*query_function)(const void *, size_t, struct mpin_info *);

static query_function query;

static void show(const char *what, const char *begin, int pages) {
  printf("%s ", what);
  for (int page = 0; page < pages; ++page) {
    struct mpin_info info;
    if (query(begin + page * 4096L, 1, &info) != 0) info.count_max = 9;
    printf("%d", (int)info.count_max);
  }
  printf("\n");
}

int main(void) {
  pin_function pin = (pin_function)(uintptr_t)dlsym(RTLD_DEFAULT, "mpin");
  query = (query_function)(uintptr_t)dlsym(RTLD_DEFAULT, "mpin_query");
  if (pin == NULL || query == NULL) return 2;

  char *memory = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *room = mmap(NULL, 8 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || room == MAP_FAILED || pin(memory, 8 * 4096) != 0) return 3;
  show("pinned", memory, 8);
  if (munmap(memory + 4096, 4096) != 0) return 4;
  show("munmap", memory, 8);
  if (mmap(memory + 2 * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    return 5;
  }
  show("mmap", memory, 8);
  if (mremap(memory + 3 * 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, room) != room) return 6;
  show("mremap", memory, 8);
  show("moved", room, 2);
  if (madvise(memory + 4 * 4096, 4096, 24 /* MADV_DONTNEED_LOCKED */) != 0) return 7;
  show("madvise", memory, 8);
  return 0;
}
