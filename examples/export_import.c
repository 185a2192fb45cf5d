/*
 * One process exports memory, and another one imports it: reads it, writes to it, and tells the
 * first one. Then the exporter takes the segment back. Only what Solaris' manual pages describe
 * (section 3RSM) is used.
 *
 *   cc export_import.c $(pkg-config --cflags --libs rsm)
 */

#define _GNU_SOURCE

#include <rsmapi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECOND = 1000, PATIENCE = 60 * SECOND }; /* milliseconds */

/* What the segment holds. It is a multiple of the page size long. */
struct board {
  char greeting[64];
  char answer[64];
  uint64_t answers;
};

/* Ends the process where a call has not returned what it should. */
static void expect(int expected, int code, const char *call) {
  if (code == expected) return;
  fprintf(stderr, "%s returned %d, not %d\n", call, code, expected);
  exit(1);
}
#define MUST(call) expect(RSM_SUCCESS, call, #call)

static void expect_text(const char *expected, const char *text) {
  if (strcmp(expected, text) == 0) return;
  fprintf(stderr, "found \"%s\", not \"%s\"\n", text, expected);
  exit(1);
}

static rsmapi_controller_handle_t get_loopback(void) {
  char name[] = "loopback";
  rsmapi_controller_handle_t controller;
  MUST(rsm_get_controller(name, &controller));
  return controller;
}

/* The number of this machine in access lists. */
static rsm_node_id_t this_node(void) {
  rsm_topology_t *topology;
  MUST(rsm_get_interconnect_topology(&topology));
  const rsm_node_id_t node = topology->topology_hdr.local_nodeid;
  rsm_free_interconnect_topology(topology);
  return node;
}

/* Between the barrier's opening and its closing the answer comes before its number. */
static void put_answer(rsm_memseg_import_handle_t segment, rsmapi_barrier_t *barrier) {
  char answer[64] = "Hello, exporter";
  uint64_t count = 1;
  MUST(rsm_memseg_import_set_mode(segment, RSM_BARRIER_MODE_EXPLICIT));
  MUST(rsm_memseg_import_open_barrier(barrier));
  MUST(rsm_memseg_import_put(segment, offsetof(struct board, answer), answer, sizeof answer));
  MUST(rsm_memseg_import_order_barrier(barrier));
  MUST(rsm_memseg_import_put64(segment, offsetof(struct board, answers), &count, 1));
  MUST(rsm_memseg_import_close_barrier(barrier)); /* an error here: it may not have arrived */
  MUST(rsm_memseg_import_set_mode(segment, RSM_BARRIER_MODE_IMPLICIT));
  MUST(rsm_memseg_import_get64(segment, offsetof(struct board, answers), &count, 1));
  if (count != 1) exit(1);
}

/* Handles belong to the process that made them, so that the child begins anew. */
static void import(rsm_memseg_id_t number, size_t bytes) {
  const rsmapi_controller_handle_t controller = get_loopback();
  rsm_memseg_import_handle_t segment;
  MUST(rsm_memseg_import_connect(controller, this_node(), number, RSM_PERM_RDWR, &segment));
  void *address = NULL;
  MUST(rsm_memseg_import_map(segment, &address, RSM_MAP_NONE, RSM_PERM_RDWR, 0, bytes));
  struct board *const board = address;
  printf("importer: mapped, and read \"%s\"\n", board->greeting);
  expect_text("Hello, importer", board->greeting);

  rsmapi_barrier_t barrier;
  MUST(rsm_memseg_import_init_barrier(segment, RSM_BAR_DEFAULT, &barrier));
  put_answer(segment, &barrier);
  MUST(rsm_intr_signal_post(segment, 0));

  /* The exporter writes through its own pointer, and lets us know. */
  MUST(rsm_intr_signal_wait(segment, PATIENCE));
  printf("importer: read \"%s\"\n", board->greeting);
  expect_text("Thank you", board->greeting);
  char copy[sizeof board->greeting];
  MUST(rsm_memseg_import_get(segment, offsetof(struct board, greeting), copy, sizeof copy));
  expect_text("Thank you", copy);
  MUST(rsm_intr_signal_post(segment, 0));

  /* It unpublishes the segment. The map can still be used, but is nobody else's memory any more. */
  expect(RSMERR_CONN_ABORTED, rsm_intr_signal_wait(segment, PATIENCE), "rsm_intr_signal_wait");
  expect(RSMERR_CONN_ABORTED, rsm_memseg_import_get(segment, 0, copy, sizeof copy),
         "rsm_memseg_import_get");
  expect_text("Thank you", board->greeting);
  strcpy(board->greeting, "This is lost");
  printf("importer: the segment is gone, its memory is not\n");

  MUST(rsm_memseg_import_destroy_barrier(&barrier));
  MUST(rsm_memseg_import_unmap(segment));
  MUST(rsm_memseg_import_disconnect(segment));
  MUST(rsm_release_controller(controller));
}

/* What the exporter does once the importer runs. */
static void serve(rsm_memseg_export_handle_t segment, struct board *board) {
  MUST(rsm_intr_signal_wait(segment, PATIENCE));
  printf("exporter: found \"%s\", answer %d, in its own memory\n", board->answer,
         (int)board->answers);
  expect_text("Hello, exporter", board->answer);
  if (board->answers != 1) exit(1);

  strcpy(board->greeting, "Thank you");
  MUST(rsm_intr_signal_post(segment, 0)); /* to every importer */
  MUST(rsm_intr_signal_wait(segment, PATIENCE));
  MUST(rsm_memseg_export_unpublish(segment));
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const rsmapi_controller_handle_t controller = get_loopback();
  rsmapi_controller_attr_t attributes;
  MUST(rsm_get_controller_attr(controller, &attributes));
  const size_t bytes = attributes.attr_page_size; /* there is room for a board */
  struct board *board =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (board == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  strcpy(board->greeting, "Hello, importer");

  rsm_memseg_export_handle_t segment;
  MUST(rsm_memseg_export_create(controller, &segment, board, bytes, 0));
  rsmapi_access_entry_t access = {this_node(), 0600}; /* this user's processes */
  rsm_memseg_id_t number = 0;                         /* any */
  MUST(rsm_memseg_export_publish(segment, &number, &access, 1));
  printf("exporter: %zu bytes are published\n", bytes);

  const pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    import(number, bytes);
    return 0;
  }
  serve(segment, board);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) return 1;
  MUST(rsm_memseg_export_destroy(segment));
  MUST(rsm_release_controller(controller));
  printf("exporter: still has \"%s\"\n", board->greeting);
  expect_text("Thank you", board->greeting); /* not what the importer wrote last */
  return munmap(board, bytes) == 0 ? 0 : 1;
}
