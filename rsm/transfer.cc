// The C interface: get and put, scatter and gather, local memory.

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "os/latch.h"
#include "pinlock/mpin.h"
#include "rsm/internal/controllers.h"
#include "rsm/internal/error.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/handle_table.h"
#include "rsm/internal/imports.h"
#include "rsm/internal/unpin.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {
namespace {

int FailTransfer(const ImportSegment& segment, rsm_permission_t permission, off_t offset,
                 size_t length) {
  const auto begin = static_cast<uint64_t>(offset);
  if ((segment.permission() & permission) == 0) {
    return Fail(RSMERR_PERM_DENIED,
                "the connection was made with permission 0%o, which is not to %s",
                segment.permission(), permission == RSM_PERM_READ ? "read" : "write");
  }
  if (offset < 0) return Fail(RSMERR_BAD_OFFSET, "offset %jd", static_cast<intmax_t>(offset));
  if (begin > segment.bytes() || length > segment.bytes() - begin) {
    return Fail(RSMERR_BAD_LENGTH, "%zu bytes from %jd; the segment has %ju", length,
                static_cast<intmax_t>(offset), static_cast<uintmax_t>(segment.bytes()));
  }
  return Fail(RSMERR_BAD_OFFSET, "%zu bytes from %jd; of the segment %ju to %ju are mapped", length,
              static_cast<intmax_t>(offset), static_cast<uintmax_t>(segment.window_begin()),
              static_cast<uintmax_t>(segment.window_end()));
}

// Kept short: a get of one word is some ten nanoseconds.
inline int CheckTransfer(const ImportSegment& segment, rsm_permission_t permission, off_t offset,
                         size_t length) {
  const auto begin = static_cast<uint64_t>(offset);  // a negative one is beyond every end
  const uint64_t end = segment.window_end();
  if ((segment.permission() & permission) == 0 || begin < segment.window_begin() || begin > end ||
      length > end - begin) [[unlikely]] {
    return FailTransfer(segment, permission, offset, length);
  }
  if (segment.mode() == RSM_BARRIER_MODE_IMPLICIT &&
      segment.barriers.load(std::memory_order_relaxed) == 0) [[unlikely]] {
    return Fail(RSMERR_BARRIER_UNINITIALIZED,
                "the segment has no barrier; rsm_memseg_import_init_barrier, or "
                "RSM_BARRIER_MODE_EXPLICIT");
  }
  return RSM_SUCCESS;
}

int FailWithoutData() { return Fail(RSMERR_BAD_ADDR, "no memory to copy to or from"); }

template <bool kPut>
int CopyBytes(rsm_memseg_import_handle_t memseg, off_t offset, void* data, size_t length) {
  const ImportTable::Use segment = FindImport(memseg);
  if (!segment) return FailWithoutImport(memseg);
  if (data == nullptr && length > 0) return FailWithoutData();
  const int error = CheckTransfer(*segment, kPut ? RSM_PERM_WRITE : RSM_PERM_READ, offset, length);
  if (error != RSM_SUCCESS) return error;
  std::byte* const remote = segment->view() + offset;
  if (length > 0) std::memcpy(kPut ? remote : data, kPut ? data : remote, length);
  return segment->CheckConnected();
}

// Word by word, none of them torn.
template <bool kPut, typename Word>
int CopyWords(rsm_memseg_import_handle_t memseg, off_t offset, Word* data, ulong_t count) {
  const ImportTable::Use segment = FindImport(memseg);
  if (!segment) return FailWithoutImport(memseg);
  if (data == nullptr && count > 0) return FailWithoutData();
  if (reinterpret_cast<uintptr_t>(data) % sizeof(Word) != 0) {
    return Fail(RSMERR_BAD_MEM_ALIGNMENT, "%p is not aligned to its words of %zu bytes",
                static_cast<void*>(data), sizeof(Word));
  }
  if (static_cast<uint64_t>(offset) % sizeof(Word) != 0) {
    return Fail(RSMERR_MISALIGNED_OFFSET, "offset %jd is not aligned to words of %zu bytes",
                static_cast<intmax_t>(offset), sizeof(Word));
  }
  const size_t length = count > SIZE_MAX / sizeof(Word) ? SIZE_MAX : count * sizeof(Word);
  const int error = CheckTransfer(*segment, kPut ? RSM_PERM_WRITE : RSM_PERM_READ, offset, length);
  if (error != RSM_SUCCESS) return error;
  auto* const remote = reinterpret_cast<Word*>(segment->view() + offset);
  for (ulong_t i = 0; i < count; ++i) {
    if constexpr (kPut) {
      __atomic_store_n(&remote[i], data[i], __ATOMIC_RELAXED);
    } else {
      data[i] = __atomic_load_n(&remote[i], __ATOMIC_RELAXED);
    }
  }
  return segment->CheckConnected();
}

struct LocalMemory {
  char* address;
  size_t bytes;
  uint32_t generation;
};
using LocalTable = HandleTable<LocalMemory, 4>;
constinit LocalTable local_memory;

int FailWithoutLocal(rsm_localmemory_handle_t handle) {
  return Fail(RSMERR_BAD_LOCALMEM_HNDL,
              "%p is no local memory; rsm_create_localmemory_handle gives one, until it is freed",
              static_cast<void*>(handle));
}

template <bool kPut>
int CopyOne(rsm_memseg_import_handle_t remote, const rsm_iovec_t& request) {
  const auto offset = static_cast<off_t>(request.remote_offset);
  if (request.io_type == RSM_VA_TYPE) {
    if (request.local.vaddr == nullptr) return FailWithoutData();
    return CopyBytes<kPut>(remote, offset, request.local.vaddr + request.local_offset,
                           request.transfer_length);
  }
  if (request.io_type != RSM_HANDLE_TYPE) {
    return Fail(RSMERR_BAD_SGIO, "io_type %d; it is RSM_HANDLE_TYPE or RSM_VA_TYPE",
                request.io_type);
  }
  const LocalTable::Use local = local_memory.Find(request.local.handle);
  if (!local || local->generation != ProcessGeneration()) {
    return FailWithoutLocal(request.local.handle);
  }
  if (request.local_offset > local->bytes) {
    return Fail(RSMERR_BAD_OFFSET, "local offset %zu; the handle has %zu bytes",
                request.local_offset, local->bytes);
  }
  if (request.transfer_length > local->bytes - request.local_offset) {
    return Fail(RSMERR_BAD_LENGTH, "%zu bytes from local offset %zu; the handle has %zu",
                request.transfer_length, request.local_offset, local->bytes);
  }
  return CopyBytes<kPut>(remote, offset, local->address + request.local_offset,
                         request.transfer_length);
}

template <bool kPut>
int CopyMany(rsm_scat_gath_t* list) {
  if (list == nullptr) return Fail(RSMERR_BAD_SGIO, "the list is NULL");
  if (list->io_request_count == 0 || list->io_request_count > RSM_MAX_SGIOREQS ||
      list->iovec == nullptr) {
    return Fail(RSMERR_BAD_SGIO, "%lu requests; 1 to %d are possible%s", list->io_request_count,
                RSM_MAX_SGIOREQS, list->iovec == nullptr ? ", and iovec is NULL" : "");
  }
  list->io_residual_count = list->io_request_count;
  for (ulong_t i = 0; i < list->io_request_count; ++i) {
    const int error = CopyOne<kPut>(list->remote_handle, list->iovec[i]);
    if (error != RSM_SUCCESS) return error;
    --list->io_residual_count;
  }
  if ((list->flags & RSM_IMPLICIT_SIGPOST) == 0) return RSM_SUCCESS;
  return rsm_intr_signal_post(list->remote_handle, list->flags & RSM_SIGPOST_NO_ACCUMULATE);
}

}  // namespace
}  // namespace rsm::internal

using namespace rsm::internal;  // NOLINT: what follows is C's

int rsm_memseg_import_get(rsm_memseg_import_handle_t memseg, off_t offset, void* dst_addr,
                          size_t length) {
  return CopyBytes<false>(memseg, offset, dst_addr, length);
}
int rsm_memseg_import_get8(rsm_memseg_import_handle_t memseg, off_t offset, uint8_t* datap,
                           ulong_t rep_cnt) {
  return CopyWords<false>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_get16(rsm_memseg_import_handle_t memseg, off_t offset, uint16_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<false>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_get32(rsm_memseg_import_handle_t memseg, off_t offset, uint32_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<false>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_get64(rsm_memseg_import_handle_t memseg, off_t offset, uint64_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<false>(memseg, offset, datap, rep_cnt);
}

int rsm_memseg_import_put(rsm_memseg_import_handle_t memseg, off_t offset, void* src_addr,
                          size_t length) {
  return CopyBytes<true>(memseg, offset, src_addr, length);
}
int rsm_memseg_import_put8(rsm_memseg_import_handle_t memseg, off_t offset, uint8_t* datap,
                           ulong_t rep_cnt) {
  return CopyWords<true>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_put16(rsm_memseg_import_handle_t memseg, off_t offset, uint16_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<true>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_put32(rsm_memseg_import_handle_t memseg, off_t offset, uint32_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<true>(memseg, offset, datap, rep_cnt);
}
int rsm_memseg_import_put64(rsm_memseg_import_handle_t memseg, off_t offset, uint64_t* datap,
                            ulong_t rep_cnt) {
  return CopyWords<true>(memseg, offset, datap, rep_cnt);
}

int rsm_memseg_import_getv(rsm_scat_gath_t* sg_io) { return CopyMany<false>(sg_io); }
int rsm_memseg_import_putv(rsm_scat_gath_t* sg_io) { return CopyMany<true>(sg_io); }

int rsm_create_localmemory_handle(rsmapi_controller_handle_t controller,
                                  rsm_localmemory_handle_t* handle, char* local_vaddr,
                                  size_t length) {
  return Guarded([&] {
    if (const int error = CheckController(controller); error != RSM_SUCCESS) return error;
    if (handle == nullptr) {
      return Fail(RSMERR_BAD_LOCALMEM_HNDL, "no place for the local memory's handle");
    }
    if (local_vaddr == nullptr) return Fail(RSMERR_BAD_ADDR, "local memory at NULL");
    if (length == 0) return Fail(RSMERR_BAD_LENGTH, "local memory of 0 bytes");
    if (mpin(local_vaddr, length) != 0) {
      return Fail(errno == EINVAL ? RSMERR_BAD_ADDR : RSMERR_INSUFFICIENT_MEM, "%s", mpin_error());
    }
    auto local =
        std::make_shared<LocalMemory>(LocalMemory{local_vaddr, length, ProcessGeneration()});
    const os::LatchHolder holder(ImportLatch());  // fork finds the table whole
    void* const made = local_memory.Add(std::move(local));
    if (made == nullptr) {
      (void)munpin(local_vaddr, length);
      return Fail(RSMERR_INSUFFICIENT_MEM, "there are too many handles of local memory");
    }
    *handle = static_cast<rsm_localmemory_handle_t>(made);
    return RSM_SUCCESS;
  });
}

int rsm_free_localmemory_handle(rsmapi_controller_handle_t controller,
                                rsm_localmemory_handle_t handle) {
  return Guarded([&] {
    if (const int error = CheckController(controller); error != RSM_SUCCESS) return error;
    std::shared_ptr<LocalMemory> local;
    {
      const os::LatchHolder holder(ImportLatch());
      local = local_memory.Remove(handle);
    }
    if (local == nullptr) return FailWithoutLocal(handle);
    if (local->generation == ProcessGeneration()) Unpin(local->address, local->bytes);
    return RSM_SUCCESS;
  });
}
