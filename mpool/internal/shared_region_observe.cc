// SharedRegion::Observe: a pool as it is in its object, copied out piece by piece.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "mpool/internal/error_text.h"
#include "mpool/internal/held_pins.h"
#include "mpool/internal/pool_statistics.h"
#include "mpool/internal/shared_region.h"

namespace mpool::internal {
namespace {

// Part of an object. What it does not have, it may have been shortened, is zeros.
template <typename T>
class Copy {
 public:
  Copy(const os::SharedObject& object, uint64_t offset, uint64_t count)
      : items_(std::make_unique<T[]>(count)), count_(count) {
    // One read(2) gives 2 GiB at most.
    auto* const bytes = static_cast<std::byte*>(static_cast<void*>(items_.get()));
    for (size_t at = 0; at < count * sizeof(T);) {
      const os::Result<size_t> read = object.Read(offset + at, bytes + at, count * sizeof(T) - at);
      if (!read.ok() || *read == 0) break;
      at += *read;
    }
  }
  T* data() const { return items_.get(); }
  std::span<T> items() const { return {items_.get(), count_}; }

 private:
  std::unique_ptr<T[]> items_;
  uint64_t count_;
};

// Whether a thread that has counted a pin is one of that process: of another's nothing is known.
os::ThreadId ThreadIn(int32_t pid, os::ThreadId thread) {
  return os::IsThreadOf(pid, thread) ? thread : 0;
}

}  // namespace

os::Result<PoolReport> SharedRegion::Observe(const std::string& name, const std::string& folder) {
  const os::Result<os::SharedObject> object = os::SharedObject::Open(folder, name);
  if (!object.ok()) return object.error();
  const std::unique_ptr<const Superblock> copy = CopySuperblock(*object);
  if (copy == nullptr || !IsOfThisVersion(*copy) || !IsInBounds(*copy) || copy->ready == 0 ||
      copy->key_bytes > Superblock::kKeyBytesMax || !IsComplete(*copy, *object)) {
    return Failed(os::Errno(EPROTO), "the object %s is damaged, or of another version of mpool",
                  name.c_str());
  }
  const Superblock& there = *copy;
  const MemoryState& memory = there.state.memory;
  // Headers have memory, so there are not more of them than that.
  const uint64_t frames = memory.ordinary + memory.growth_extent;
  if (frames > object->Blocks() * 512 / sizeof(FrameHeader)) {
    return Failed(os::Errno(EPROTO), "the object %s is damaged", name.c_str());
  }
  const Layout layout = Layout::For(there.page_size, there.ordinary_max);

  PoolReport report;
  report.key.assign(reinterpret_cast<const char*>(there.key), there.key_bytes);
  report.name = name;
  report.file.assign(there.file.path, strnlen(there.file.path, sizeof(there.file.path)));
  report.page_size = there.page_size;
  report.pages_max = there.state.pages_max;
  report.page_count = there.state.page_count;
  report.frames_at = layout.frames;
  report.frame_stride = StrideOf(there.page_size);
  report.first_growth_frame = there.ordinary_max;
  report.ordinary = memory.ordinary;

  // Lines first: a page that is pinned in one stays in its frame.
  constexpr uint64_t kPerBlock = Superblock::kLinesPerParticipant;
  const Copy<PinLine> lines(*object, layout.lines, Superblock::kParticipantsMax * kPerBlock);
  const auto states = std::make_unique<PinLinesState[]>(Superblock::kParticipantsMax);
  for (size_t i = 0; i < Superblock::kParticipantsMax; ++i) {
    states[i] = there.lines[i];
    states[i].used = std::min<uint64_t>(states[i].used, kPerBlock);
  }
  PinLines pin_lines;
  pin_lines.Share(lines.data(), kPerBlock, states.get(), &there.participants_used, 0);
  report.stats = StatsOf(there.state, memory, pin_lines.Sum());

  const Copy<FrameHeader> ordinary(*object, layout.headers, memory.ordinary);
  const Copy<FrameHeader> growth(*object, layout.headers + there.ordinary_max * sizeof(FrameHeader),
                                 memory.growth_extent);
  for (const FrameHeader& h : ordinary.items()) report.frames.push_back(MarksOf(h));
  for (const FrameHeader& h : growth.items()) report.frames.push_back(MarksOf(h) | kFrameGrowth);
  for (const FrameMarks marks : report.frames) report.stats.dirty += (marks & kFrameDirty) != 0;
  const auto header_at = [&](uint64_t place) -> const FrameHeader& {
    return place < memory.ordinary ? ordinary.items()[place]
                                   : growth.items()[place - memory.ordinary];
  };

  HeldPins pins;
  const uint64_t here = os::ProcessIdentity::OfThisProcess().pid_namespace;
  for (uint32_t i = 0; i < there.participants_used; ++i) {
    const Participant& participant = there.participants[i];
    if (participant.in_use == 0) continue;
    const int32_t pid = participant.process.pid;
    const bool alive = object->IsLockedElsewhere(PlaceByte(i), 1) && !participant.process.IsGone();
    const uint64_t its = participant.process.pid_namespace;
    report.participants.push_back({.pid = pid,
                                   .foreign = its != 0 && here != 0 && its != here,
                                   .alive = alive ? uint32_t{1} : uint32_t{0},
                                   .pins_may_write = participant.pins_may_write});
    pin_lines.ForEachHeldIn(
        i, [&](os::ThreadId thread, FrameIndex frame) { pins.AddHeld(frame, pid, thread); });
    const uint64_t ledger = layout.ledgers + i * layout.frames_max * sizeof(LedgerWord);
    const Copy<uint64_t> words(*object, ledger, memory.ordinary);
    const Copy<uint64_t> growth_words(*object, ledger + there.ordinary_max * sizeof(LedgerWord),
                                      memory.growth_extent);
    const auto add = [&](uint64_t word, uint64_t place, uint64_t frame) {
      if (word == 0) return;
      const os::ThreadId thread = PinsIn(word) > 0 ? ThreadIn(pid, header_at(place).pinner) : 0;
      pins.AddCounted(static_cast<FrameIndex>(frame), pid, thread, PinsIn(word), OwedIn(word),
                      IsWriterIn(word));
    };
    for (uint64_t k = 0; k < memory.ordinary; ++k) add(words.items()[k], k, k);
    for (uint64_t k = 0; k < memory.growth_extent; ++k) {
      add(growth_words.items()[k], memory.ordinary + k, there.ordinary_max + k);
    }
  }
  report.pins =
      pins.Report([&](FrameIndex frame) { return header_at(report.PlaceOf(frame)).page_number; },
                  [&](FrameIndex frame) { return report.PlaceOf(frame); });
  for (const PinReport& pin : report.pins) report.frames[pin.frame] |= kFramePinned;
  return report;
}

}  // namespace mpool::internal
