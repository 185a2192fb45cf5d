// Runs a fuzzer's function on every file of a directory, which the command line names. There is no
// libFuzzer in it: any compiler will do.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string directory;

TEST(Corpus, EveryFileRunsWithoutAFinding) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    ASSERT_TRUE(file.is_open());
    const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    // It aborts where it finds something.
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
              0);
    ++files;
  }
  EXPECT_GT(files, 0) << "nothing in " << directory;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // Run by hand without an argument, it takes the corpus that it has its name from: X_corpus_test.
  std::string name = std::filesystem::path(argv[0]).filename().string();
  name.resize(name.size() - std::min(name.size(), std::string("_test").size()));
  directory = argc > 1 ? argv[1] : "tests/fuzz/" + name;
  return RUN_ALL_TESTS();
}
