#include "tests/fault/rsm_world.h"

#include <utility>

#include "os/page_range.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/test_segment.h"

namespace fault {

using test_support::Connect;
using test_support::Create;
using test_support::FailsWith;
using test_support::kSegment;
using test_support::Publish;
using test_support::Succeeds;

std::string Memory::Pins() const {
  mpin_info info = {};
  if (mpin_query(address(), Bytes(), &info) != 0) return "unknown";
  const std::string low = std::to_string(info.count_min);
  return info.count_min == info.count_max ? low : low + "-" + std::to_string(info.count_max);
}

bool Memory::IsLocked() const {
  const os::PageRange pages = mapping().all();
  return test_support::KernelEvidence::Probe(pages).Locks(pages);
}

os::Mapping Memory::MappingThere() const {
  const auto found = os::RealMemory().MappingAt(mapping().all().begin());
  EXPECT_TRUE(found.ok() && found->has_value());
  return found.ok() && found->has_value() ? **found : os::Mapping();
}

Hammer::Hammer(std::vector<const Memory*> memories) : memories_(std::move(memories)) {
  thread_ = std::thread([this] { Count(); });
  while (!begun_.load()) std::this_thread::yield();
}

Hammer::~Hammer() {
  ends_.store(true);
  if (thread_.joinable()) thread_.join();
}

void Hammer::Stop() {
  ends_.store(true);
  thread_.join();
  for (const Memory* const memory : memories_) {
    for (size_t page = 0; page < kPages; ++page) {
      EXPECT_EQ(*memory->FreeWord(page), count_) << "a write was lost in page " << page;
    }
  }
}

void Hammer::Count() {
  do {
    ++count_;
    for (const Memory* const memory : memories_) {
      for (size_t page = 0; page < kPages; ++page) {
        __atomic_store_n(memory->FreeWord(page), count_, __ATOMIC_RELAXED);
      }
    }
    begun_.store(true);
  } while (!ends_.load());
}

std::ostream& operator<<(std::ostream& out, const Snapshot& it) {
  return out << it.descriptors << " descriptors, " << it.locked_bytes << " bytes locked, "
             << it.objects << " objects mapped, pins " << it.pins << ", shared " << it.is_a_shared
             << it.is_b_shared;
}

Snapshot World::Look() const {
  test_support::AwaitIdleThreads();
  // Unlocks what the kernel refused to unlock before.
  EXPECT_EQ(mpin(a.address(), 0), 0) << mpin_error();
  return {test_support::CountDescriptors(),
          test_support::LockedBytes(),
          test_support::CountMappedObjects(),
          a.Pins() + " " + b.Pins(),
          a.IsShared(),
          b.IsShared()};
}

void World::Export() { ASSERT_TRUE(Succeeds(Create(exported, a.address(), Bytes()))); }

void World::ExportAndPublish(int mode) {
  ASSERT_NO_FATAL_FAILURE(Export());
  ASSERT_TRUE(Succeeds(Publish(exported, kSegment, mode)));
}

void World::Import() {
  ASSERT_TRUE(Succeeds(Connect(imported)));
  map = static_cast<uint64_t*>(test_support::Map(imported, Bytes()));
  ASSERT_NE(map, nullptr) << rsm_error();
}

std::vector<uint64_t> World::Got() const {
  std::vector<uint64_t> words(Bytes() / sizeof(uint64_t));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get(imported, 0, words.data(), Bytes())));
  return words;
}

bool World::IsSeen(const Memory& memory) const {
  uint64_t& word = memory.words()[2];
  const uint64_t before = word;
  const bool was_same = map[2] == before;
  word = ~before;
  const bool is_seen = map[2] == ~before;
  word = before;
  return was_same && is_seen;
}

void World::ExpectNotPublished() const {
  rsm_memseg_import_handle_t none = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, Connect(none)));
}

void World::ExpectAborted() const {
  uint64_t word = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get64(imported, 0, &word, 1)));
  EXPECT_TRUE(a.Fills(map));
  map[0] = map[0];  // no signal
  EXPECT_FALSE(IsSeen(a));
}

void World::End() {
  if (has_export_poll) {
    EXPECT_TRUE(Succeeds(rsm_memseg_release_pollfd(exported)));
  }
  if (has_import_poll) {
    EXPECT_TRUE(Succeeds(rsm_memseg_release_pollfd(imported)));
  }
  if (map != nullptr) {
    EXPECT_TRUE(Succeeds(rsm_memseg_import_unmap(imported)));
  }
  if (imported != nullptr) {
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(imported)));
  }
  for (const rsm_memseg_export_handle_t handle : {second, exported}) {
    if (handle == nullptr) continue;
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(handle)));
  }
}

}  // namespace fault
