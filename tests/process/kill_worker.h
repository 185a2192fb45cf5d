// The process that is killed: it uses a shared pool in every way, and notes what it has done.

#ifndef TESTS_PROCESS_KILL_WORKER_H_
#define TESTS_PROCESS_KILL_WORKER_H_

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace test_support {

constexpr uint32_t kKillPageSize = 512;
constexpr uint32_t kKillPages = 96;      // in the file at first
constexpr uint32_t kKillPagesMax = 128;  // with those that are made
constexpr uint32_t kKillCache = 24;      // frames, before any process asks for more

// A page holds its number and a version, over and over.
void FillPage(absl::Span<std::byte> bytes, uint32_t page, uint64_t version);
// Whether it is whole, and which version it is.
bool ReadPage(absl::Span<const std::byte> bytes, uint32_t page, uint64_t& version);

// In memory that the test shares with those whom it makes.
struct KillControl {
  // Of each page: the version that somebody has begun to write, and the one that he has put.
  std::array<std::atomic<uint64_t>, kKillPagesMax> begun = {};
  std::array<std::atomic<uint64_t>, kKillPagesMax> committed = {};
  std::array<std::atomic<uint64_t>, kKillPagesMax> synced = {};
  // Who reaches this place for the nth time is killed; empty: any place.
  std::array<char, 64> place = {};
  std::atomic<uint64_t> nth = 0;  // 0: nobody is
  std::atomic<uint64_t> reached = 0;
  // The places that were reached, if wanted.
  std::atomic<uint32_t> place_count = 0;
  std::array<std::array<char, 64>, 128> places = {};

  static KillControl* Make();
  void Clear();
  std::vector<std::string> ReachedPlaces() const;
};

struct KillTask {
  std::string key;
  int fd = -1;
  uint64_t seed = 0;
  uint32_t steps = 60;
  // Of `workers` that run at once, this one writes the pages of which the number leaves `index`.
  // Then all writes are by the C++ interface, which excludes readers.
  uint32_t index = 0;
  uint32_t workers = 1;
  // Of the place where it dies.
  std::string_view place = {};
  uint64_t nth = 0;
};

// Starts a process that works on the pool and may be killed. A check that it finds violated is told
// on standard error, and makes it exit with 1.
pid_t StartWorker(KillControl& control, const KillTask& task);
// What became of it: 0, its exit status, or minus the signal that killed it. Kills it after a
// minute.
int AwaitWorker(pid_t worker);

}  // namespace test_support

#endif  // TESTS_PROCESS_KILL_WORKER_H_
