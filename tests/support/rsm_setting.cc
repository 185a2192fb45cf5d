#include "tests/support/rsm_setting.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "rsm/internal/import_segment.h"
#include "rsm/internal/protocol.h"
#include "tests/support/child.h"
#include "tests/support/tagged_memory.h"
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

namespace {

std::string LineOf(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Whether a thread of this process waits to be told something, or has ended. Who sleeps in another system
// call may be kept there by a filter (syscall_plan.h).
bool IsIdle(const std::string& thread) {
  const std::string folder = "/proc/self/task/" + thread;
  const std::string status = LineOf(folder + "/stat");
  const size_t name_end = status.rfind(')');
  if (name_end == status.npos) return true;
  if (status.substr(name_end + 2, 1) != "S") return false;
  const std::string call = LineOf(folder + "/syscall");
  const long number = std::strtol(call.c_str(), nullptr, 10);
  constexpr long kWaits[] = {SYS_futex,
                             449 /* futex_waitv */,
                             SYS_epoll_pwait,
                             SYS_ppoll,
                             SYS_clock_nanosleep,
                             SYS_nanosleep,
#ifdef SYS_epoll_wait
                             SYS_epoll_wait,
                             SYS_poll
#endif
  };
  return call.empty() || std::ranges::find(kWaits, number) != std::end(kWaits);
}

}  // namespace

void AwaitIdleThreads() {
  const std::string self = std::to_string(syscall(SYS_gettid));
  EXPECT_TRUE(Eventually([&] {
    const std::unique_ptr<DIR, int (*)(DIR*)> threads(opendir("/proc/self/task"), closedir);
    if (threads == nullptr) return false;
    while (const dirent* const thread = readdir(threads.get())) {
      const std::string name = thread->d_name;
      if (!name.starts_with('.') && name != self && !IsIdle(name)) return false;
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

void SkipUnlessWritersCanBeStopped() {
  RunInChild([] {
    TaggedMemory memory(1, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    std::atomic<bool> ends = false;
    std::thread other([&] {
      while (!ends.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    const int code = Create(segment, memory.address(), memory.bytes());
    ends.store(true);
    other.join();
    if (code == RSMERR_INSUFFICIENT_RESOURCES) GTEST_SKIP() << rsm_error();
    EXPECT_TRUE(Succeeds(code));
  });
}

}  // namespace test_support
