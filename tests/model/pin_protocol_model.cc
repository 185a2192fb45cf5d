// Where a run of the pin protocol begins, and what must be true when it has ended.

#include "tests/model/pin_protocol_model.h"

#include <string>
#include <utility>

namespace test_model {
namespace {

using namespace address;

// Page and version in the file, and whether they are those that a get would give.
std::string ErrorOfPage(const TsoState& state, Word page) {
  const auto& memory = state.memory;
  Word newest = memory[File(page)];
  for (Word i = 0; i < kEntriesPerTable; ++i) {
    const Word entry = memory[Entry(memory[kTable], i)];
    if (PageOf(entry) != page) continue;
    if (IsClosed(entry)) return "an entry is left closed";
    newest = memory[Contents(FrameOf(entry))];
    if (PageOf(newest) != page) return "a frame holds another page than its entry says";
    if (newest != memory[File(page)] && memory[Dirty(FrameOf(entry))] == 0) {
      return "a page differs from the file and is not dirty";
    }
  }
  if (memory[Changed(page)] != 0 && newest == ContentsOf(page, 0)) return "a change is lost";
  return "";
}

std::string ErrorAtEnd(const TsoState& state) {
  const auto& memory = state.memory;
  for (Word page = 1; page <= kPages; ++page) {
    if (std::string error = ErrorOfPage(state, page); !error.empty()) return error;
  }
  for (Word frame = 1; frame <= kFrames; ++frame) {
    int pins = -memory[Owed(frame)];
    for (Word i = 0; i < kReaders * kSlotsPerReader; ++i) pins += memory[Slot(0, i)] == frame;
    if (pins != 0 || memory[Pins(frame)] != 0) return "pins are left";
  }
  if (memory[kLatch] != 0 || memory[kWaiters] != 0) return "the latch or a waiter is left";
  return "";
}

std::string NameOf(Word word) {
  if (word == kLatch) return "latch";
  if (word == kWaiters) return "waiters";
  if (word == kAsleep) return "asleep";
  if (word == kTable) return "table";
  const auto with = [=](const char* name, Word first, Word size = 1) {
    const int index = word - first;
    if (size == 1) return name + std::to_string(index);
    return name + std::to_string(index / size) + "." + std::to_string(index % size);
  };
  if (word < Slot(0, 0)) return with("entry ", Entry(0, 0), kEntriesPerTable);
  if (word < Writing(1)) return with("slot ", Slot(0, 0), kSlotsPerReader);
  if (word < Contents(1)) return with("writing ", Writing(0));
  if (word < Dirty(1)) return with("contents ", Contents(0));
  if (word < Owed(1)) return with("dirty ", Dirty(0));
  return with("owed ", Owed(0));
}

}  // namespace

TsoModel MakePinModel(std::vector<Program> programs, Word pages) {
  TsoModel model{std::move(programs), {}, ErrorAtEnd, NameOf};
  auto& memory = model.begin.memory;
  for (Word page = 1; page <= kPages; ++page) memory[File(page)] = ContentsOf(page, 0);
  for (Word page = 1; page <= pages; ++page) {
    memory[Entry(0, static_cast<Word>(page - 1))] = EntryOf(page, page);
    memory[Contents(page)] = ContentsOf(page, 0);
  }
  return model;
}

}  // namespace test_model
