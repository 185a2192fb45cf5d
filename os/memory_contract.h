// MemoryContract: what the tests of Memory's contract share. Each runs on the kernel and on the fake.
// A page is known to be locked by PageOut, which refuses it.

#ifndef OS_MEMORY_CONTRACT_H_
#define OS_MEMORY_CONTRACT_H_

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "os/fake_memory.h"
#include "os/file.h"
#include "os/memory.h"
#include "tests/support/child.h"

namespace os {

using Access = Memory::Access;
using Fork = Memory::Fork;

// A Memory, and what its interface cannot set up.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Memory& memory() = 0;
  // Makes the pages come one by one.
  virtual void ForbidHugePages(PageRange pages) = 0;
  // A shared mapping of a file of the first `in_file` pages.
  virtual PageRange MapFile(PageCount count, PageCount in_file) = 0;
  // The same of a file of a file system, without blocks yet, that stays open.
  virtual PageRange MapSparseFile(PageCount count, PageCount in_file) = 0;
  virtual void SetLockLimit(PageCount limit) = 0;
  // Runs `body` without privilege, with nothing locked yet. Its failures are those of the test.
  virtual void RunUnprivileged(const std::function<void()>& body) = 0;
};

class KernelSubject final : public Subject {
 public:
  Memory& memory() override { return RealMemory(); }

  void ForbidHugePages(PageRange pages) override {
    const size_t page = memory().page_size();
    // EINVAL: a kernel without huge pages.
    (void)madvise(pages.address(page), pages.bytes(page), MADV_NOHUGEPAGE);
  }

  PageRange MapFile(PageCount count, PageCount in_file) override {
    const OwnedDescriptor file(memfd_create("contract", MFD_CLOEXEC));
    return MapDescriptor(file.get(), count, in_file);
  }

  PageRange MapSparseFile(PageCount count, PageCount in_file) override {
    Result<OwnedDescriptor> file = CreateUnnamedFile(::testing::TempDir());
    EXPECT_TRUE(file.ok()) << file.error().Name();
    files_.push_back(std::move(*file));
    return MapDescriptor(files_.back().get(), count, in_file);
  }

  void SetLockLimit(PageCount limit) override {
    rlimit bytes{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &bytes), 0);
    bytes.rlim_cur = limit.bytes(memory().page_size());
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &bytes), 0) << Errno::Last().Name();
  }

  void RunUnprivileged(const std::function<void()>& body) override {
    test_support::RunInChild({.drop_privilege = true}, body);
  }

 private:
  PageRange MapDescriptor(int file, PageCount count, PageCount in_file) {
    const size_t page = memory().page_size();
    EXPECT_EQ(ftruncate(file, static_cast<off_t>(in_file.bytes(page))), 0);
    void* address = mmap(nullptr, count.bytes(page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    EXPECT_NE(address, MAP_FAILED);
    return PageRange(PageNumber(reinterpret_cast<uintptr_t>(address) / page), count);
  }

  std::vector<OwnedDescriptor> files_;
};

class FakeSubject final : public Subject {
 public:
  Memory& memory() override { return fake_; }
  void ForbidHugePages(PageRange) override {}

  PageRange MapFile(PageCount count, PageCount in_file) override {
    const PageRange pages = *fake_.Map(count, Access::kReadWrite, Fork::kInherit);
    fake_.AddFileMapping(pages, in_file);
    return pages;
  }

  PageRange MapSparseFile(PageCount count, PageCount in_file) override {
    const PageRange pages = *fake_.Map(count, Access::kReadWrite, Fork::kInherit);
    fake_.AddFileMapping(pages, in_file, testing::FakeMemory::FileKind::kSparse);
    return pages;
  }

  void SetLockLimit(PageCount limit) override { fake_.set_lock_limit(limit); }
  void RunUnprivileged(const std::function<void()>& body) override { body(); }

 private:
  testing::FakeMemory fake_;
};

class MemoryContract : public ::testing::TestWithParam<std::string> {
 protected:
  MemoryContract() {
    if (GetParam() == "Kernel") {
      subject_ = std::make_unique<KernelSubject>();
    } else {
      subject_ = std::make_unique<FakeSubject>();
    }
  }

  Memory& memory() { return subject_->memory(); }

  PageRange Map(uint64_t count, Access access = Access::kReadWrite) {
    const Result<PageRange> pages = memory().Map(PageCount(count), access, Fork::kInherit);
    EXPECT_TRUE(pages.ok()) << pages.error().Name();
    subject_->ForbidHugePages(*pages);
    return *pages;
  }

  uint64_t Present(PageRange pages) {
    const Result<PageCount> present = memory().CountPresent(pages);
    EXPECT_TRUE(present.ok()) << present.error().Name();
    return present->value();
  }

  // True and false where all pages are locked or none is; a failure where they are mixed.
  bool AreLocked(PageRange pages) {
    const bool first = IsLocked(pages.begin());
    for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
      EXPECT_EQ(IsLocked(page), first) << "page " << (page - pages.begin()).value();
    }
    return first;
  }

  bool IsLocked(PageNumber page) {
    const Errno error = memory().PageOut(PageRange(page, PageCount(1)));
    EXPECT_TRUE(error.ok() || error == Errno(EINVAL)) << error.Name();
    return !error.ok();
  }

  Mapping MappingAt(PageNumber page) {
    const Result<std::optional<Mapping>> mapping = memory().MappingAt(page);
    EXPECT_TRUE(mapping.ok() && mapping->has_value());
    return **mapping;
  }

  std::unique_ptr<Subject> subject_;
};

// Pages [begin, begin + count) of a range.
inline PageRange Part(PageRange pages, uint64_t begin, uint64_t count) {
  return PageRange(pages.begin() + PageCount(begin), PageCount(count));
}

}  // namespace os

#endif  // OS_MEMORY_CONTRACT_H_
