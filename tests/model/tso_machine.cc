#include "tests/model/tso_machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace test_model {

void Cpu::CountAccess(const char* what, Word address, Word value) {
  if (accessed_) std::abort();
  accessed_ = true;
  if (log_ == nullptr) return;
  *log_ += " (" + std::string(what) + model_.name_of(address) + ", " + std::to_string(value) + ")";
}

Word Cpu::Peek(Word address) const {
  const TsoThread& self = state_.threads[thread_];
  for (size_t i = self.buffered; i-- > 0;) {
    if (self.buffer[i].address == address) return self.buffer[i].value;
  }
  return state_.memory[address];
}

Word Cpu::Load(Word address) {
  const Word value = Peek(address);
  CountAccess("loads ", address, value);
  return value;
}

void Cpu::Store(Word address, Word value) {
  CountAccess("stores ", address, value);
  if (self().buffered == TsoThread::kBufferMax) std::abort();  // it shall not be a limit
  self().buffer[self().buffered++] = {address, value};
}

Word& Cpu::Locked(Word address) {
  CountAccess("locked, found ", address, state_.memory[address]);
  Await(self().buffered == 0);
  return state_.memory[address];
}

void Cpu::BarrierBegin() {
  Await(self().buffered == 0);
  self().barrier = static_cast<Word>(((1 << model_.programs.size()) - 1) & ~(1 << thread_));
}

void Cpu::Sleep(Word latch, Word asleep) {
  Locked(latch) = 0;
  state_.memory[asleep] = static_cast<Word>(state_.memory[asleep] | 1 << thread_);
}

void Cpu::Check(bool condition, const char* otherwise) {
  if (!condition && error_ == nullptr) error_ = otherwise;
}

void Cpu::Goto(const char* text) {
  const auto found = std::find_if(steps().begin(), steps().end(), [=](const Program::Step& step) {
    return std::strcmp(step.text, text) == 0;
  });
  if (found == steps().end()) std::abort();
  self().step = static_cast<Word>(found - steps().begin());
}

void Cpu::End() { self().step = static_cast<Word>(steps().size()); }

}  // namespace test_model
