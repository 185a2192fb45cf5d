// Segments under load: exporters that rebind, unpublish and destroy while others read and write, many
// importers at once, exporters that want the same number, forks in the midst of it.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
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
using test_support::CountDescriptors;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::ImportersOf;
using test_support::kSegment;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::SharedValue;
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

// Where userfaultfd(2) is refused, a program with several threads has no segments of private memory.
void SkipUnlessWritersCanBeStopped() {
  RunInChild([] {
    TaggedMemory memory(1, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    std::atomic<bool> ends = false;
    std::thread other([&] {
      while (!ends.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    const int code = Create(segment, memory.address(), memory.bytes());
    ends.store(true);
    other.join();
    if (code == RSMERR_INSUFFICIENT_RESOURCES) GTEST_SKIP() << rsm_error();
    EXPECT_TRUE(Succeeds(code));
  });
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

// --- Many at once ----------------------------------------------------------------------------------

// Processes that begin at once. The last is ended first: it has the lines of those before it.
class Crowd {
 public:
  Crowd() { EXPECT_EQ(pipe2(start_, O_CLOEXEC), 0) << std::strerror(errno); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    Begin();
    (void)close(start_[0]);
    while (!processes_.empty()) processes_.pop_back();
  }
  // `body` says something when it is ready, and then awaits the start.
  void Add(const std::function<void(const Line&)>& body) {
    processes_.emplace_back([&](const Line& line) {
      (void)close(start_[1]);
      body(line);
    });
  }
  // When nobody can write to the pipe any more.
  void AwaitStart() const {
    char none;
    EXPECT_EQ(read(start_[0], &none, 1), 0);
  }
  void Start() {
    for (const OtherProcess& process : processes_) ASSERT_EQ(process.Hear(), 1u);
    Begin();
  }
  const std::list<OtherProcess>& processes() const { return processes_; }

 private:
  void Begin() { (void)close(std::exchange(start_[1], -1)); }

  int start_[2] = {-1, -1};
  std::list<OtherProcess> processes_;
};

// Those of the round before have ended without taking their name away.
TEST(RsmSharing, OneOfSeveralExportersGetsTheNumber) {
  constexpr int kRounds = kSanitizer ? 10 : 40;
  constexpr size_t kExporters = 4;
  const RsmFolder folder;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    Crowd crowd;
    for (size_t i = 0; i < kExporters; ++i) {
      crowd.Add([&](const Line& line) {
        TaggedMemory memory(1, 1);
        rsm_memseg_export_handle_t segment = nullptr;
        ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
        line.Say(1);
        crowd.AwaitStart();
        const int code = Publish(segment);
        EXPECT_TRUE(code == RSM_SUCCESS || FailsWith(RSMERR_SEGID_IN_USE, code)) << rsm_error();
        line.Say(code == RSM_SUCCESS ? 1 : 0);
        (void)line.Hear();
      });
    }
    ASSERT_NO_FATAL_FAILURE(crowd.Start());
    uint64_t published = 0;
    for (const OtherProcess& exporter : crowd.processes()) published += exporter.Hear();
    EXPECT_EQ(published, 1u);
    EXPECT_EQ(folder.CountNames(), 1u);
    EXPECT_EQ(ImportersOf(), 0) << "it can be reached";
  }
}

TEST(RsmSharing, ManyImportersConnectAtOnce) {
  constexpr size_t kImporters = kSanitizer ? 70 : 200;
  const RsmFolder folder;
  OtherProcess exporter([&](const Line& line) {
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    const size_t descriptors = CountDescriptors();
    line.Say(1);
    ASSERT_EQ(line.Hear(), 2u);
    uint64_t puts = 0;
    for (size_t i = 0; i < kImporters; ++i) puts += memory.words()[i];
    EXPECT_EQ(puts, kImporters * (kImporters + 1) / 2) << "each has put its number";
    EXPECT_TRUE(Eventually([&] { return CountDescriptors() == descriptors; }))
        << CountDescriptors();
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  {
    Crowd crowd;
    for (size_t i = 0; i < kImporters; ++i) {
      crowd.Add([&, i](const Line& line) {
        (void)test_support::RsmController();
        rsm_memseg_import_handle_t import = nullptr;
        uint64_t word = i + 1;
        line.Say(1);
        crowd.AwaitStart();
        ASSERT_TRUE(Succeeds(Connect(import)));
        EXPECT_TRUE(Succeeds(
            rsm_memseg_import_put64(import, static_cast<off_t>(i * sizeof(word)), &word, 1)));
        line.Say(2);
        (void)line.Hear();
      });
    }
    ASSERT_NO_FATAL_FAILURE(crowd.Start());
    for (const OtherProcess& importer : crowd.processes()) EXPECT_EQ(importer.Hear(), 2u);
    EXPECT_EQ(ImportersOf(), static_cast<int>(kImporters));
  }
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
  exporter.Say(2);
}

// --- Forks -----------------------------------------------------------------------------------------

// Exports and imports again and again, under numbers that the system chooses.
void ExportOften(const std::atomic<bool>& ends, std::atomic<uint64_t>& rounds) {
  const TaggedMemory memory(kPages, 1);
  while (!ends.load()) {
    rsm_memseg_export_handle_t segment = nullptr;
    rsm_memseg_import_handle_t import = nullptr;
    rsm_memseg_id_t number = 0;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    ASSERT_TRUE(Succeeds(rsm_memseg_export_publish(segment, &number, nullptr, 0)));
    ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_RDWR, number)));
    uint64_t word = 0;
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
    EXPECT_EQ(word, memory.words()[0]);
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    ++rounds;
  }
}

TEST(RsmSharing, AProcessForksWhileItsThreadsCreateAndDestroy) {
  constexpr int kForks = kSanitizer ? 10 : 40;
  const RsmFolder folder;
  SkipUnlessWritersCanBeStopped();
  if (IsSkipped()) return;
  const OtherProcess process([&](const Line& line) {
    std::atomic<bool> ends = false;
    std::atomic<uint64_t> rounds = 0;
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { ExportOften(ends, rounds); });
    for (int i = 0; i < kForks; ++i) {
      RunInChild([&] {
        EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_export_destroy(segment)));
        std::atomic<uint64_t> round = 0;
        std::atomic<bool> end = false;
        std::thread thread([&] { ExportOften(end, round); });
        EXPECT_TRUE(Eventually([&] { return round.load() > 0; })) << "it exports by itself";
        end.store(true);
        thread.join();
      });
    }
    ends.store(true);
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(rounds.load(), 0u);
    EXPECT_TRUE(memory.IsIntact());
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    line.Say(1);
  });
  EXPECT_EQ(process.Hear(), 1u);
}

}  // namespace
