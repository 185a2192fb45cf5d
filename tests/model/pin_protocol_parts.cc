#include "tests/model/pin_protocol_parts.h"

#include <utility>

namespace test_model {

using namespace address;

void AddClose(Program& program, PageOfStep page, WhileWritten while_written,
              const char* otherwise) {
  Add(program, "close the entry", [=](Cpu& cpu) {
    cpu[kPlace] = Find(cpu, page(cpu));
    if (cpu[kPlace] == 0 || IsClosed(cpu.Peek(cpu[kPlace]))) return cpu.Goto(otherwise);
    const Word frame = FrameOf(cpu.Peek(cpu[kPlace]));
    const bool written = cpu.Peek(Writing(frame)) != kNotWriting;
    if (written && while_written == WhileWritten::kGoesElsewhere) return cpu.Goto(otherwise);
    Word& entry = cpu.Locked(cpu[kPlace]);
    entry = With(entry, kClosed);
    cpu[kFrame] = FrameOf(entry);
  });
}

void AddBarrier(Program& program, const Protocol& protocol) {
  if (!protocol.barrier) return;
  Add(program, "barrier begins", [](Cpu& cpu) { cpu.BarrierBegin(); });
  Add(program, "barrier ends", [](Cpu& cpu) { cpu.Await(cpu.barrier_ended()); });
}

void AddScan(Program& program, const Protocol& protocol) {
  const auto look_at_owed = [=](Cpu& cpu) {
    const Word owed = cpu.Load(Owed(cpu[kFrame]));
    if (protocol.count_owed) cpu[kPins] = static_cast<Word>(cpu[kPins] - owed);
  };
  if (!protocol.slots_before_owed) Add(program, "look at owed", look_at_owed);
  Add(program, "look at a slot", [](Cpu& cpu) {
    const Word address = Slot(cpu[kSlot] / kSlotsPerReader, cpu[kSlot] % kSlotsPerReader);
    if (cpu.Load(address) == cpu[kFrame]) ++cpu[kPins];
    if (++cpu[kSlot] < kReaders * kSlotsPerReader) return cpu.Goto("look at a slot");
    cpu[kSlot] = 0;
  });
  if (protocol.slots_before_owed) Add(program, "look at owed", look_at_owed);
}

void Reopen(Cpu& cpu) {
  Word& entry = cpu.Locked(cpu[kPlace]);
  entry = Without(entry, kClosed);
}

void AddTakeDirty(Program& program, const Protocol& protocol, const char* if_clean) {
  if (protocol.exchange_dirty) {
    Add(program, "exchange dirty", [=](Cpu& cpu) {
      if (std::exchange(cpu.Locked(Dirty(cpu[kFrame])), Word{0}) == 0) cpu.Goto(if_clean);
    });
  } else {
    Add(program, "exchange dirty", [=](Cpu& cpu) {
      if (cpu.Load(Dirty(cpu[kFrame])) == 0) cpu.Goto(if_clean);
    });
    Add(program, "dirty = 0", [](Cpu& cpu) { cpu.Store(Dirty(cpu[kFrame]), 0); });
  }
}

// The file is in the kernel: seen by all at once.
void AddWrite(Program& program) {
  Add(program, "write: load", [](Cpu& cpu) { cpu[kEntry] = cpu.Load(Contents(cpu[kFrame])); });
  Add(program, "write: to the file", [](Cpu& cpu) {
    cpu.Ghost(File(PageOf(cpu[kEntry]))) = cpu[kEntry];
    cpu[kEntry] = 0;
  });
}

void AddSleep(Program& program, const char* then) {
  Add(program, "sleep", [](Cpu& cpu) { cpu.Sleep(kLatch, kAsleep); });
  Add(program, "wake", [=](Cpu& cpu) {
    cpu.Await(!cpu.asleep(kAsleep));
    cpu.Goto(then);
  });
}

}  // namespace test_model
