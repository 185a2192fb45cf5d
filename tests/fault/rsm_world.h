// A process that exports and imports a segment while its system calls fail: its memory, its handles, and
// what the kernel says of them. To be told, after a call of rsm, from what was before.

#ifndef TESTS_FAULT_RSM_WORLD_H_
#define TESTS_FAULT_RSM_WORLD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/memory.h"
#include "rsm/rsmapi.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_mapping.h"

namespace fault {

inline constexpr size_t kPages = 4;
inline size_t Bytes() { return kPages * test_support::PageSize(); }

// Memory of the program that is exported, and what the kernel says of it.
class Memory : public test_support::TaggedMemory {
 public:
  explicit Memory(uint32_t tag) : TaggedMemory(kPages, tag) {}

  testing::AssertionResult Fills(const uint64_t* words) const {
    return Holds(words, kPages, tag());
  }
  bool IsShared() const { return MappingThere().shared; }
  bool IsWritable() const { return MappingThere().writable; }
  // The lowest and highest number of pins of a page, as "1" or "0-1".
  std::string Pins() const;
  bool IsLocked() const;

 private:
  os::Mapping MappingThere() const;
};

// A thread that counts in every page of some memory, with system calls of no kind.
class Hammer {
 public:
  explicit Hammer(std::vector<const Memory*> memories);
  Hammer(const Hammer&) = delete;
  Hammer& operator=(const Hammer&) = delete;
  ~Hammer();

  // Ends it. Every write of it must be there.
  void Stop();

 private:
  // The copies that rsm makes meanwhile are no races: it has its own means to tell.
  __attribute__((no_sanitize("thread"))) void Count();

  const std::vector<const Memory*> memories_;
  std::atomic<bool> begun_ = false, ends_ = false;
  uint64_t count_ = 0;
  std::thread thread_;
};

// Compares and prints.
struct Snapshot {
  size_t descriptors;
  uint64_t locked_bytes;
  size_t objects;  // mapped
  std::string pins;
  bool is_a_shared, is_b_shared;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Snapshot& it);
};

// The process under test.
struct World {
  Memory a{1}, b{2};
  rsm_memseg_export_handle_t exported = nullptr, second = nullptr;
  rsm_memseg_import_handle_t imported = nullptr;
  uint64_t* map = nullptr;
  bool has_export_poll = false, has_import_poll = false;

  Snapshot Look() const;

  void Export();
  void ExportAndPublish(int mode = 0666);
  void Import();
  // Of what importers get.
  std::vector<uint64_t> Got() const;
  // Whether a write of the program to the memory is seen by importers.
  bool IsSeen(const Memory& memory) const;
  void ExpectNotPublished() const;
  void ExpectAborted() const;

  // Takes everything away, which cannot fail.
  void End();
};

}  // namespace fault

#endif  // TESTS_FAULT_RSM_WORLD_H_
