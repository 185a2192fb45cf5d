// Memory that a program shares before it exports it: by memfd_create(2), and by shmget(2).
//
// The tests play the application here, so they call the kernel directly.

#ifndef TESTS_SUPPORT_SHARED_MEMORY_H_
#define TESTS_SUPPORT_SHARED_MEMORY_H_

#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "tests/support/test_mapping.h"

namespace test_support {

// A descriptor of a file in memory, of so many pages of zeros.
inline os::OwnedDescriptor MemoryFile(size_t pages) {
  os::OwnedDescriptor file(memfd_create("test", MFD_CLOEXEC));
  EXPECT_GE(file.get(), 0) << std::strerror(errno);
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(pages * PageSize())), 0);
  return file;
}

// Puts a view of the file, from its beginning, in the place of the mapping's first pages.
inline void MapInstead(const TestMapping& mapping, size_t pages, int descriptor, int flags,
                       int protection = PROT_READ | PROT_WRITE) {
  ASSERT_EQ(mmap(mapping.page(0), pages * PageSize(), protection, flags | MAP_FIXED, descriptor, 0),
            mapping.page(0))
      << std::strerror(errno);
}

// A segment of shmget(2), attached once; gone when nobody is attached any more.
class SysVSegment {
 public:
  explicit SysVSegment(size_t pages, int flags = 0)
      : number_(shmget(IPC_PRIVATE, pages * PageSize(), IPC_CREAT | 0600)),
        address_(shmat(number_, nullptr, flags)) {
    EXPECT_NE(address_, reinterpret_cast<void*>(-1)) << std::strerror(errno);
    EXPECT_EQ(shmctl(number_, IPC_RMID, nullptr), 0) << std::strerror(errno);
  }
  SysVSegment(const SysVSegment&) = delete;
  SysVSegment& operator=(const SysVSegment&) = delete;
  // It must be attached where it was.
  ~SysVSegment() { EXPECT_EQ(shmdt(address_), 0) << std::strerror(errno); }

  std::byte* page(size_t index) const {
    return static_cast<std::byte*>(address_) + index * PageSize();
  }
  int number() const { return number_; }
  // Of all processes.
  size_t CountAttachments() const {
    shmid_ds status = {};
    EXPECT_EQ(shmctl(number_, IPC_STAT, &status), 0) << std::strerror(errno);
    return status.shm_nattch;
  }

 private:
  int number_;
  void* address_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_SHARED_MEMORY_H_
