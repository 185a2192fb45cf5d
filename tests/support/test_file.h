// TestFile: a file for a test, gone at its end.
//
// Reads and writes go past the library under test, and abort where the kernel refuses them.

#ifndef TESTS_SUPPORT_TEST_FILE_H_
#define TESTS_SUPPORT_TEST_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace test_support {

// The text, repeated until it is `bytes` long: recognisable contents of a page.
std::string Filled(std::string_view text, size_t bytes);

// Readable and writable, in the test's own directory. Not thread-safe.
class TestFile {
 public:
  explicit TestFile(std::string_view contents = "");
  // Page n holds Filled("<n>.").
  TestFile(uint32_t pages, uint32_t page_size);
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  ~TestFile();

  int fd() const { return descriptor_; }
  // The same file, opened once more with these flags of open(2); the caller closes it.
  int Reopen(int flags) const;

  void Write(uint64_t offset, std::string_view bytes);
  // Up to `bytes` bytes; fewer at the end of the file.
  std::string Read(uint64_t offset, size_t bytes) const;
  std::string Page(uint32_t page, uint32_t page_size) const;
  uint64_t size() const;
  void Resize(uint64_t bytes);

 private:
  int descriptor_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEST_FILE_H_
