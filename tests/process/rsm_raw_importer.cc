#include "tests/process/rsm_raw_importer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/process/rsm_honest_exporter.h"
#include "tests/support/rsm_setting.h"

namespace hostile {

using rsm::internal::ConnectionPage;
using rsm::internal::kConnectionPageBytes;
using rsm::internal::Reply;
using rsm::internal::Request;
using test_support::Eventually;
using test_support::kSegment;

using Clock = std::chrono::steady_clock;

Request AskFor(rsm_permission_t permission) {
  Request request;
  request.node = 1;
  request.segment = kSegment;
  request.permission = permission;
  return request;
}

RawImporter::RawImporter() {
  // Many at once may find the queue full.
  EXPECT_TRUE(Eventually([&] {
    os::Result<os::PacketConnection> made = os::PacketConnection::Connect(kSocket);
    if (made.ok()) connection_ = *std::move(made);
    return made.ok() || made.error() != os::Errno(EAGAIN);
  }));
  EXPECT_GE(connection_.descriptor(), 0);
}

RawImporter::~RawImporter() {
  if (page_ != nullptr) munmap(page_, kConnectionPageBytes);
}

os::Errno RawImporter::Send(std::span<const std::byte> message,
                            std::span<const int> descriptors) const {
  return connection_.Send(message, descriptors);
}

void RawImporter::Ask(rsm_permission_t permission) {
  const Request request = AskFor(permission);
  ASSERT_TRUE(Send(BytesOf(request)).ok());
  ASSERT_NO_FATAL_FAILURE(Hear());
  ASSERT_EQ(reply_.error, RSM_SUCCESS);
  ASSERT_EQ(files_.size(), 2u);
  void* const page =
      mmap(nullptr, kConnectionPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, files_[0].get(), 0);
  ASSERT_NE(page, MAP_FAILED) << std::strerror(errno);
  page_ = static_cast<ConnectionPage*>(page);
}

void RawImporter::Hear() {
  const os::Result<size_t> got =
      connection_.Receive(std::as_writable_bytes(std::span(&reply_, 1)), files_,
                          Clock::now() + std::chrono::seconds(50));
  ASSERT_TRUE(got.ok()) << got.error().Name();
  ASSERT_EQ(*got, sizeof(reply_));
}

bool RawImporter::IsHungUp() const {
  Reply reply;
  std::vector<os::OwnedDescriptor> files;
  const os::Result<size_t> got = connection_.Receive(
      std::as_writable_bytes(std::span(&reply, 1)), files, Clock::now() + std::chrono::seconds(50));
  return got.ok() ? *got == 0 : got.error() == os::Errno(ECONNRESET);
}

namespace {

bool CanMap(int descriptor, int protection) {
  void* const mapped = mmap(nullptr, Bytes(), protection, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) return false;
  munmap(mapped, Bytes());
  return true;
}

// The same file, opened once more for reading and writing; -1: the kernel refuses.
os::OwnedDescriptor OpenAgain(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  return os::OwnedDescriptor(open(path.c_str(), O_RDWR | O_CLOEXEC));
}

// By all ways there are, through one descriptor.
void ExpectUnwritable(int descriptor) {
  EXPECT_FALSE(CanMap(descriptor, PROT_READ | PROT_WRITE));
  EXPECT_FALSE(CanMap(descriptor, PROT_WRITE));
  EXPECT_NE(pwrite(descriptor, "x", 1, 0), 1);
  EXPECT_NE(fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_NE(fallocate(descriptor, FALLOC_FL_ZERO_RANGE, 0, 4096), 0);
  void* const view = mmap(nullptr, Bytes(), PROT_READ, MAP_SHARED, descriptor, 0);
  ASSERT_NE(view, MAP_FAILED) << std::strerror(errno);
  EXPECT_NE(mprotect(view, Bytes(), PROT_READ | PROT_WRITE), 0);
  EXPECT_NE(madvise(view, Bytes(), MADV_REMOVE), 0);
  munmap(view, Bytes());
  ExpectFixed(descriptor);
}

}  // namespace

void ExpectFixed(int descriptor) {
  struct stat before {};
  ASSERT_EQ(fstat(descriptor, &before), 0);
  EXPECT_NE(ftruncate(descriptor, 0), 0);
  EXPECT_NE(ftruncate(descriptor, before.st_size - 1), 0);
  EXPECT_NE(ftruncate(descriptor, before.st_size * 2), 0);
  EXPECT_NE(fallocate(descriptor, 0, before.st_size, 4096), 0);
  // Nor forbid the exporter anything.
  EXPECT_NE(fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_NE(fcntl(descriptor, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  struct stat after {};
  ASSERT_EQ(fstat(descriptor, &after), 0);
  EXPECT_EQ(after.st_size, before.st_size);
}

void AttackForReading(bool can_open_again) {
  RawImporter importer;
  ASSERT_NO_FATAL_FAILURE(importer.Ask(RSM_PERM_READ));
  ExpectUnwritable(importer.object());
  ExpectFixed(importer.link());
  (void)fchmod(importer.object(), 0666);
  const os::OwnedDescriptor again = OpenAgain(importer.object());
  EXPECT_EQ(again.get() >= 0, can_open_again);
  if (again.get() >= 0) ExpectUnwritable(again.get());
}

}  // namespace hostile
