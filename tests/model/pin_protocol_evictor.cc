// The evictor: takes the frame of a page that nobody has pinned, for another page.

#include <utility>

#include "tests/model/pin_protocol_parts.h"

namespace test_model {
namespace {

using namespace address;

// Goes to `if_rescued` if somebody has opened the page meanwhile.
void AddUnlatchedWrite(Program& program, const Protocol& protocol, PageOfStep page,
                       const char* if_rescued) {
  Add(program, "writing = 1", [](Cpu& cpu) { cpu.Store(Writing(cpu[kFrame]), kWriting); });
  Add(program, "write: release the latch", ReleaseLatch);
  AddWrite(program);
  Add(program, "write: take the latch", TakeLatch);
  Add(program, "write: notify", Notify);
  Add(program, "write: rescued?", [=](Cpu& cpu) {
    cpu[kPlace] = Find(cpu, page(cpu));
    const bool is_open = !IsClosed(cpu.Peek(cpu[kPlace]));
    const bool marked = cpu.Peek(Writing(cpu[kFrame])) == kRescued;
    cpu[kEntry] = protocol.mark_rescue ? marked : is_open;
  });
  Add(program, "writing = 0", [=](Cpu& cpu) {
    cpu.Store(Writing(cpu[kFrame]), kNotWriting);
    if (std::exchange(cpu[kEntry], Word{0}) != 0) cpu.Goto(if_rescued);
  });
}

// Takes the entry at kPlace out of the table: one behind it moves up, as in linear probing.
void AddErase(Program& program) {
  Add(program, "look at the next entry", [](Cpu& cpu) {
    const Word table = cpu.Peek(kTable);
    cpu[kEntry] = cpu[kPlace] == Entry(table, 0) ? cpu.Load(Entry(table, 1)) : Word{0};
  });
  Add(program, "entry = next or 0", [](Cpu& cpu) {
    cpu.Store(cpu[kPlace], cpu[kEntry]);
    if (cpu[kEntry] != 0) ++cpu[kPlace];
  });
  Add(program, "next = 0", [](Cpu& cpu) {
    if (cpu[kEntry] != 0) cpu.Store(cpu[kPlace], 0);
    cpu[kEntry] = 0;
  });
}

}  // namespace

Program MakeEvictor(const Protocol& protocol, std::vector<std::pair<Word, Word>> rounds,
                    WriteBack write_back) {
  Program program{"evictor", {}};
  const char* const kGiveUp = "reopen the entry";
  const auto victim = [=](Cpu& cpu) { return rounds[cpu[kRound]].first; };
  Add(program, "take the latch", TakeLatch);
  if (protocol.close_before_scan) {
    AddClose(program, victim, WhileWritten::kGoesElsewhere, "release the latch");
  } else {
    Add(program, "find the entry", [=](Cpu& cpu) {
      cpu[kPlace] = Find(cpu, victim(cpu));
      if (cpu[kPlace] == 0) return cpu.Goto("release the latch");
      cpu[kFrame] = FrameOf(cpu.Peek(cpu[kPlace]));
    });
  }
  AddBarrier(program, protocol);
  if (!protocol.scan_before_dirty) {
    AddTakeDirty(program, protocol, "look at a slot");
    AddWrite(program);
  }
  AddScan(program, protocol);
  Add(program, "pinned?", [=](Cpu& cpu) {
    if (cpu[kPins] != 0) cpu.Goto(kGiveUp);
  });
  if (!protocol.close_before_scan)
    AddClose(program, victim, WhileWritten::kGoesElsewhere, "release the latch");
  if (protocol.scan_before_dirty) {
    AddTakeDirty(program, protocol, "look at the next entry");
    if (write_back == WriteBack::kLatched) AddWrite(program);
    if (write_back == WriteBack::kUnlatched) {
      AddUnlatchedWrite(program, protocol, victim, "release the latch");
    }
  }
  AddErase(program);
  Add(program, "contents = new page", [=](Cpu& cpu) {
    cpu.Check(cpu.Ghost(Pins(cpu[kFrame])) == 0, "the frame of a pinned page is taken");
    const Word page = rounds[cpu[kRound]].second;
    cpu.Store(Contents(cpu[kFrame]), cpu.Ghost(File(page)));
  });
  Add(program, "insert, closed", [=](Cpu& cpu) {
    cpu[kPlace] = Find(cpu, 0);
    cpu.Check(cpu[kPlace] != 0, "an entry that was erased is back");
    const Word page = rounds[cpu[kRound]].second;
    cpu.Store(cpu[kPlace], With(EntryOf(page, cpu[kFrame]), kClosed));
  });
  Add(program, "open the entry", [=](Cpu& cpu) {
    cpu.Store(cpu[kPlace], Without(cpu.Peek(cpu[kPlace]), kClosed));
    cpu.Goto("release the latch");
  });
  Add(program, kGiveUp, Reopen);
  Add(program, "release the latch", [=](Cpu& cpu) {
    ReleaseLatch(cpu);
    cpu[kPins] = cpu[kPlace] = cpu[kFrame] = 0;
    if (++cpu[kRound] < rounds.size()) cpu.Goto("take the latch");
  });
  return program;
}

}  // namespace test_model
