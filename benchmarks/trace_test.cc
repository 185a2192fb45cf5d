#include "benchmarks/trace.h"

#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace benchmarks {
namespace {

using Pages = std::vector<uint32_t>;

std::string Path(const std::string& name) { return testing::TempDir() + "/" + name; }

// Makes the file and reads it.
absl::StatusOr<Trace> Read(const std::string& name, const std::string& contents) {
  std::ofstream(Path(name), std::ios::binary) << contents;
  return ReadTrace(Path(name));
}

std::string ErrorOf(const std::string& name, const std::string& contents) {
  const std::string message(Read(name, contents).status().message());
  const std::string directory = Path("");
  return message.starts_with(directory) ? message.substr(directory.size()) : message;
}

std::string Gzip(const std::string& text) {
  const std::string path = Path("made.gz");
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

std::string Zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
  return packed;
}

TEST(ReadTrace, RenumbersThePagesInTheirOrder) {
  const absl::StatusOr<Trace> trace = Read("a.trace", "700\n5\n700\n18446744073709551615\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->references, (Pages{0, 1, 0, 2}));
  EXPECT_EQ(trace->pages, 3u);
}

TEST(ReadTrace, TakesRunsOfPages) {
  const absl::StatusOr<Trace> trace = Read("a.lis", "10 3 0 0\n11 1 0 1\n  9\t2 0 2 \r\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->references, (Pages{0, 1, 2, 1, 3, 0}));
  EXPECT_EQ(trace->pages, 4u);
}

TEST(ReadTrace, NeedsNoLineFeedAtTheEnd) {
  EXPECT_EQ(Read("a.trace", "1\n2")->references, (Pages{0, 1}));
}

// Longer than what is unpacked at a time.
TEST(ReadTrace, UnpacksFiles) {
  std::string text;
  Pages pages;
  for (uint32_t i = 0; i < 50'000; ++i) {
    text += std::to_string(i) + "\n";
    pages.push_back(i);
  }
  EXPECT_EQ(Read("a.trace.gz", Gzip(text))->references, pages);
  EXPECT_EQ(Read("a.trace.zst", Zstd(text))->references, pages);
  EXPECT_EQ(Read("b.trace.gz", text)->references, pages) << "not compressed in spite of its name";
}

TEST(ReadTrace, NamesFileAndLineOfWhatItCannotRead) {
  EXPECT_EQ(ErrorOf("a.trace", "1\n2\nx\n"), "a.trace:3: 'x' is not a page number");
  EXPECT_EQ(ErrorOf("a.trace", "1\n\n2\n"), "a.trace:2: '' is not a page number");
  EXPECT_EQ(ErrorOf("a.trace", "1 2\n"), "a.trace:1: '1 2' is not a page number");
  EXPECT_EQ(ErrorOf("a.trace", "-1\n"), "a.trace:1: '-1' is not a page number");
  EXPECT_EQ(ErrorOf("a.trace", "18446744073709551616\n"),
            "a.trace:1: '18446744073709551616' is not a page number");
  EXPECT_EQ(ErrorOf("a.lis", "1 1 0 0\n1 1 0\n"),
            "a.lis:2: '1 1 0' is not four numbers: start, count, and two others");
  EXPECT_EQ(ErrorOf("a.lis", "1 1 0 0 0\n"),
            "a.lis:1: '1 1 0 0 0' is not four numbers: start, count, and two others");
  EXPECT_EQ(ErrorOf("a.lis", "1 0 0 0\n"), "a.lis:1: 0 pages are asked for");
  EXPECT_EQ(ErrorOf("a.lis", "1 1 0 0\n1 4000000000 0 0\n"),
            "a.lis:2: more than 1073741824 references");
}

TEST(ReadTrace, NamesTheFileThatIsNone) {
  EXPECT_EQ(ErrorOf("a.trace", ""), "a.trace: no page is asked for");
  EXPECT_EQ(ErrorOf("a.txt", "1\n"),
            "a.txt: the name ends neither in .lis nor in .trace, with .gz or .zst or without");
  const absl::Status missing = ReadTrace("/nonexistent/a.trace").status();
  EXPECT_EQ(std::string(missing.message()), "/nonexistent/a.trace: No such file or directory");
  const std::string directory = Path("directory.trace");
  std::filesystem::create_directory(directory);
  EXPECT_EQ(std::string(ReadTrace(directory).status().message()), directory + ": Is a directory");
}

TEST(ReadTrace, RefusesADamagedFile) {
  const std::string text(1000, '1');
  for (const std::string& packed : {Gzip(text), Zstd(text)}) {
    const std::string error = ErrorOf("a.trace", packed.substr(0, packed.size() - 6));
    EXPECT_TRUE(error.starts_with("a.trace: damaged: ")) << error;
  }
}

}  // namespace
}  // namespace benchmarks
