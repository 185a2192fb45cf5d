#include "os/file_layout.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace os {
namespace {

constexpr uint64_t kMiB = 1 << 20;

std::string TestDirectory() {
  const char* directory = std::getenv("TEST_TMPDIR");
  return directory != nullptr ? directory : "/tmp";
}

std::vector<Hole> HolesOf(int descriptor) {
  std::vector<Hole> holes;
  for (uint64_t offset = 0;;) {
    const auto hole = NextHole(descriptor, offset);
    EXPECT_EQ(hole.error(), kSuccess);
    if (!hole.ok() || !*hole) return holes;
    holes.push_back(**hole);
    offset = (*hole)->offset + (*hole)->bytes;
  }
}

void Write(int descriptor, uint64_t bytes, uint64_t offset) {
  const std::string text(bytes, 'x');
  ASSERT_EQ(pwrite(descriptor, text.data(), bytes, static_cast<off_t>(offset)),
            static_cast<ssize_t>(bytes));
}

TEST(FileLayout, TellsWhichFileItIsAndHowLarge) {
  const auto file = CreateUnnamedFile(TestDirectory());
  ASSERT_TRUE(file.ok());
  Write(file->get(), 5000, 0);
  const auto layout = LayoutOf(file->get());
  ASSERT_TRUE(layout.ok());
  const auto origin = OriginOf(file->get());
  ASSERT_TRUE(origin.ok());
  EXPECT_EQ(layout->device, origin->device);
  EXPECT_EQ(layout->inode, origin->inode);
  EXPECT_EQ(layout->bytes, 5000u);
  EXPECT_GE(layout->block_bytes, 512u);
  EXPECT_GT(layout->free_bytes, 0u);
  if (layout->direct_io) {
    EXPECT_EQ(layout->direct_io->memory_alignment == 0, layout->direct_io->offset_alignment == 0);
  }
  EXPECT_EQ(LayoutOf(-1).error(), Errno(EBADF));
}

TEST(FileLayout, FindsTheHoles) {
  const auto file = CreateUnnamedFile(TestDirectory());
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(HolesOf(file->get()).size(), 0u) << "empty";
  Write(file->get(), kMiB, 0);
  EXPECT_EQ(HolesOf(file->get()).size(), 0u) << "the end is no hole";
  Write(file->get(), kMiB, 2 * kMiB);
  ASSERT_EQ(ftruncate(file->get(), 5 * kMiB), 0);
  const std::vector<Hole> holes = HolesOf(file->get());
  if (holes.empty()) GTEST_SKIP() << "the file system keeps no account of holes";
  ASSERT_EQ(holes.size(), 2u);
  EXPECT_EQ(holes[0].offset, kMiB);
  EXPECT_EQ(holes[0].bytes, kMiB);
  EXPECT_EQ(holes[1].offset, 3 * kMiB);
  EXPECT_EQ(holes[1].bytes, 2 * kMiB);
  const auto rest = NextHole(file->get(), 4 * kMiB);
  ASSERT_TRUE(rest.ok() && *rest);
  EXPECT_EQ((*rest)->offset, 4 * kMiB) << "from the middle of a hole on";
  EXPECT_EQ((*rest)->bytes, kMiB);
  EXPECT_EQ(NextHole(-1, 0).error(), Errno(EBADF));
}

TEST(FileLayout, OfAPipeIsLookedAtWithoutWaiting) {
  const std::string path = TestDirectory() + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const auto pipe = OpenForLooking(path);
  ASSERT_TRUE(pipe.ok());
  EXPECT_FALSE(TraitsOf(pipe->get())->regular_file);
  EXPECT_EQ(unlink(path.c_str()), 0);
  EXPECT_EQ(OpenForLooking(path).error(), Errno(ENOENT));
}

TEST(FileLayout, TellsWhetherAFileMayBeWritten) {
  const std::string path = TestDirectory() + "/file";
  const OwnedDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(CheckWritable(path), kSuccess);
  ASSERT_EQ(unlink(path.c_str()), 0);
  EXPECT_EQ(CheckWritable(path), Errno(ENOENT));
  const Errno read_only = CheckWritable("/proc/version");  // 0444
  if (geteuid() != 0) {
    EXPECT_EQ(read_only, Errno(EACCES));
  }
}

}  // namespace
}  // namespace os
