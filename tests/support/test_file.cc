#include "tests/support/test_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace test_support {
namespace {

void Require(bool success, const char* call) {
  if (success) return;
  std::perror(call);
  std::abort();
}

std::string Directory() {
  for (const char* name : {"TEST_TMPDIR", "TMPDIR"}) {
    if (const char* directory = std::getenv(name); directory != nullptr) return directory;
  }
  return "/tmp";
}

}  // namespace

std::string Filled(std::string_view text, size_t bytes) {
  std::string filled;
  while (filled.size() < bytes) filled.append(text);
  filled.resize(bytes);
  return filled;
}

TestFile::TestFile(std::string_view contents) {
  std::string path = Directory() + "/pool.XXXXXX";
  descriptor_ = mkostemp(path.data(), O_CLOEXEC);
  Require(descriptor_ >= 0, path.c_str());
  Require(unlink(path.c_str()) == 0, "unlink");
  Write(0, contents);
}

TestFile::TestFile(uint32_t pages, uint32_t page_size) : TestFile() {
  for (uint32_t page = 0; page < pages; ++page) {
    Write(uint64_t{page} * page_size, Filled(std::to_string(page) + ".", page_size));
  }
}

TestFile::~TestFile() { close(descriptor_); }

int TestFile::Reopen(int flags) const {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor_);
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  Require(descriptor >= 0, path.c_str());
  return descriptor;
}

void TestFile::Write(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done =
        pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    Require(done > 0, "pwrite");
    offset += static_cast<uint64_t>(done);
    bytes.remove_prefix(static_cast<size_t>(done));
  }
}

std::string TestFile::Read(uint64_t offset, size_t bytes) const {
  std::string text(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        pread(descriptor_, text.data() + done, bytes - done, static_cast<off_t>(offset + done));
    Require(got >= 0, "pread");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

std::string TestFile::Page(uint32_t page, uint32_t page_size) const {
  return Read(uint64_t{page} * page_size, page_size);
}

uint64_t TestFile::size() const {
  struct stat status;
  Require(fstat(descriptor_, &status) == 0, "fstat");
  return static_cast<uint64_t>(status.st_size);
}

void TestFile::Resize(uint64_t bytes) {
  Require(ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0, "ftruncate");
}

}  // namespace test_support
