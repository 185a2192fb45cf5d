#include "tests/support/temporary_swap.h"

#include <fcntl.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/memory.h"
#include "tests/support/test_mapping.h"

namespace test_support {
namespace {

constexpr uint32_t kPages = 16384;

// Whether the kernel pages out anonymous memory here: tried on a little of it.
bool AnonymousMemoryGoesOut() {
  const TestMapping mapping(64);
  for (size_t page = 0; page < 64; ++page) *mapping.page(page) = std::byte{1};
  if (!os::RealMemory().PageOut(mapping.all()).ok()) return false;
  const os::Result<os::PageCount> present = os::RealMemory().CountPresent(mapping.all());
  return present.ok() && *present < os::PageCount(64);
}

// What mkswap(8) writes: a page with the version, the last page's number, and a magic word at the
// end. The file must have no hole.
bool WriteSwapFile(int file) {
  std::string header(PageSize(), '\0');
  const uint32_t version_and_last_page[] = {1, kPages - 1};
  std::memcpy(header.data() + 1024, version_and_last_page, sizeof(version_and_last_page));
  constexpr char kMagic[] = "SWAPSPACE2";
  std::memcpy(header.data() + PageSize() - 10, kMagic, 10);
  const std::string page(PageSize(), '\0');
  for (uint32_t i = 0; i < kPages; ++i) {
    const std::string& bytes = i == 0 ? header : page;
    if (write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return false;
  }
  return fsync(file) == 0;
}

// Waits until nobody has the other end of the pipe, then removes the swap file. In a session of its
// own, so that who ends the test does not end it too.
[[noreturn]] void Guard(int pipe_end, const char* path) {
  setsid();
  char byte;
  while (read(pipe_end, &byte, 1) < 0 && errno == EINTR) {
  }
  (void)swapoff(path);
  (void)unlink(path);
  for (;;) syscall(SYS_exit_group, 0);
}

}  // namespace

TemporarySwap::TemporarySwap() {
  if (AnonymousMemoryGoesOut()) return;
  problem_ = Make();
  if (problem_.empty() && !AnonymousMemoryGoesOut()) {
    problem_ = "anonymous memory stays where it is in spite of a swap file";
  }
}

// Empty: the file is made, and in use.
std::string TemporarySwap::Make() {
  std::string path = testing::TempDir() + "/swap.XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) return path + ": " + std::strerror(errno);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  guard_ = fork();
  if (guard_ < 0) std::abort();
  if (guard_ == 0) {
    close(ends[1]);
    Guard(ends[0], path.c_str());
  }
  close(ends[0]);
  guard_end_ = ends[1];
  const bool written = WriteSwapFile(file);
  close(file);
  if (!written) return "no swap, and a file for it cannot be written";
  if (swapon(path.c_str(), 0) == 0) return "";
  return std::string("no swap, and swapon: ") + std::strerror(errno);
}

TemporarySwap::~TemporarySwap() {
  if (guard_ < 0) return;
  close(guard_end_);
  while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace test_support
