// The programs of those who work under the latch, but for the evictor.

#include <utility>

#include "tests/model/pin_protocol_parts.h"

namespace test_model {
namespace {

using namespace address;

constexpr Word kWriterVersion = 13;

}  // namespace

Program MakeSync(const Protocol& protocol) {
  Program program{"sync", {}};
  Add(program, "take the latch", [](Cpu& cpu) {
    TakeLatch(cpu);
    cpu[kFrame] = 1;
  });
  Add(program, "being written?", [=](Cpu& cpu) {
    const bool wait = protocol.sync_waits && cpu.Peek(Writing(1)) != kNotWriting;
    if (!wait) cpu.Goto("exchange dirty");
  });
  AddSleep(program, "take the latch");
  AddTakeDirty(program, protocol, "release the latch");
  AddWrite(program);
  Add(program, "release the latch", ReleaseLatch);
  return program;
}

Program MakeGrowth(const Protocol& protocol) {
  Program program{"growth", {}};
  Add(program, "take the latch", TakeLatch);
  Add(program, "copy an entry: load",
      [](Cpu& cpu) { cpu[kEntry] = cpu.Load(Entry(0, cpu[kRound])); });
  Add(program, "copy an entry: store", [](Cpu& cpu) {
    cpu.Store(Entry(1, cpu[kRound]), cpu[kEntry]);
    if (++cpu[kRound] < kEntriesPerTable) cpu.Goto("copy an entry: load");
  });
  Add(program, "table = 1", [](Cpu& cpu) { cpu.Store(kTable, 1); });
  if (protocol.zero_old_table) {
    Add(program, "old entry = 0", [](Cpu& cpu) {
      cpu.Store(Entry(0, --cpu[kRound]), 0);
      if (cpu[kRound] > 0) cpu.Goto("old entry = 0");
    });
  }
  Add(program, "release the latch", ReleaseLatch);
  return program;
}

Program MakeWriter(const Protocol& protocol) {
  Program program{"writer", {}};
  const auto wait = [](Cpu& cpu) { ++cpu.Locked(kWaiters); };
  Add(program, "take the latch", TakeLatch);
  AddClose(
      program, [](Cpu&) { return Word{1}; }, WhileWritten::kCloses, "absent?");
  if (protocol.wait_before_barrier) Add(program, "++waiters", wait);
  AddBarrier(program, protocol);
  if (!protocol.wait_before_barrier) Add(program, "++waiters", wait);
  AddScan(program, protocol);
  Add(program, "pinned?", [](Cpu& cpu) {
    if (std::exchange(cpu[kPins], Word{0}) == 0) cpu.Goto("go on without the latch");
  });
  AddSleep(program, "take the latch again");
  Add(program, "take the latch again", [=](Cpu& cpu) {
    TakeLatch(cpu);
    cpu.Goto(protocol.slots_before_owed ? "look at a slot" : "look at owed");
  });
  Add(program, "go on without the latch", [](Cpu& cpu) {
    cpu.Check(cpu.Ghost(Pins(1)) == 0, "a writer is in a page that is pinned");
    BeginPin(cpu, 1);
    ReleaseLatch(cpu);
  });
  Add(program, "contents = half a page",
      [](Cpu& cpu) { cpu.Store(Contents(1), ContentsOf(1, kHalfWritten)); });
  Add(program, "contents = page", [](Cpu& cpu) {
    cpu.Ghost(Changed(1)) = 1;
    cpu.Store(Contents(1), ContentsOf(1, kWriterVersion));
  });
  Add(program, "dirty = 1", [](Cpu& cpu) { cpu.Store(Dirty(1), 1); });
  Add(program, "take the latch to let others in", [](Cpu& cpu) {
    TakeLatch(cpu);
    EndPin(cpu, 1);
  });
  Add(program, "reopen the entry", [=](Cpu& cpu) {
    if (protocol.find_again_after_sleep) cpu[kPlace] = Find(cpu, 1);
    Reopen(cpu);
  });
  Add(program, "--waiters", [](Cpu& cpu) { --cpu.Locked(kWaiters); });
  Add(program, "notify", Notify);
  Add(program, "release the latch", [](Cpu& cpu) {
    ReleaseLatch(cpu);
    cpu.End();
  });
  Add(program, "absent?", [](Cpu& cpu) {
    if (cpu[kPlace] == 0) cpu.Goto("release the latch");
  });
  Add(program, "sleep while another writes", [](Cpu& cpu) { cpu.Sleep(kLatch, kAsleep); });
  Add(program, "wake to try again", [](Cpu& cpu) {
    cpu.Await(!cpu.asleep(kAsleep));
    cpu.Goto("take the latch");
  });
  return program;
}

}  // namespace test_model
