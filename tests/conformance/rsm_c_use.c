/* Compiled as C11, strictly: the interface as a C program sees it, with the values of RSMAPI. */

#include <string.h>

#include "rsm/rsmapi.h"

_Static_assert(RSM_VERSION == 5 && RSM_MAX_SGIOREQS == 16 && RSM_CONNECTION_ACTIVE == 3, "sizes");
_Static_assert(RSM_ALLOW_REBIND == 1 && RSM_CREATE_SEG_DONTWAIT == 2 && RSM_LOCK_OPS == 4,
               "create");
_Static_assert(RSM_IMPLICIT_SIGPOST == 1 && RSM_SIGPOST_NO_ACCUMULATE == 2 &&
                   RSM_SIG_POST_NO_ACCUMULATE == 2,
               "signals");
_Static_assert(RSM_PERM_NONE == 0 && RSM_PERM_READ == 0400 && RSM_PERM_WRITE == 0200 &&
                   RSM_PERM_RDWR == 0600,
               "permissions");
_Static_assert(RSM_HANDLE_TYPE == 1 && RSM_VA_TYPE == 2, "scatter and gather");
_Static_assert(RSM_MAP_NONE == 0 && RSM_MAP_FIXED == 1 && RSM_MAP_RESERVED == 2, "mapping");
_Static_assert(RSM_DAS8 == 1 && RSM_DAS16 == 2 && RSM_DAS32 == 4 && RSM_DAS64 == 8, "access");
_Static_assert(RSM_BARRIER_SEGMENT == 1 && RSM_BARRIER_NODE == 2 &&
                   RSM_BARRIER_SEGMENT_THREAD == 0x11 && RSM_BARRIER_NODE_THREAD == 0x12 &&
                   RSM_BAR_DEFAULT == RSM_BARRIER_SEGMENT,
               "barriers");
_Static_assert(RSM_BARRIER_MODE_EXPLICIT == 0 && RSM_BARRIER_MODE_IMPLICIT == 1, "modes");

_Static_assert(sizeof(rsm_node_id_t) == 4 && sizeof(rsm_memseg_id_t) == 4 &&
                   sizeof(rsm_permission_t) == 4 && sizeof(rsm_addr_t) == 8,
               "widths");
_Static_assert((rsm_node_id_t)-1 > 0 && (rsm_memseg_id_t)-1 > 0 && (rsm_permission_t)-1 > 0 &&
                   (rsm_addr_t)-1 > 0,
               "they are unsigned");

_Static_assert(RSM_SUCCESS == 0, "success");
_Static_assert(RSMERR_BAD_LIBRARY_VERSION == 1, "1");
_Static_assert(RSMERR_BAD_TOPOLOGY_PTR == 2, "2");
_Static_assert(RSMERR_BAD_CTLR_HNDL == 3, "3");
_Static_assert(RSMERR_CTLR_NOT_PRESENT == 4, "4");
_Static_assert(RSMERR_BAD_SEG_HNDL == 5, "5");
_Static_assert(RSMERR_SEG_ALREADY_PUBLISHED == 6, "6");
_Static_assert(RSMERR_SEG_NOT_PUBLISHED == 7, "7");
_Static_assert(RSMERR_SEG_NOT_PUBLISHED_TO_NODE == 8, "8");
_Static_assert(RSMERR_SEG_ALREADY_MAPPED == 9, "9");
_Static_assert(RSMERR_SEG_STILL_MAPPED == 10, "10");
_Static_assert(RSMERR_SEG_NOT_MAPPED == 11, "11");
_Static_assert(RSMERR_NOT_CREATOR == 12, "12");
_Static_assert(RSMERR_BAD_BARRIER_PTR == 13, "13");
_Static_assert(RSMERR_BAD_SGIO == 14, "14");
_Static_assert(RSMERR_BAD_LOCALMEM_HNDL == 15, "15");
_Static_assert(RSMERR_BAD_ADDR == 16, "16");
_Static_assert(RSMERR_BAD_MEM_ALIGNMENT == 17, "17");
_Static_assert(RSMERR_BAD_OFFSET == 18, "18");
_Static_assert(RSMERR_MISALIGNED_OFFSET == 19, "19");
_Static_assert(RSMERR_BAD_LENGTH == 20, "20");
_Static_assert(RSMERR_BAD_ACL == 21, "21");
_Static_assert(RSMERR_BAD_SEGID == 22, "22");
_Static_assert(RSMERR_RESERVED_SEGID == 23, "23");
_Static_assert(RSMERR_SEGID_IN_USE == 24, "24");
_Static_assert(RSMERR_BAD_MODE == 25, "25");
_Static_assert(RSMERR_BAD_PERMS == 26, "26");
_Static_assert(RSMERR_PERM_DENIED == 27, "27");
_Static_assert(RSMERR_LOCKS_NOT_SUPPORTED == 28, "28");
_Static_assert(RSMERR_LOCKS_NOT_ENABLED == 29, "29");
_Static_assert(RSMERR_REBIND_NOT_ALLOWED == 30, "30");
_Static_assert(RSMERR_INSUFFICIENT_RESOURCES == 31, "31");
_Static_assert(RSMERR_INSUFFICIENT_MEM == 32, "32");
_Static_assert(RSMERR_MAP_FAILED == 33, "33");
_Static_assert(RSMERR_POLLFD_IN_USE == 34, "34");
_Static_assert(RSMERR_BARRIER_UNINITIALIZED == 35, "35");
_Static_assert(RSMERR_BARRIER_OPEN_FAILED == 36, "36");
_Static_assert(RSMERR_BARRIER_NOT_OPENED == 37, "37");
_Static_assert(RSMERR_BARRIER_FAILURE == 38, "38");
_Static_assert(RSMERR_REMOTE_NODE_UNREACHABLE == 39, "39");
_Static_assert(RSMERR_CONN_ABORTED == 40, "40");
_Static_assert(RSMERR_INTERRUPTED == 41, "41");
_Static_assert(RSMERR_TIMEOUT == 42, "42");
_Static_assert(RSMERR_BAD_APPID == 43, "43");
_Static_assert(RSMERR_BAD_CONF == 44, "44");
_Static_assert(RSMERR_SEG_NOT_CONNECTED == 45, "45");

/* Each of the 41 functions, with the types of RSMAPI. */
#define HAS(function, result, ...) \
  _Static_assert(_Generic(&function, result(*)(__VA_ARGS__) : 1), #function)
typedef rsm_memseg_import_handle_t import;
typedef rsm_memseg_export_handle_t export;
typedef rsmapi_controller_handle_t controller;
HAS(rsm_get_controller, int, char *, controller *);
HAS(rsm_get_controller_attr, int, controller, rsmapi_controller_attr_t *);
HAS(rsm_release_controller, int, controller);
HAS(rsm_get_interconnect_topology, int, rsm_topology_t **);
HAS(rsm_free_interconnect_topology, void, rsm_topology_t *);
HAS(rsm_get_segmentid_range, int, const char *, rsm_memseg_id_t *, uint32_t *);
HAS(rsm_memseg_export_create, int, controller, export *, void *, size_t, uint_t);
HAS(rsm_memseg_export_destroy, int, export);
HAS(rsm_memseg_export_rebind, int, export, void *, offset_t, size_t);
HAS(rsm_memseg_export_publish, int, export, rsm_memseg_id_t *, rsmapi_access_entry_t *, uint_t);
HAS(rsm_memseg_export_unpublish, int, export);
HAS(rsm_memseg_export_republish, int, export, rsmapi_access_entry_t *, uint_t);
HAS(rsm_memseg_import_connect, int, controller, rsm_node_id_t, rsm_memseg_id_t, rsm_permission_t,
    import *);
HAS(rsm_memseg_import_disconnect, int, import);
HAS(rsm_memseg_import_map, int, import, void **, rsm_attribute_t, rsm_permission_t, off_t, size_t);
HAS(rsm_memseg_import_unmap, int, import);
HAS(rsm_memseg_import_get, int, import, off_t, void *, size_t);
HAS(rsm_memseg_import_get8, int, import, off_t, uint8_t *, ulong_t);
HAS(rsm_memseg_import_get16, int, import, off_t, uint16_t *, ulong_t);
HAS(rsm_memseg_import_get32, int, import, off_t, uint32_t *, ulong_t);
HAS(rsm_memseg_import_get64, int, import, off_t, uint64_t *, ulong_t);
HAS(rsm_memseg_import_getv, int, rsm_scat_gath_t *);
HAS(rsm_memseg_import_put, int, import, off_t, void *, size_t);
HAS(rsm_memseg_import_put8, int, import, off_t, uint8_t *, ulong_t);
HAS(rsm_memseg_import_put16, int, import, off_t, uint16_t *, ulong_t);
HAS(rsm_memseg_import_put32, int, import, off_t, uint32_t *, ulong_t);
HAS(rsm_memseg_import_put64, int, import, off_t, uint64_t *, ulong_t);
HAS(rsm_memseg_import_putv, int, rsm_scat_gath_t *);
HAS(rsm_memseg_import_init_barrier, int, import, rsm_barrier_type_t, rsmapi_barrier_t *);
HAS(rsm_memseg_import_open_barrier, int, rsmapi_barrier_t *);
HAS(rsm_memseg_import_order_barrier, int, rsmapi_barrier_t *);
HAS(rsm_memseg_import_close_barrier, int, rsmapi_barrier_t *);
HAS(rsm_memseg_import_destroy_barrier, int, rsmapi_barrier_t *);
HAS(rsm_memseg_import_set_mode, int, import, rsm_barrier_mode_t);
HAS(rsm_memseg_import_get_mode, int, import, rsm_barrier_mode_t *);
HAS(rsm_create_localmemory_handle, int, controller, rsm_localmemory_handle_t *, char *, size_t);
HAS(rsm_free_localmemory_handle, int, controller, rsm_localmemory_handle_t);
HAS(rsm_intr_signal_post, int, void *, uint_t);
HAS(rsm_intr_signal_wait, int, void *, int);
HAS(rsm_intr_signal_wait_pollfd, int, struct pollfd *, nfds_t, int, int *);
HAS(rsm_memseg_get_pollfd, int, void *, struct pollfd *);
HAS(rsm_memseg_release_pollfd, int, void *);

int ShareAPageFromC(void *page, size_t bytes);

/* Exporter and importer in one, as the manual pages have it. 0, or the line that failed. */
int ShareAPageFromC(void *page, size_t bytes) {
  rsmapi_controller_handle_t cntrl;
  rsm_memseg_export_handle_t exported;
  rsm_memseg_import_handle_t imported;
  rsm_memseg_id_t segid = 0;
  rsmapi_access_entry_t acl[1] = {{1, 0600}};
  rsmapi_barrier_t barrier;
  void *addr = NULL;
  char text[6] = "";

  if (rsm_get_controller("loopback", &cntrl) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_export_create(cntrl, &exported, page, bytes, 0) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_export_publish(exported, &segid, acl, 1) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_import_connect(cntrl, 1, segid, RSM_PERM_RDWR, &imported) != RSM_SUCCESS) {
    return __LINE__;
  }
  if (rsm_memseg_import_init_barrier(imported, RSM_BAR_DEFAULT, &barrier) != 0) return __LINE__;
  if (rsm_memseg_import_put(imported, 0, "hello", 6) != RSM_SUCCESS) return __LINE__;
  if (strcmp(page, "hello") != 0) return __LINE__;
  if (rsm_memseg_import_map(imported, &addr, RSM_MAP_NONE, RSM_PERM_RDWR, 0, bytes) !=
      RSM_SUCCESS) {
    return __LINE__;
  }
  strcpy(addr, "world");
  if (rsm_memseg_import_get(imported, 0, text, 6) != RSM_SUCCESS) return __LINE__;
  if (strcmp(text, "world") != 0) return __LINE__;
  if (rsm_memseg_import_destroy_barrier(&barrier) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_import_unmap(imported) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_import_disconnect(imported) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_export_unpublish(exported) != RSM_SUCCESS) return __LINE__;
  if (rsm_memseg_export_destroy(exported) != RSM_SUCCESS) return __LINE__;
  if (rsm_release_controller(cntrl) != RSM_SUCCESS) return __LINE__;
  return 0;
}
