#include "tests/support/rsm_setting.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "rsm/internal/import_segment.h"
#include "rsm/internal/protocol.h"
#include "tests/support/test_segment.h"

namespace test_support {

bool Eventually(const std::function<bool()>& is_so) {
  constexpr std::chrono::seconds kPatience{50};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void AwaitIdleThreads() {
  const std::string self = std::to_string(syscall(SYS_gettid));
  EXPECT_TRUE(Eventually([&] {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
      if (thread.path().filename() == self) continue;
      std::ifstream status(thread.path() / "stat");
      std::string text;
      std::getline(status, text);
      const size_t name_end = text.rfind(')');
      if (name_end != text.npos && text.substr(name_end + 2, 1) != "S") return false;
    }
    return true;
  })) << "a thread does not sleep";
}

size_t CountMappedObjects() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:rsm (") != line.npos) ++count;
  }
  return count;
}

std::span<const PlannedCall> RsmSystemCalls() {
  static constexpr PlannedCall kCalls[] = {
      {SYS_memfd_create, "memfd_create", EMFILE},
      {SYS_ftruncate, "ftruncate", EPERM},
      {SYS_fchmod, "fchmod", EPERM},
      {SYS_fcntl, "fcntl", EMFILE},
      {SYS_mmap, "mmap", ENOMEM},
      {SYS_mremap, "mremap", ENOMEM},
      {SYS_mprotect, "mprotect", ENOMEM},
      {SYS_mlock, "mlock", ENOMEM},
      {SYS_mlock2, "mlock2", ENOMEM},
      {SYS_munlock, "munlock", ENOMEM},
      {SYS_madvise, "madvise", ENOMEM},
      {SYS_userfaultfd, "userfaultfd", EMFILE},
      {SYS_ioctl, "ioctl", ENOMEM},
      {SYS_socket, "socket", EMFILE},
      {SYS_bind, "bind", ENOSPC},
      {SYS_listen, "listen", ENOBUFS},
      {SYS_connect, "connect", ENOBUFS},
      {SYS_accept4, "accept4", EMFILE},
      {SYS_getsockopt, "getsockopt", ENOBUFS},
      {SYS_sendmsg, "sendmsg", ENOBUFS},
      {SYS_recvmsg, "recvmsg", ENOBUFS},
      {SYS_ppoll, "ppoll", ENOMEM},
      {SYS_openat, "openat", EMFILE},
      {SYS_newfstatat, "newfstatat", ENOMEM},
      {SYS_fstat, "fstat", ENOMEM},
      {SYS_fchmodat, "fchmodat", EPERM},
      {SYS_linkat, "linkat", ENOSPC},
      {SYS_unlinkat, "unlinkat", EROFS},
      {SYS_flock, "flock", ENOLCK},
      {SYS_read, "read", ENOMEM},
      {SYS_getdents64, "getdents64", ENOMEM},
      {SYS_epoll_create1, "epoll_create1", EMFILE},
      {SYS_epoll_ctl, "epoll_ctl", ENOSPC},
      {SYS_eventfd2, "eventfd2", EMFILE},
      {SYS_clone, "clone", EAGAIN},
      {SYS_clone3, "clone3", EAGAIN},
      {SYS_set_robust_list, "set_robust_list", EINVAL},
#ifdef SYS_open
      {SYS_open, "open", EMFILE},
      {SYS_stat, "stat", ENOMEM},
      {SYS_chmod, "chmod", EPERM},
      {SYS_unlink, "unlink", EROFS},
#endif
  };
  return kCalls;
}

testing::AssertionResult IsRsmError(int code) {
  const bool is_known = code > RSM_SUCCESS && code <= RSMERR_SEG_NOT_CONNECTED;
  if (is_known && *rsm_error() != '\0') return testing::AssertionSuccess();
  return testing::AssertionFailure() << "code " << code << ": " << rsm_error();
}

rsmapi_controller_handle_t RsmController() {
  static rsmapi_controller_handle_t controller = nullptr;
  if (controller == nullptr) {
    EXPECT_TRUE(Succeeds(rsm_get_controller(nullptr, &controller)));
  }
  return controller;
}

int Create(rsm_memseg_export_handle_t& handle, void* memory, size_t bytes, uint_t flags) {
  return rsm_memseg_export_create(RsmController(), &handle, memory, bytes, flags);
}

int Publish(rsm_memseg_export_handle_t handle, rsm_memseg_id_t segment, int mode) {
  rsmapi_access_entry_t entry = {1, static_cast<rsm_permission_t>(mode)};
  return rsm_memseg_export_publish(handle, &segment, mode < 0 ? nullptr : &entry, mode < 0 ? 0 : 1);
}

int Connect(rsm_memseg_import_handle_t& handle, rsm_permission_t permission,
            rsm_memseg_id_t segment) {
  const int code = rsm_memseg_import_connect(RsmController(), 1, segment, permission, &handle);
  if (code != RSM_SUCCESS) return code;
  return rsm_memseg_import_set_mode(handle, RSM_BARRIER_MODE_EXPLICIT);
}

void* Map(rsm_memseg_import_handle_t handle, size_t bytes, rsm_permission_t permission) {
  void* address = nullptr;
  const int code = rsm_memseg_import_map(handle, &address, RSM_MAP_NONE, permission, 0, bytes);
  return code == RSM_SUCCESS ? address : nullptr;
}

int ImportersOf(rsm_memseg_id_t segment) {
  rsm::internal::Reply reply;
  if (rsm::internal::Describe(segment, reply) != RSM_SUCCESS) return -1;
  return static_cast<int>(reply.importers);
}

}  // namespace test_support
