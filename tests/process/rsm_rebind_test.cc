// Exporters that rebind, unpublish and destroy while others read and write: readers see each memory in its
// turn, and no write is lost.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/sanitizer.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::Create;
using test_support::Eventually;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::SharedValue;
using test_support::SkipUnlessWritersCanBeStopped;
using test_support::Succeeds;
using test_support::TaggedMemory;

constexpr bool kSanitizer = test_support::kAddressSanitizer || test_support::kThreadSanitizer;
constexpr size_t kPages = 8;
size_t Bytes() { return kPages * test_support::PageSize(); }
size_t Words() { return Bytes() / sizeof(uint64_t); }

// Two memories that a segment is bound to in turn, each time with other contents.
class Turns {
 public:
  explicit Turns(rsm_memseg_export_handle_t& segment) : segment_(segment) {
    EXPECT_TRUE(Succeeds(Create(segment, memories_[0].address(), Bytes())));
    EXPECT_TRUE(Succeeds(Publish(segment)));
  }
  // False: the test has failed.
  bool Rebind() {
    TaggedMemory& next = memories_[++generation_ % 2];
    next.Fill(generation_);
    const int code = rsm_memseg_export_rebind(segment_, next.address(), 0, Bytes());
    EXPECT_TRUE(Succeeds(code)) << "generation " << generation_;
    return code == RSM_SUCCESS;
  }
  const TaggedMemory& now() const { return memories_[generation_ % 2]; }
  uint32_t generation() const { return generation_; }

 private:
  rsm_memseg_export_handle_t& segment_;
  uint32_t generation_ = 0;
  TaggedMemory memories_[2] = {TaggedMemory(kPages, 0), TaggedMemory(kPages, 0)};
};

uint64_t Load(const uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }

// --- Readers ---------------------------------------------------------------------------------------

struct Progress {
  std::atomic<uint32_t> begun = 0, done = 0;  // generations
};

// What a reader has seen of each word so far.
class Watch {
 public:
  // Words are of generations that have begun, in their order: none comes back.
  void Look(const uint64_t* words, const Progress& progress) {
    for (size_t i = 0; i < Words(); ++i) {
      if (i % TaggedMemory::WordsOfPage() == TaggedMemory::kFreeWord) continue;
      const uint64_t word = Load(words[i]);
      const auto tag = static_cast<uint32_t>(word >> 32);
      if (word != TaggedMemory::Word(tag, i) || tag < seen_[i] || tag > progress.begun.load()) {
        ADD_FAILURE() << "word " << i << " is " << std::hex << word << " after generation "
                      << seen_[i];
        return;
      }
      seen_[i] = tag;
    }
    ++looks_;
  }
  uint64_t looks() const { return looks_; }

 private:
  std::vector<uint32_t> seen_ = std::vector<uint32_t>(Words());
  uint64_t looks_ = 0;
};

// By its map or by get, until it is hung up; then all it sees is the last generation.
void Read(const Line& line, const Progress& progress, bool by_map) {
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_READ)));
  const auto* const map =
      static_cast<const uint64_t*>(test_support::Map(import, Bytes(), RSM_PERM_READ));
  ASSERT_NE(map, nullptr) << rsm_error();
  std::vector<uint64_t> copy(Words());
  Watch watch;
  line.Say(1);
  uint32_t done = 0;
  do {
    done = progress.done.load();
    if (!by_map) {
      ASSERT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, copy.data(), copy.size())));
    }
    watch.Look(by_map ? map : copy.data(), progress);
  } while (done != ~uint32_t{0} && !testing::Test::HasFailure());
  EXPECT_TRUE(TaggedMemory::Holds(map, kPages, progress.begun.load()));
  EXPECT_GT(watch.looks(), 1u);
}

// Is stopped while all goes on, and sees the last generation without doing anything.
void ReadLater(const Line& line, const Progress& progress) {
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_READ)));
  const auto* const map =
      static_cast<const uint64_t*>(test_support::Map(import, Bytes(), RSM_PERM_READ));
  ASSERT_NE(map, nullptr) << rsm_error();
  EXPECT_TRUE(TaggedMemory::Holds(map, kPages, 0));
  line.Say(1);
  // Stopped here; awake, it looks at nothing before it is told to.
  EXPECT_EQ(line.Hear(), 2u);
  EXPECT_TRUE(TaggedMemory::Holds(map, kPages, progress.begun.load()));
  line.Say(3);
}

TEST(RsmSharing, ReadersSeeEveryGenerationInItsOrderAndTheLastOneAtTheEnd) {
  constexpr uint32_t kRebinds = kSanitizer ? 200 : 1000;
  const RsmFolder folder;
  const SharedValue<Progress> progress;
  OtherProcess exporter([&](const Line& line) {
    rsm_memseg_export_handle_t segment = nullptr;
    Turns turns(segment);
    line.Say(1);
    ASSERT_EQ(line.Hear(), 2u);
    for (uint32_t i = 0; i < kRebinds; ++i) {
      progress->begun.store(turns.generation() + 1);
      ASSERT_TRUE(turns.Rebind());
      progress->done.store(turns.generation());
    }
    EXPECT_TRUE(turns.now().IsIntact());
    progress->done.store(~uint32_t{0});
    line.Say(3);
    (void)line.Hear();
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  const OtherProcess by_map([&](const Line& line) { Read(line, *progress, true); });
  const OtherProcess by_get([&](const Line& line) { Read(line, *progress, false); });
  OtherProcess stopped([&](const Line& line) { ReadLater(line, *progress); });
  ASSERT_EQ(by_map.Hear(), 1u);
  ASSERT_EQ(by_get.Hear(), 1u);
  ASSERT_EQ(stopped.Hear(), 1u);
  stopped.Stop();
  exporter.Say(2);
  ASSERT_EQ(exporter.Hear(), 3u);
  EXPECT_EQ(progress->begun.load(), kRebinds);
  stopped.Continue();
  stopped.Say(2);
  EXPECT_EQ(stopped.Hear(), 3u);
}

// --- Writers of the program ------------------------------------------------------------------------

// A thread that counts in words of its own, one in each page. By stores, or by a system call that writes.
class Writer {
 public:
  Writer(std::vector<const TaggedMemory*> memories, size_t index, bool by_syscall)
      : by_syscall_(by_syscall) {
    for (const TaggedMemory* const memory : memories) {
      for (size_t page = 0; page < memory->pages(); ++page) {
        words_.push_back(memory->words() + page * TaggedMemory::WordsOfPage() + 8 + index);
        *words_.back() = 0;
      }
    }
    file_ = static_cast<int>(syscall(SYS_memfd_create, "count", MFD_CLOEXEC));
    thread_ = std::thread([this] { Run(); });
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (thread_.joinable()) End();
    close(file_);
  }

  // Whether every word holds what was written last, now and each time that it was looked at.
  bool End() {
    ends_.store(true);
    thread_.join();
    return misses_ == 0 && std::ranges::all_of(words_, [this](const uint64_t* word) {
             return *word == count_.load();
           });
  }
  // How often it has been round.
  uint64_t count() const { return count_.load(); }

 private:
  // That it races with copies is the point: it looks, and so does rsm.
  __attribute__((no_sanitize("thread", "address"))) void Run() {
    for (uint64_t count = 1; !ends_.load(); ++count) {
      if (by_syscall_) (void)syscall(SYS_pwrite64, file_, &count, sizeof(count), 0);
      for (uint64_t* const word : words_) {
        if (Load(*word) != count - 1) ++misses_;
        Write(word, count);
      }
      count_.store(count);
    }
  }
  __attribute__((no_sanitize("thread", "address"))) void Write(uint64_t* word, uint64_t count) {
    if (!by_syscall_) {
      __atomic_store_n(word, count, __ATOMIC_RELAXED);
      return;
    }
    // EFAULT: where it has no right to wait in the kernel for pages that are being copied.
    while (syscall(SYS_pread64, file_, word, sizeof(count), 0) != ssize_t{sizeof(count)}) {
    }
  }

  const bool by_syscall_;
  std::vector<uint64_t*> words_;
  int file_ = -1;
  std::atomic<uint64_t> count_ = 0;
  std::atomic<bool> ends_ = false;
  uint64_t misses_ = 0;
  std::thread thread_;
};

// All that moves the memory of a segment, one after the other.
void MoveAround(const TaggedMemory& one, const TaggedMemory& two) {
  rsm_memseg_export_handle_t segment = nullptr;
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Create(segment, one.address(), Bytes())));
  ASSERT_TRUE(Succeeds(Publish(segment)));
  ASSERT_TRUE(Succeeds(Connect(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_rebind(segment, two.address(), 0, Bytes())));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment))) << "it gets another object";
  EXPECT_TRUE(Succeeds(rsm_memseg_export_rebind(segment, one.address(), 0, Bytes())));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
}

TEST(RsmSharing, NoWriteIsLostWhateverBecomesOfTheMemory) {
  constexpr int kRounds = kSanitizer ? 60 : 300;
  const RsmFolder folder;
  SkipUnlessWritersCanBeStopped();
  if (IsSkipped()) return;
  RunInChild([] {
    const TaggedMemory one(kPages, 1), two(kPages, 2);
    std::vector<std::unique_ptr<Writer>> writers;
    for (size_t index = 0; index < 3; ++index) {
      writers.push_back(std::make_unique<Writer>(std::vector{&one, &two}, index, index == 2));
    }
    for (int round = 0; round < kRounds; ++round) {
      SCOPED_TRACE(round);
      ASSERT_NO_FATAL_FAILURE(MoveAround(one, two));
    }
    for (const std::unique_ptr<Writer>& writer : writers) {
      EXPECT_TRUE(Eventually([&] { return writer->count() > 2; }));
      EXPECT_TRUE(writer->End()) << "a write was lost";
    }
  });
}

// --- Writers of importers --------------------------------------------------------------------------

// Puts words that tell who has put them, and looks at what is there, until it is hung up.
void PutAll(const Line& line, uint32_t who, const Progress& progress) {
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Connect(import)));
  line.Say(1);
  uint64_t puts = 0;
  for (size_t i = 0; progress.done.load() != ~uint32_t{0}; i = (i + 7) % Words(), ++puts) {
    uint64_t word = TaggedMemory::Word(who, i);
    const auto offset = static_cast<off_t>(i * sizeof(word));
    ASSERT_TRUE(Succeeds(rsm_memseg_import_put64(import, offset, &word, 1)));
    ASSERT_TRUE(Succeeds(rsm_memseg_import_get64(import, offset, &word, 1)));
    if (i % TaggedMemory::WordsOfPage() == TaggedMemory::kFreeWord) continue;
    ASSERT_EQ(static_cast<uint32_t>(word), i) << "a torn word";
  }
  EXPECT_GT(puts, 0u);
}

constexpr uint32_t kWho = 1'000'000;  // beyond all generations

TEST(RsmSharing, ImportersPutWordsWhileTheExporterRebinds) {
  constexpr uint32_t kRebinds = kSanitizer ? 100 : 500;
  const RsmFolder folder;
  const SharedValue<Progress> progress;
  OtherProcess exporter([&](const Line& line) {
    rsm_memseg_export_handle_t segment = nullptr;
    Turns turns(segment);
    line.Say(1);
    ASSERT_EQ(line.Hear(), 2u);
    for (uint32_t i = 0; i < kRebinds; ++i) ASSERT_TRUE(turns.Rebind());
    progress->done.store(~uint32_t{0});
    line.Say(3);
    ASSERT_EQ(line.Hear(), 4u);
    // What they have put is whole, and between what the program had written.
    for (size_t i = 1; i < Words(); ++i) {
      const uint64_t word = turns.now().words()[i];
      const auto tag = static_cast<uint32_t>(word >> 32);
      if (word == 0) continue;
      EXPECT_EQ(static_cast<uint32_t>(word), i);
      EXPECT_TRUE(tag == kRebinds || tag == kWho || tag == kWho + 1) << tag;
    }
    EXPECT_EQ(turns.now().words()[0], 42u) << "what is put then is seen at the last memory";
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  {
    const OtherProcess one([&](const Line& line) { PutAll(line, kWho, *progress); });
    const OtherProcess two([&](const Line& line) { PutAll(line, kWho + 1, *progress); });
    ASSERT_EQ(one.Hear(), 1u);
    ASSERT_EQ(two.Hear(), 1u);
    exporter.Say(2);
    ASSERT_EQ(exporter.Hear(), 3u);
  }
  rsm_memseg_import_handle_t import = nullptr;
  uint64_t word = 42;
  ASSERT_TRUE(Succeeds(Connect(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_put64(import, 0, &word, 1)));
  exporter.Say(4);
}

}  // namespace
