#include "os/live_replace_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include "os/descriptor.h"

namespace {
bool older_kernel = false;
std::vector<uint64_t> boundaries;

int OlderAnswer(unsigned long request, void* argument) {
  if (request == UFFDIO_API) {
    auto& agreement = *static_cast<uffdio_api*>(argument);
    if ((agreement.features >> 13) == 0) return 0;
    agreement = {};
    return EINVAL;
  }
  if (request != UFFDIO_WRITEPROTECT) return 0;
  const uffdio_range range = static_cast<uffdio_writeprotect*>(argument)->range;
  for (const uint64_t boundary : boundaries) {
    if (range.start < boundary && boundary < range.start + range.len) return ENOENT;
  }
  return 0;
}
}  // namespace

// The C library's, or an older kernel's.
extern "C" int ioctl(int descriptor, unsigned long request, ...) noexcept {
  std::va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  const int error = older_kernel ? OlderAnswer(request, argument) : 0;
  if (error == 0) return static_cast<int>(syscall(SYS_ioctl, descriptor, request, argument));
  errno = error;
  return -1;
}

namespace os {

OlderKernel::OlderKernel() { older_kernel = true; }
OlderKernel::~OlderKernel() {
  older_kernel = false;
  boundaries.clear();
}
void OlderKernel::MappingsMeetAt(const std::byte* address) {
  boundaries.push_back(reinterpret_cast<uintptr_t>(address));
}

bool WaitUntil(const std::function<bool()>& predicate) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

std::byte* NewMemory(Kind kind, size_t pages) {
  const size_t bytes = pages * kPage;
  const Result<void*> mapped = kind == Kind::kPrivate
                                   ? MapPrivate(bytes)
                                   : MapShared(MemoryObject::Create("test", bytes)->descriptor(), 0,
                                               bytes, View::kReadWrite);
  EXPECT_TRUE(mapped.ok()) << mapped.error().Name();
  return static_cast<std::byte*>(*mapped);
}

void CopyWords(std::byte* to, std::byte* from, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += sizeof(uint64_t)) {
    Word(to + offset)
        .store(Word(from + offset).load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

size_t ProtectedPages(const std::byte* range, size_t pages) {
  const Result<OwnedDescriptor> pagemap = OpenForReading("/proc/self/pagemap");
  size_t found = 0;
  for (size_t page = 0; page < pages; ++page) {
    uint64_t entry = 0;
    const size_t number = reinterpret_cast<uintptr_t>(range) / kPage + page;
    EXPECT_EQ(
        pread(pagemap->get(), &entry, sizeof(entry), static_cast<off_t>(number * sizeof(entry))),
        static_cast<ssize_t>(sizeof(entry)));
    found += entry >> 57 & 1;
  }
  return found;
}

size_t OpenDescriptors() {
  DIR* const entries = opendir("/proc/self/fd");
  size_t count = 0;
  while (readdir(entries) != nullptr) ++count;
  (void)closedir(entries);
  return count;
}

Writer::~Writer() {
  end_ = true;
  thread_.join();
}

void Writer::Run() {
  number_ = static_cast<pid_t>(syscall(SYS_gettid));
  while (!begin_ && !end_) std::this_thread::yield();
  if (!begin_) return;
  begun_ = true;
  write_();
  done_ = true;
}

void Writer::Begin() {
  begin_ = true;
  int times = 0;  // in turn: it may sleep for a moment for another reason
  EXPECT_TRUE(WaitUntil([&] {
    times = begun_ && IsAsleep() ? times + 1 : 0;
    return IsDone() || times == 20;
  }));
}

// Its state is the letter behind its name, of proc(5). A page fault sleeps as S or as D.
bool Writer::IsAsleep() const {
  char path[64];
  (void)std::snprintf(path, sizeof(path), "/proc/self/task/%d/stat", number_.load());
  const OwnedDescriptor file(open(path, O_RDONLY | O_CLOEXEC));
  char text[256] = {};
  if (read(file.get(), text, sizeof(text) - 1) <= 0) return false;
  const char* const name_end = std::strrchr(text, ')');
  return name_end != nullptr && (name_end[2] == 'S' || name_end[2] == 'D');
}

void ExpectNothingIsStopped(std::byte* range, size_t pages) {
  EXPECT_EQ(ProtectedPages(range, pages), 0u);
  Writer writer([=] {
    for (size_t page = 0; page < pages; ++page) Word(range + page * kPage + 8).store(page + 1);
  });
  writer.Begin();
  EXPECT_TRUE(writer.Finish());
  for (size_t page = 0; page < pages; ++page) {
    EXPECT_EQ(Word(range + page * kPage + 8).load(), page + 1);
  }
}

void LiveReplaceTest::SetUp() {
  const OwnedDescriptor faults(
      static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  uffdio_api agreement{.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP, .ioctls = 0};
  if (faults.get() >= 0 && ioctl(faults.get(), UFFDIO_API, &agreement) == 0) return;
  GTEST_SKIP() << "userfaultfd(2) cannot be had: " << Errno::Last().Name();
}

}  // namespace os
