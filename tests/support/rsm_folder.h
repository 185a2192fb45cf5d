// RsmFolder: a folder of its own in which a test's segments are found.
//
// Tests that run at once, and what other programs have left, do not meet there.

#ifndef TESTS_SUPPORT_RSM_FOLDER_H_
#define TESTS_SUPPORT_RSM_FOLDER_H_

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "gtest/gtest.h"

namespace test_support {

// Sets RSM_FOLDER as long as it lives; one at a time. The folder goes with the object, and with all
// that is in it. A forked child that ends without destructors leaves it to its parent.
class RsmFolder {
 public:
  // Below the test's own directory, or, for who must be reached by other users, below `parent`.
  explicit RsmFolder(const std::string& parent = testing::TempDir())
      : path_(parent + "/rsm.XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr) << path_ << ": " << std::strerror(errno);
    EXPECT_EQ(setenv("RSM_FOLDER", path_.c_str(), 1), 0);
  }
  RsmFolder(const RsmFolder&) = delete;
  RsmFolder& operator=(const RsmFolder&) = delete;
  ~RsmFolder() {
    (void)unsetenv("RSM_FOLDER");
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    EXPECT_FALSE(error) << error.message();
  }

  const std::string& path() const { return path_; }
  void SetMode(mode_t mode) const { EXPECT_EQ(chmod(path_.c_str(), mode), 0); }
  // Names in it but those that begin with a point.
  size_t CountNames() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      if (!entry.path().filename().string().starts_with('.')) ++count;
    }
    return count;
  }

 private:
  std::string path_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_RSM_FOLDER_H_
