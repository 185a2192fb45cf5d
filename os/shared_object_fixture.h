// A folder for the objects of a test, and what is written to them and read.

#ifndef OS_SHARED_OBJECT_FIXTURE_H_
#define OS_SHARED_OBJECT_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "os/shared_object.h"

namespace os {

inline const auto kPage = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

// A folder of its own for each test, with the name "object" for what it makes.
class SharedObjectTest : public testing::Test {
 protected:
  SharedObjectTest() : folder_(testing::TempDir() + "/shared_object_test.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr) << Errno::Last().Name();
  }
  ~SharedObjectTest() override {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    EXPECT_FALSE(error) << error.message();
  }

  const std::string& folder() const { return folder_; }
  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

  SharedObject Make(const std::string& name = "object") const {
    return *SharedObject::Create(folder_, name);
  }
  // The same object once more, with locks of its own.
  SharedObject Again(const std::string& name = "object") const {
    return *SharedObject::Open(folder_, name);
  }
  Errno OpenError(const std::string& name = "object") const {
    return SharedObject::Open(folder_, name).error();
  }
  std::vector<std::string> Names(const std::string& prefix) const {
    std::vector<std::string> names = *SharedObject::List(folder_, prefix);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string folder_;
};

inline Errno Write(const SharedObject& object, std::string_view text, uint64_t offset) {
  const ssize_t bytes =
      pwrite(object.descriptor(), text.data(), text.size(), static_cast<off_t>(offset));
  return bytes == static_cast<ssize_t>(text.size()) ? kSuccess : Errno::Last();
}

inline std::string Read(const SharedObject& object, uint64_t offset, size_t bytes) {
  std::string text(bytes, '?');
  const Result<size_t> length = object.Read(offset, text.data(), bytes);
  if (!length.ok()) return length.error().Name();
  text.resize(*length);
  return text;
}

}  // namespace os

#endif  // OS_SHARED_OBJECT_FIXTURE_H_
