/*
 * rsmapi(7): memory segments that one process exports and others use, the RSMAPI of Solaris.
 *
 * An exporter creates a segment over a part of its memory, which is locked from then on, and publishes
 * it under a number. Importers connect to that number and read and write the segment, by a mapping or by
 * get and put, without entering the kernel. Names, values and behaviour are those of Solaris' manual
 * pages, section 3RSM; rsmapi(7) says where this library differs. One controller exists, "loopback": all
 * processes of this machine that share a folder (rsmapi(7), FILES).
 *
 * Functions return RSM_SUCCESS or an RSMERR_ code, and have changed nothing where they fail, but for
 * gets and puts, which may have copied; rsm_error() has the cause and the cure in words. All are safe
 * from every thread, a barrier from one at a time; none is async-signal-safe. In a child of fork(2) the handles of the parent are not its own: those of imported
 * segments are RSMERR_BAD_SEG_HNDL there, those of exported ones RSMERR_NOT_CREATOR, and memory that is
 * exported is not mapped there. Link with -lrsm.
 */

#ifndef RSM_RSMAPI_H_
#define RSM_RSMAPI_H_

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Solaris' names of types that Linux has by other names. */
typedef unsigned int uint_t;
typedef unsigned long ulong_t;
typedef long long offset_t;
#ifndef MAXNAMELEN
#define MAXNAMELEN 256
#endif

#define RSM_VERSION 5
#define RSM_MAX_SGIOREQS 16
#define RSM_CONNECTION_ACTIVE 3

#define RSM_SUCCESS 0
#define RSMERR_BAD_LIBRARY_VERSION 1
#define RSMERR_BAD_TOPOLOGY_PTR 2
#define RSMERR_BAD_CTLR_HNDL 3
#define RSMERR_CTLR_NOT_PRESENT 4
#define RSMERR_BAD_SEG_HNDL 5
#define RSMERR_SEG_ALREADY_PUBLISHED 6
#define RSMERR_SEG_NOT_PUBLISHED 7
#define RSMERR_SEG_NOT_PUBLISHED_TO_NODE 8
#define RSMERR_SEG_ALREADY_MAPPED 9
#define RSMERR_SEG_STILL_MAPPED 10
#define RSMERR_SEG_NOT_MAPPED 11
#define RSMERR_NOT_CREATOR 12
#define RSMERR_BAD_BARRIER_PTR 13
#define RSMERR_BAD_SGIO 14
#define RSMERR_BAD_LOCALMEM_HNDL 15
#define RSMERR_BAD_ADDR 16
#define RSMERR_BAD_MEM_ALIGNMENT 17
#define RSMERR_BAD_OFFSET 18
#define RSMERR_MISALIGNED_OFFSET 19
#define RSMERR_BAD_LENGTH 20
#define RSMERR_BAD_ACL 21
#define RSMERR_BAD_SEGID 22
#define RSMERR_RESERVED_SEGID 23
#define RSMERR_SEGID_IN_USE 24
#define RSMERR_BAD_MODE 25
#define RSMERR_BAD_PERMS 26
#define RSMERR_PERM_DENIED 27
#define RSMERR_LOCKS_NOT_SUPPORTED 28
#define RSMERR_LOCKS_NOT_ENABLED 29
#define RSMERR_REBIND_NOT_ALLOWED 30
#define RSMERR_INSUFFICIENT_RESOURCES 31
#define RSMERR_INSUFFICIENT_MEM 32
#define RSMERR_MAP_FAILED 33
#define RSMERR_POLLFD_IN_USE 34
#define RSMERR_BARRIER_UNINITIALIZED 35
#define RSMERR_BARRIER_OPEN_FAILED 36
#define RSMERR_BARRIER_NOT_OPENED 37
#define RSMERR_BARRIER_FAILURE 38
#define RSMERR_REMOTE_NODE_UNREACHABLE 39
#define RSMERR_CONN_ABORTED 40
#define RSMERR_INTERRUPTED 41
#define RSMERR_TIMEOUT 42
#define RSMERR_BAD_APPID 43
#define RSMERR_BAD_CONF 44
#define RSMERR_SEG_NOT_CONNECTED 45
#define RSMERR_BAD_ARGS_ERRORS 117

typedef uint64_t rsm_addr_t;
typedef uint32_t rsm_node_id_t;
typedef uint32_t rsm_memseg_id_t;
typedef uint32_t rsm_permission_t;

#define RSM_PERM_NONE 0
#define RSM_PERM_READ 0400
#define RSM_PERM_WRITE 0200
#define RSM_PERM_RDWR (RSM_PERM_READ | RSM_PERM_WRITE)

typedef enum { RSM_DAS8 = 1, RSM_DAS16 = 2, RSM_DAS32 = 4, RSM_DAS64 = 8 } rsm_access_size_t;

/* Handles: valid until they are given back, never dereferenced by a caller. NULL is none. */
typedef struct rsm_controller *rsmapi_controller_handle_t;
typedef struct rsm_export_segment *rsm_memseg_export_handle_t;
typedef struct rsm_import_segment *rsm_memseg_import_handle_t;
typedef struct rsm_local_memory *rsm_localmemory_handle_t;

/* ---- Controllers ---- */

typedef struct {
  uint_t attr_direct_access_sizes; /* RSM_DAS bits */
  uint_t attr_atomic_sizes;        /* RSM_DAS bits: gets and puts of one such word are not torn */
  size_t attr_page_size;           /* bytes; segments begin and end at pages */
  size_t attr_max_export_segment_size; /* bytes */
  size_t attr_tot_export_segment_size; /* bytes */
  ulong_t attr_max_export_segments;
  size_t attr_max_import_map_size; /* bytes */
  size_t attr_tot_import_map_size; /* bytes */
  ulong_t attr_max_import_segments;
} rsmapi_controller_attr_t;

/* `name` is "loopback"; NULL means it. CTLR_NOT_PRESENT: any other. BAD_ADDR: `controller` is NULL. */
int rsm_get_controller(char *name, rsmapi_controller_handle_t *controller);
int rsm_get_controller_attr(rsmapi_controller_handle_t controller, rsmapi_controller_attr_t *attr);
/* Once for each get. Segments stay: who has one of them does not need the controller. */
int rsm_release_controller(rsmapi_controller_handle_t controller);

/* ---- Topology ---- */

typedef struct rsm_topology_hdr {
  rsm_node_id_t local_nodeid;
  uint_t local_cntlr_count;
} rsm_topology_hdr_t;

typedef struct rsm_connections_hdr {
  char cntlr_name[MAXNAMELEN];
  rsm_addr_t local_hwaddr;
  int remote_cntlr_count;
} rsm_connections_hdr_t;

typedef struct rsm_remote_cntlr {
  rsm_node_id_t remote_nodeid;
  char remote_cntlrname[MAXNAMELEN];
  rsm_addr_t remote_hwaddr;
  uint_t connection_state; /* RSM_CONNECTION_ACTIVE, or it is of no use */
} rsm_remote_cntlr_t;

typedef struct rsm_connection {
  rsm_connections_hdr_t hdr;
  rsm_remote_cntlr_t remote_cntlr[1]; /* hdr.remote_cntlr_count of them */
} rsm_connections_t;

typedef struct rsm_topology {
  rsm_topology_hdr_t topology_hdr;
  rsm_connections_t *connections[1]; /* topology_hdr.local_cntlr_count of them */
} rsm_topology_t;

/* One controller, "loopback", connected with itself. To be freed by the second function. */
int rsm_get_interconnect_topology(rsm_topology_t **topology);
void rsm_free_interconnect_topology(rsm_topology_t *topology);

/* Segment numbers that the administrator has reserved for an application: [*baseid, *baseid + *length).
   BAD_APPID: it is not in the file. BAD_CONF: no file, or not one of that form. BAD_ADDR: NULL. */
int rsm_get_segmentid_range(const char *appid, rsm_memseg_id_t *baseid, uint32_t *length);

/* ---- Export: rsm_memseg_export_create(3) ---- */

/* Of create. */
#define RSM_ALLOW_REBIND 0x01
#define RSM_CREATE_SEG_DONTWAIT 0x02 /* no call waits for resources, with it or without */
#define RSM_LOCK_OPS 0x04 /* gets and puts of one aligned word are atomic, with it or without */

typedef struct {
  rsm_node_id_t ae_node;
  rsm_permission_t ae_permission; /* as of a file: 0 to 0666, for owner, group and others */
} rsmapi_access_entry_t;

int rsm_memseg_export_create(rsmapi_controller_handle_t controller,
                             rsm_memseg_export_handle_t *memseg, void *vaddr, size_t length,
                             uint_t flags);
int rsm_memseg_export_destroy(rsm_memseg_export_handle_t memseg);
int rsm_memseg_export_rebind(rsm_memseg_export_handle_t memseg, void *vaddr, offset_t off,
                             size_t length);
int rsm_memseg_export_publish(rsm_memseg_export_handle_t memseg, rsm_memseg_id_t *segment_id,
                              rsmapi_access_entry_t access_list[], uint_t access_list_length);
int rsm_memseg_export_unpublish(rsm_memseg_export_handle_t memseg);
int rsm_memseg_export_republish(rsm_memseg_export_handle_t memseg,
                                rsmapi_access_entry_t access_list[], uint_t access_list_length);

/* ---- Import: rsm_memseg_import_connect(3) ---- */

int rsm_memseg_import_connect(rsmapi_controller_handle_t controller, rsm_node_id_t nodeid,
                              rsm_memseg_id_t segment_id, rsm_permission_t perm,
                              rsm_memseg_import_handle_t *memseg);
int rsm_memseg_import_disconnect(rsm_memseg_import_handle_t memseg);

typedef enum { RSM_MAP_NONE = 0, RSM_MAP_FIXED = 1, RSM_MAP_RESERVED = 2 } rsm_attribute_t;

int rsm_memseg_import_map(rsm_memseg_import_handle_t memseg, void **address, rsm_attribute_t attr,
                          rsm_permission_t perm, off_t offset, size_t length);
int rsm_memseg_import_unmap(rsm_memseg_import_handle_t memseg);

int rsm_memseg_import_get(rsm_memseg_import_handle_t memseg, off_t offset, void *dst_addr,
                          size_t length);
int rsm_memseg_import_get8(rsm_memseg_import_handle_t memseg, off_t offset, uint8_t *datap,
                           ulong_t rep_cnt);
int rsm_memseg_import_get16(rsm_memseg_import_handle_t memseg, off_t offset, uint16_t *datap,
                            ulong_t rep_cnt);
int rsm_memseg_import_get32(rsm_memseg_import_handle_t memseg, off_t offset, uint32_t *datap,
                            ulong_t rep_cnt);
int rsm_memseg_import_get64(rsm_memseg_import_handle_t memseg, off_t offset, uint64_t *datap,
                            ulong_t rep_cnt);
int rsm_memseg_import_put(rsm_memseg_import_handle_t memseg, off_t offset, void *src_addr,
                          size_t length);
int rsm_memseg_import_put8(rsm_memseg_import_handle_t memseg, off_t offset, uint8_t *datap,
                           ulong_t rep_cnt);
int rsm_memseg_import_put16(rsm_memseg_import_handle_t memseg, off_t offset, uint16_t *datap,
                            ulong_t rep_cnt);
int rsm_memseg_import_put32(rsm_memseg_import_handle_t memseg, off_t offset, uint32_t *datap,
                            ulong_t rep_cnt);
int rsm_memseg_import_put64(rsm_memseg_import_handle_t memseg, off_t offset, uint64_t *datap,
                            ulong_t rep_cnt);

/* ---- Scatter and gather ---- */

#define RSM_HANDLE_TYPE 1
#define RSM_VA_TYPE 2

typedef struct {
  int io_type; /* RSM_HANDLE_TYPE or RSM_VA_TYPE */
  union {
    rsm_localmemory_handle_t handle;
    char *vaddr;
  } local;
  size_t local_offset;    /* bytes from the handle's memory, or from vaddr */
  size_t remote_offset;   /* bytes into the segment */
  size_t transfer_length; /* bytes */
} rsm_iovec_t;

/* Of rsm_scat_gath_t. */
#define RSM_IMPLICIT_SIGPOST 0x01
/* Of rsm_scat_gath_t, and of rsm_intr_signal_post. */
#define RSM_SIGPOST_NO_ACCUMULATE 0x02
#define RSM_SIG_POST_NO_ACCUMULATE RSM_SIGPOST_NO_ACCUMULATE

typedef struct {
  rsm_node_id_t local_nodeid;
  ulong_t io_request_count;  /* 1 to RSM_MAX_SGIOREQS */
  ulong_t io_residual_count; /* afterwards: requests that were not done */
  uint_t flags;
  rsm_memseg_import_handle_t remote_handle;
  rsm_iovec_t *iovec;
} rsm_scat_gath_t;

int rsm_memseg_import_getv(rsm_scat_gath_t *sg_io);
int rsm_memseg_import_putv(rsm_scat_gath_t *sg_io);

/* Memory of this process that is pinned (mpin(3)) as long as the handle is. */
int rsm_create_localmemory_handle(rsmapi_controller_handle_t controller,
                                  rsm_localmemory_handle_t *handle, char *local_vaddr,
                                  size_t length);
int rsm_free_localmemory_handle(rsmapi_controller_handle_t controller,
                                rsm_localmemory_handle_t handle);

/* ---- Barriers ---- */

typedef enum {
  RSM_BARRIER_SEGMENT = 0x01,
  RSM_BARRIER_NODE = 0x02,
  RSM_BARRIER_SEGMENT_THREAD = 0x11,
  RSM_BARRIER_NODE_THREAD = 0x12
} rsm_barrier_type_t;
#define RSM_BAR_DEFAULT RSM_BARRIER_SEGMENT

typedef enum { RSM_BARRIER_MODE_EXPLICIT = 0, RSM_BARRIER_MODE_IMPLICIT = 1 } rsm_barrier_mode_t;

/* To be changed by the functions alone. */
typedef struct {
  void *seg;
  uint64_t state[3];
} rsmapi_barrier_t;

int rsm_memseg_import_init_barrier(rsm_memseg_import_handle_t memseg, rsm_barrier_type_t type,
                                   rsmapi_barrier_t *barrier);
int rsm_memseg_import_open_barrier(rsmapi_barrier_t *barrier);
int rsm_memseg_import_order_barrier(rsmapi_barrier_t *barrier);
int rsm_memseg_import_close_barrier(rsmapi_barrier_t *barrier);
int rsm_memseg_import_destroy_barrier(rsmapi_barrier_t *barrier);
int rsm_memseg_import_set_mode(rsm_memseg_import_handle_t memseg, rsm_barrier_mode_t mode);
int rsm_memseg_import_get_mode(rsm_memseg_import_handle_t memseg, rsm_barrier_mode_t *mode);

/* ---- Signals: of an exported or an imported segment's handle ---- */

int rsm_intr_signal_post(void *memseg, uint_t flags);
/* `timeout` in milliseconds; -1: for ever. */
int rsm_intr_signal_wait(void *memseg, int timeout);
int rsm_intr_signal_wait_pollfd(struct pollfd fds[], nfds_t nfds, int timeout, int *numfdsp);
int rsm_memseg_get_pollfd(void *memseg, struct pollfd *fd);
int rsm_memseg_release_pollfd(void *memseg);

/* ---- Ours ---- */

/* The calling thread's last failure in words: what was asked, why it failed, how to mend it. "" before
   the first. Valid until the thread's next failure. */
const char *rsm_error(void);

#ifdef __cplusplus
}
#endif

#endif /* RSM_RSMAPI_H_ */
