// What tests of rsm with several processes share: values, what they ask the kernel, and short calls on
// plain handles, for processes that are killed or may fail.

#ifndef TESTS_SUPPORT_RSM_SETTING_H_
#define TESTS_SUPPORT_RSM_SETTING_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>
#include <span>
#include <type_traits>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/syscall_plan.h"

namespace test_support {

// A value that this process shares with the children it makes.
template <typename T>
class SharedValue {
 public:
  SharedValue()
      : value_(
            mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (value_ == MAP_FAILED) std::abort();
    new (value_) T();
  }
  SharedValue(const SharedValue&) = delete;
  SharedValue& operator=(const SharedValue&) = delete;
  ~SharedValue() { munmap(value_, sizeof(T)); }
  T& operator*() const { return *static_cast<T*>(value_); }
  T* operator->() const { return static_cast<T*>(value_); }

 private:
  void* value_;
};

// Whether it becomes so within a time that is ample on any machine. Looks every millisecond.
bool Eventually(const std::function<bool()>& is_so);

// Waits until all other threads of this process sleep: what they had been told to do is done.
void AwaitIdleThreads();
// Mappings of segments' objects in this process.
size_t CountMappedObjects();

// System calls by which rsm changes something, or gets hold of something, each with an error that it may
// give. munmap(2) is not there: what could not be unmapped stays, and nobody can help it.
std::span<const PlannedCall> RsmSystemCalls();

// Whether it is an RSMERR_ code, with a text.
testing::AssertionResult IsRsmError(int code);

// "loopback", got once for each process.
rsmapi_controller_handle_t RsmController();

// In the segments of tests: above what is reserved.
inline constexpr rsm_memseg_id_t kSegment = 0x500001;

int Create(rsm_memseg_export_handle_t& handle, void* memory, size_t bytes,
           uint_t flags = RSM_ALLOW_REBIND);
// Under that number; without a mode: what the umask leaves.
int Publish(rsm_memseg_export_handle_t handle, rsm_memseg_id_t segment = kSegment, int mode = -1);
// With explicit barriers, so that get and put need none.
int Connect(rsm_memseg_import_handle_t& handle, rsm_permission_t permission = RSM_PERM_RDWR,
            rsm_memseg_id_t segment = kSegment);
// nullptr: it failed.
void* Map(rsm_memseg_import_handle_t handle, size_t bytes,
          rsm_permission_t permission = RSM_PERM_RDWR);
// How many importers the segment has, as its exporter says; -1: it does not answer.
int ImportersOf(rsm_memseg_id_t segment = kSegment);

// Where userfaultfd(2) is refused, a program with several threads has no segments of private memory.
void SkipUnlessWritersCanBeStopped();

}  // namespace test_support

#endif  // TESTS_SUPPORT_RSM_SETTING_H_
