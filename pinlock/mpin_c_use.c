/* Compiled as C11: the interface as a C program sees it. */

#include <stddef.h>

#include "pinlock/mpin.h"

_Static_assert(offsetof(struct mpin_info, pages) == 0, "struct mpin_info");
_Static_assert(sizeof(struct mpin_info) == 5 * sizeof(uint64_t), "struct mpin_info");

/* It grows at its end only: what is here stays where it is. */
_Static_assert(offsetof(struct mpin_stat, pages_locked) == 0 * sizeof(uint64_t), "pages_locked");
_Static_assert(offsetof(struct mpin_stat, pages_residual) == 1 * sizeof(uint64_t),
               "pages_residual");
_Static_assert(offsetof(struct mpin_stat, pins) == 2 * sizeof(uint64_t), "pins");
_Static_assert(offsetof(struct mpin_stat, unpins) == 3 * sizeof(uint64_t), "unpins");
_Static_assert(offsetof(struct mpin_stat, kernel_locks) == 4 * sizeof(uint64_t), "kernel_locks");
_Static_assert(offsetof(struct mpin_stat, kernel_unlocks) == 5 * sizeof(uint64_t),
               "kernel_unlocks");
_Static_assert(offsetof(struct mpin_stat, failures) == 6 * sizeof(uint64_t), "failures");

int PinAndUnpinFromC(void *addr, size_t len);

/* Returns the highest counter seen while the range is pinned, or -1. */
int PinAndUnpinFromC(void *addr, size_t len) {
  struct mpin_info info;
  if (mpin(addr, len) != 0) return -1;
  if (mpin_query(addr, len, &info) != 0) return -1;
  if (munpin(addr, len) != 0) return -1;
  return (int)info.count_max;
}
