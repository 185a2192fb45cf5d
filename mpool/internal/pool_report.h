// PoolReport: what somebody outside sees of a pool: its counters, its frames, its pins.
//
// Of a pool that processes share it is put together from the pool's object in memory, without any
// of them noticing (SharedRegion::Observe); a pool of one process that was opened to be seen reports
// itself (publisher.h). Everything in it was true a moment ago, though not necessarily all at one
// moment.
//
// Plain data. Encode and Decode carry it from one process to another of the same machine; what
// Decode is given may be anything.

#ifndef MPOOL_INTERNAL_POOL_REPORT_H_
#define MPOOL_INTERNAL_POOL_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpool/internal/frame.h"
#include "mpool/mpool.h"
#include "pinlock/mpin.h"

namespace mpool::internal {

// One byte for each frame.
using FrameMarks = uint8_t;
inline constexpr FrameMarks kFrameStateMask = 7;  // a FrameState
inline constexpr FrameMarks kFrameDirty = 1 << 3;
inline constexpr FrameMarks kFramePinned = 1 << 4;
inline constexpr FrameMarks kFrameSuspect = 1 << 5;
inline constexpr FrameMarks kFrameUnlocked = 1 << 6;
inline constexpr FrameMarks kFrameGrowth = 1 << 7;  // beyond maxcache, as all others were pinned
// All but whether it is pinned in a line.
FrameMarks MarksOf(const FrameHeader& header);

// Pins of one page that one thread holds, or has left.
struct PinReport {
  uint32_t frame = 0;  // its place in PoolReport::frames
  uint32_t page = 0;
  int32_t pid = 0;     // of the process, in its pid namespace
  int32_t thread = 0;  // 0: not known
  uint32_t pins = 0;
  uint32_t for_writing = 0;  // one of them is by a GetForWrite or New

  friend bool operator==(const PinReport&, const PinReport&) = default;
};

struct ParticipantReport {
  int32_t pid = 0;
  uint32_t foreign = 0;         // that is its number in another pid namespace
  uint32_t alive = 0;           // 0: it has died, and nobody has noticed yet
  uint32_t pins_may_write = 0;  // it uses the C interface

  friend bool operator==(const ParticipantReport&, const ParticipantReport&) = default;
};

struct PoolReport {
  std::string key;   // empty: a pool of one process
  std::string name;  // of its object; empty as well
  std::string file;  // where its file was when it was opened; empty: not known
  uint64_t page_size = 0;
  uint64_t pages_max = 0;   // maxcache
  uint64_t page_count = 0;  // pages in the file
  struct mpool_stat stats = {};
  // Where the memory of the frames lies. `frames_at`: of a pool of one process, an address in it;
  // else an offset in the object.
  uint64_t frames_at = 0;
  uint64_t frame_stride = 0;        // bytes from one frame to the next
  uint64_t first_growth_frame = 0;  // frames from `ordinary` on have these numbers
  uint64_t ordinary = 0;            // frames that are no growth frames
  std::vector<FrameMarks> frames;   // ordinary ones, then growth frames, absent ones too
  std::vector<PinReport> pins;
  std::vector<ParticipantReport> participants;

  // Bytes from frames_at to the frame in that place.
  uint64_t OffsetOf(uint64_t place) const {
    const uint64_t frame = place < ordinary ? place : first_growth_frame + (place - ordinary);
    return frame * frame_stride;
  }
  // The place of a frame; kNoFrame: it has none.
  uint32_t PlaceOf(FrameIndex frame) const {
    uint64_t place = frame;
    if (frame >= ordinary)
      place = frame < first_growth_frame ? frames.size() : ordinary + (frame - first_growth_frame);
    return place < frames.size() ? static_cast<uint32_t>(place) : kNoFrame;
  }
};

// What a process reports that has pools of its own to be seen.
struct ProcessReport {
  int32_t pid = 0;             // in its pid namespace
  uint64_t pid_namespace = 0;  // the inode of that; 0: cannot be told
  struct mpin_stat pins = {};
  std::vector<PoolReport> pools;
};

void Encode(const PoolReport& report, std::vector<std::byte>& out);
void Encode(const ProcessReport& report, std::vector<std::byte>& out);
// Takes one report from the beginning of `bytes`. nullopt: it is none.
std::optional<PoolReport> Decode(std::span<const std::byte>& bytes);
// nullopt: it is no such report, or that of another version of this library.
std::optional<ProcessReport> DecodeProcess(std::span<const std::byte> bytes);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_REPORT_H_
