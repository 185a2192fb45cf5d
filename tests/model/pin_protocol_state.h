// What the pin protocol's programs share: the words of memory, entries, latch and condition.

#ifndef TESTS_MODEL_PIN_PROTOCOL_STATE_H_
#define TESTS_MODEL_PIN_PROTOCOL_STATE_H_

#include <functional>
#include <utility>

#include "tests/model/tso_machine.h"

namespace test_model {

// Pages and frames are counted from 1, and 0 is none. The readers are the first threads.
constexpr Word kPages = 3, kFrames = 2, kReaders = 2, kSlotsPerReader = 2, kEntriesPerTable = 2;

namespace address {
constexpr Word kLatch = 0;
constexpr Word kWaiters = 1;  // how many wait for pins to go
constexpr Word kAsleep = 2;   // the threads that sleep on the condition, a bit each
constexpr Word kTable = 3;    // the table in use, 0 or 1
constexpr Word Entry(Word table, Word index) {
  return static_cast<Word>(4 + table * kEntriesPerTable + index);
}
constexpr Word Slot(Word reader, Word slot) {
  return static_cast<Word>(8 + reader * kSlotsPerReader + slot);
}
constexpr Word Writing(Word frame) { return static_cast<Word>(11 + frame); }  // a WriteState
constexpr Word Contents(Word frame) { return static_cast<Word>(13 + frame); }
constexpr Word Dirty(Word frame) { return static_cast<Word>(15 + frame); }
constexpr Word Owed(Word frame) { return static_cast<Word>(17 + frame); }
constexpr Word File(Word page) { return static_cast<Word>(19 + page); }
// Only to check: the pins that callers hold on a frame, and whether a page was ever changed.
constexpr Word Pins(Word frame) { return static_cast<Word>(22 + frame); }
constexpr Word Changed(Word page) { return static_cast<Word>(24 + page); }
}  // namespace address

// An entry is page, frame, used and closed, from the lowest bit.
constexpr Word kUsed = 1 << 4, kClosed = 1 << 5;
constexpr Word EntryOf(Word page, Word frame) { return static_cast<Word>(page | frame << 2); }
constexpr Word PageOf(Word entry) { return entry & 3; }
constexpr Word FrameOf(Word entry) { return entry >> 2 & 3; }
constexpr Word VersionOf(Word contents) { return static_cast<Word>(contents >> 2); }
constexpr bool IsClosed(Word entry) { return (entry & kClosed) != 0; }
constexpr Word With(Word entry, Word bits) { return static_cast<Word>(entry | bits); }
constexpr Word Without(Word entry, Word bits) { return static_cast<Word>(entry & ~bits); }

// Write-back without the latch, of a closed page. Whoever needs the page opens it: it is rescued.
enum WriteState : Word { kNotWriting, kWriting, kRescued };

// Contents are the page, and who wrote them last: 0 is the state at the begin.
constexpr Word kHalfWritten = 15;
constexpr Word ContentsOf(Word page, Word version) {
  return With(page, static_cast<Word>(version << 2));
}

// Where the page is; 0: nowhere. Under the latch.
inline Word Find(const Cpu& cpu, Word page) {
  for (Word i = 0; i < kEntriesPerTable; ++i) {
    const Word place = address::Entry(cpu.Peek(address::kTable), i);
    if (PageOf(cpu.Peek(place)) == page) return place;
  }
  return 0;
}

inline void TakeLatch(Cpu& cpu) {
  Word& latch = cpu.Locked(address::kLatch);
  cpu.Await(latch == 0);
  latch = 1;
}
inline void ReleaseLatch(Cpu& cpu) { cpu.Store(address::kLatch, 0); }
inline void Notify(Cpu& cpu) { cpu.Locked(address::kAsleep) = 0; }

inline void BeginPin(Cpu& cpu, Word frame) { ++cpu.Ghost(address::Pins(frame)); }
inline void EndPin(Cpu& cpu, Word frame) { --cpu.Ghost(address::Pins(frame)); }

inline void Add(Program& program, const char* text, std::function<void(Cpu&)> run) {
  program.steps.push_back({text, std::move(run)});
}

}  // namespace test_model

#endif  // TESTS_MODEL_PIN_PROTOCOL_STATE_H_
