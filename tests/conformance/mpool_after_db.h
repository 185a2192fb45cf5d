/* mpool.h after a db.h: compiled as C11 and as C++20. */

#ifndef TESTS_CONFORMANCE_MPOOL_AFTER_DB_H_
#define TESTS_CONFORMANCE_MPOOL_AFTER_DB_H_

#include <stddef.h>
#include <stdint.h>

/* What the db.h of 4.4BSD and its heirs declare of the same names. */
#ifndef _DB_H_
#define _DB_H_
#define MAX_PAGE_NUMBER 0xffffffff
typedef uint32_t pgno_t;
typedef struct {
  void *data;
  size_t size;
} DBT;
#endif

#include <string.h>

#include "mpool/mpool.h"

#ifdef __cplusplus
#define NAME KeyIsUnderstoodAfterDbHInCxx
extern "C" {
#else
#define NAME KeyIsUnderstoodAfterDbHInC
#endif

int NAME(int fd);

/* A key of that db.h's type, of no bytes. Returns whether the pool was refused for that. */
int NAME(int fd) {
  char name[] = "name";
  DBT key;
  key.data = name;
  key.size = 0;
  return mpool_open(&key, fd, 512, (pgno_t)1) == NULL && strstr(mpool_error(), "0 bytes") != NULL;
}

#ifdef __cplusplus
}
#endif

#endif /* TESTS_CONFORMANCE_MPOOL_AFTER_DB_H_ */
