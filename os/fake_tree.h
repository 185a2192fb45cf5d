// FakeTree: a directory with pretended files of proc(5) and of cgroup hierarchies.

#ifndef OS_FAKE_TREE_H_
#define OS_FAKE_TREE_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace os::testing {

// Empty at first, removed at its end. Aborts where the file system refuses. Not thread-safe.
class FakeTree {
 public:
  FakeTree() {
    std::string name = ::testing::TempDir() + "/fake_tree.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    root_ = name;
  }
  FakeTree(const FakeTree&) = delete;
  FakeTree& operator=(const FakeTree&) = delete;
  ~FakeTree() {
    std::error_code error;
    std::filesystem::remove_all(root_, error);
  }

  // What stands for "/" and for "/proc".
  const std::string& root() const { return root_; }
  std::string proc() const { return root_ + "/proc"; }

  // `path` begins with a slash; its directories are made.
  void Write(std::string_view path, std::string_view text) {
    const std::string file = root_ + std::string(path);
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream out(file);
    if (!(out << text << std::flush)) std::abort();
  }
  // Of a file or of a whole directory.
  void Remove(std::string_view path) { std::filesystem::remove_all(root_ + std::string(path)); }

 private:
  std::string root_;
};

}  // namespace os::testing

#endif  // OS_FAKE_TREE_H_
