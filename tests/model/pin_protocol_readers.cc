// The programs of those who take no latch, where all goes well.

#include "tests/model/pin_protocol_model.h"

namespace test_model {
namespace {

using namespace address;

constexpr const char* kOtherPage = "a reader sees another page than it has pinned";
constexpr Word kForeignVersion = 12;  // above those of readers

// Registers of a reader.
enum : size_t { kEntry, kPlace, kIndex, kTableSeen, kSlot, kRound };

// The first of the thread's own slots that holds this, 0 is a free one. Returns 0 if none does.
Word OwnSlot(Cpu& cpu, Word thread, Word frame) {
  for (Word i = 0; i < kSlotsPerReader; ++i) {
    if (cpu.Peek(Slot(thread, i)) == frame) return Slot(thread, i);
  }
  return 0;
}

void StoreToSlot(Cpu& cpu, Word thread) {
  cpu[kSlot] = OwnSlot(cpu, thread, 0);
  cpu.Check(cpu[kSlot] != 0, "a reader has no free slot");
  cpu.Store(cpu[kSlot], FrameOf(cpu[kEntry]));
}

void AddHit(Program& program, const Protocol& protocol, const Reader& reader) {
  Add(program, "table", [](Cpu& cpu) {
    cpu[kTableSeen] = cpu.Load(kTable);
    cpu[kIndex] = 0;
  });
  Add(program, "entry", [=](Cpu& cpu) {
    cpu[kPlace] = Entry(cpu[kTableSeen], cpu[kIndex]);
    cpu[kEntry] = Without(cpu.Load(cpu[kPlace]), kUsed);
    if (PageOf(cpu[kEntry]) == reader.page && !IsClosed(cpu[kEntry])) return;
    const bool next =
        cpu[kEntry] != 0 && PageOf(cpu[kEntry]) != reader.page && ++cpu[kIndex] < kEntriesPerTable;
    cpu.Goto(next ? "entry" : "slow: take the latch");
  });
  Add(program, "slot = frame", [=](Cpu& cpu) {
    StoreToSlot(cpu, reader.thread);
    if (protocol.recheck) return;
    BeginPin(cpu, FrameOf(cpu[kEntry]));
    cpu.Goto("read");
  });
  Add(program, "entry again", [=](Cpu& cpu) {
    const Word again = cpu.Load(cpu[kPlace]);
    if (Without(again, kUsed) != cpu[kEntry]) return cpu.Goto("retreat: slot = 0");
    BeginPin(cpu, FrameOf(cpu[kEntry]));
    cpu.Goto(reader.touch ? "touch" : "read");
  });
  Add(program, "touch", [=](Cpu& cpu) {
    const Word used = With(cpu[kEntry], kUsed);
    if (!protocol.touch_by_exchange) return cpu.Store(cpu[kPlace], used);
    Word& entry = cpu.Locked(cpu[kPlace]);
    if (entry == cpu[kEntry]) entry = used;
  });
}

// A put of a pin on frame 1 that is in another thread's slot.
void AddOwe(Program& program, const Protocol& protocol) {
  Add(program, "owe", [](Cpu&) {});
  if (protocol.owed_latched) Add(program, "owe: take the latch", TakeLatch);
  Add(program, "owe: ++owed", [=](Cpu& cpu) {
    if (!protocol.owed_latched) return void(++cpu.Locked(Owed(1)));
    cpu.Store(Owed(1), static_cast<Word>(cpu.Peek(Owed(1)) + 1));
  });
  Add(program, "owe: waiters?", [=](Cpu& cpu) {
    if (cpu.Load(kWaiters) != 0) return;
    cpu.Goto(protocol.owed_latched ? "owe: release the latch" : "done");
  });
  if (!protocol.owed_latched) Add(program, "owe: take the latch", TakeLatch);
  Add(program, "owe: notify", Notify);
  Add(program, "owe: release the latch", ReleaseLatch);
}

// The thread takes back what is owed on frame 1, and has a slot more, whoever's pin it was.
void AddSettle(Program& program, const Protocol& protocol, const Reader& reader) {
  const auto clear = [=](Cpu& cpu) { cpu.Store(OwnSlot(cpu, reader.thread, 1), 0); };
  if (protocol.owed_latched) Add(program, "settle: take the latch", TakeLatch);
  Add(program, "settle: owed?", [=](Cpu& cpu) {
    const bool any = cpu.Load(Owed(1)) != 0 && OwnSlot(cpu, reader.thread, 1) != 0;
    if (!any) cpu.Goto(protocol.owed_latched ? "settle: release the latch" : "read again");
  });
  if (!protocol.settle_owed_first) Add(program, "settle: slot = 0", clear);
  Add(program, "settle: --owed", [=](Cpu& cpu) {
    if (!protocol.owed_latched) return void(--cpu.Locked(Owed(1)));
    cpu.Store(Owed(1), static_cast<Word>(cpu.Peek(Owed(1)) - 1));
  });
  if (protocol.settle_owed_first) Add(program, "settle: slot = 0", clear);
  if (protocol.owed_latched) Add(program, "settle: release the latch", ReleaseLatch);
}

void AddUse(Program& program, const Protocol& protocol, const Reader& reader) {
  const auto read = [=](Cpu& cpu) {
    const Word contents = cpu.Load(Contents(FrameOf(cpu[kEntry])));
    cpu.Check(PageOf(contents) == reader.page, kOtherPage);
    cpu.Check(VersionOf(contents) != kHalfWritten, "a reader sees half of a change");
  };
  Add(program, "read", read);
  if (reader.change) {
    Add(program, "change", [=](Cpu& cpu) {
      const auto version = static_cast<Word>(1 + 2 * cpu[kRound] + reader.thread);
      cpu.Store(Contents(FrameOf(cpu[kEntry])), ContentsOf(reader.page, version));
      cpu.Ghost(Changed(reader.page)) = 1;
    });
    if (!protocol.always_mark_dirty) {
      Add(program, "dirty?", [](Cpu& cpu) {
        if (cpu.Load(Dirty(FrameOf(cpu[kEntry]))) != 0) cpu.Goto("read again");
      });
    }
    Add(program, "dirty = 1", [](Cpu& cpu) { cpu.Store(Dirty(FrameOf(cpu[kEntry])), 1); });
  }
  if (reader.settle) AddSettle(program, protocol, reader);
  Add(program, "read again", read);
}

void AddPut(Program& program, const Reader& reader) {
  Add(program, "put: slot = 0", [=](Cpu& cpu) {
    EndPin(cpu, FrameOf(cpu[kEntry]));
    const Word slot = OwnSlot(cpu, reader.thread, FrameOf(cpu[kEntry]));
    if (slot == 0) return cpu.Goto("owe");
    cpu.Store(slot, 0);
  });
  Add(program, "put: waiters?", [](Cpu& cpu) {
    if (cpu.Load(kWaiters) == 0) cpu.Goto("done");
  });
  Add(program, "put: take the latch", TakeLatch);
  Add(program, "put: notify", Notify);
  Add(program, "put: release the latch", [](Cpu& cpu) {
    ReleaseLatch(cpu);
    cpu.Goto("done");
  });
}

// Under the latch. A page that is not in the pool is not loaded: that is an evictor's business.
void AddSlowPath(Program& program, const Protocol& protocol, const Reader& reader) {
  Add(program, "retreat: slot = 0", [](Cpu& cpu) { cpu.Store(cpu[kSlot], 0); });
  // As a put does: somebody may have seen the slot, and wait for it.
  Add(program, "retreat: waiters?", [=](Cpu& cpu) {
    if (cpu.Load(kWaiters) == 0 || !protocol.retreat_notifies) cpu.Goto("slow: take the latch");
  });
  Add(program, "retreat: take the latch", TakeLatch);
  Add(program, "retreat: notify", Notify);
  Add(program, "retreat: release the latch", ReleaseLatch);
  Add(program, "slow: take the latch", TakeLatch);
  Add(program, "slow: slot = frame", [=](Cpu& cpu) {
    const Word place = Find(cpu, reader.page);
    if (place == 0) return cpu.Goto("slow: give up");
    cpu[kPlace] = place;
    cpu[kEntry] = Without(cpu.Peek(place), kUsed);
    if (IsClosed(cpu[kEntry])) return cpu.Goto("slow: closed");
    StoreToSlot(cpu, reader.thread);
    BeginPin(cpu, FrameOf(cpu[kEntry]));
  });
  Add(program, "slow: release the latch", [](Cpu& cpu) {
    ReleaseLatch(cpu);
    cpu.Goto("read");
  });
  Add(program, "slow: closed", [](Cpu& cpu) {
    if (cpu.Peek(Writing(FrameOf(cpu[kEntry]))) != kWriting) cpu.Goto("slow: sleep");
  });
  Add(program, "slow: rescue",
      [](Cpu& cpu) { cpu.Store(Writing(FrameOf(cpu[kEntry])), kRescued); });
  Add(program, "slow: reopen", [](Cpu& cpu) {
    Word& entry = cpu.Locked(cpu[kPlace]);
    entry = Without(entry, kClosed);
    cpu.Goto("slow: slot = frame");
  });
  Add(program, "slow: sleep", [](Cpu& cpu) { cpu.Sleep(kLatch, kAsleep); });
  Add(program, "slow: wake", [](Cpu& cpu) {
    cpu.Await(!cpu.asleep(kAsleep));
    cpu.Goto("slow: take the latch");
  });
  Add(program, "slow: give up", [](Cpu& cpu) {
    ReleaseLatch(cpu);
    cpu.Goto("done");
  });
  AddOwe(program, protocol);
  Add(program, "done", [=](Cpu& cpu) {
    if (++cpu[kRound] < reader.rounds) return cpu.Goto("table");
    for (const size_t used : {kEntry, kPlace, kIndex, kTableSeen, kSlot}) cpu[used] = 0;
  });
}

}  // namespace

Program MakeReader(const Protocol& protocol, const Reader& reader) {
  Program program{"reader", {}};
  AddHit(program, protocol, reader);
  AddUse(program, protocol, reader);
  AddPut(program, reader);
  AddSlowPath(program, protocol, reader);
  return program;
}

Program MakeForeignPut(const Protocol& protocol, bool change) {
  Program program{"foreign put", {}};
  if (change) {
    Add(program, "change", [](Cpu& cpu) {
      cpu.Store(Contents(1), ContentsOf(1, kForeignVersion));
      cpu.Ghost(Changed(1)) = 1;
    });
    Add(program, "dirty = 1", [](Cpu& cpu) { cpu.Store(Dirty(1), 1); });
  }
  Add(program, "read", [](Cpu& cpu) { cpu.Check(PageOf(cpu.Load(Contents(1))) == 1, kOtherPage); });
  Add(program, "put", [](Cpu& cpu) { EndPin(cpu, 1); });
  AddOwe(program, protocol);
  Add(program, "done", [](Cpu&) {});
  return program;
}

}  // namespace test_model
