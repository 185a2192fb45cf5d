// A machine with the memory order of x86 (TSO), for small models of lock-free code. tso_explorer.h
// searches all that its threads can do.
//
// A thread is a list of steps. A step makes at most one access to memory, and what it computes in
// registers. A store goes to the thread's store buffer, first in, first out; its way to memory is a
// step of its own, at any later moment. A load sees the own buffer first. A locked instruction
// waits until the own buffer is empty. A process barrier (membarrier(2)) finds the buffer of each
// thread empty at some moment between its begin and its end, of each at a moment of its own.

#ifndef TESTS_MODEL_TSO_MACHINE_H_
#define TESTS_MODEL_TSO_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace test_model {

using Word = uint8_t;

// Only bytes: states are compared and hashed as such.
struct TsoThread {
  struct BufferedStore {
    Word address = 0;
    Word value = 0;
  };
  static constexpr size_t kRegisters = 6;
  static constexpr size_t kBufferMax = 10;

  Word step = 0;
  Word barrier = 0;  // the threads that its barrier has not reached, a bit each
  Word buffered = 0;
  std::array<Word, kRegisters> registers = {};
  std::array<BufferedStore, kBufferMax> buffer = {};
};

struct TsoState {
  static constexpr size_t kWords = 32;
  static constexpr size_t kThreads = 4;

  std::array<Word, kWords> memory = {};
  std::array<TsoThread, kThreads> threads = {};
};

class Cpu;

struct Program {
  struct Step {
    const char* text;  // unlike all others of the program
    std::function<void(Cpu&)> run;
  };
  std::string name;
  std::vector<Step> steps;
};

struct TsoModel {
  std::vector<Program> programs;  // of a thread each
  TsoState begin;
  // What is wrong with a state where all programs are at their end; empty: nothing.
  std::function<std::string(const TsoState&)> at_end;
  std::function<std::string(Word)> name_of;  // of an address
};

// What a step may do.
class Cpu {
 public:
  // Appends to `log`, if there is one, what the access was.
  Cpu(const TsoModel& model, TsoState& state, size_t thread, std::string* log)
      : model_(model), state_(state), thread_(thread), log_(log) {}

  // The one access of a step is one of these.
  Word Load(Word address);
  void Store(Word address, Word value);
  Word& Locked(Word address);  // a locked instruction reads and writes it
  void BarrierBegin();
  // Releases the latch and falls asleep as one step: sets its bit of `asleep`.
  void Sleep(Word latch, Word asleep);

  // Loads of what nobody can change at the moment: any number of them.
  Word Peek(Word address) const;
  // What is in no memory but serves to check: seen by all at once.
  Word& Ghost(Word address) { return state_.memory[address]; }
  Word& operator[](size_t index) { return self().registers[index]; }

  // The step can be made only where this holds.
  void Await(bool condition) { blocked_ = blocked_ || !condition; }
  bool asleep(Word asleep) const { return (Peek(asleep) >> thread_ & 1) != 0; }
  bool barrier_ended() const { return state_.threads[thread_].barrier == 0; }
  // The search ends where this does not hold.
  void Check(bool condition, const char* otherwise);
  // The next step: that with this text.
  void Goto(const char* text);
  void End();

  bool blocked() const { return blocked_; }
  const char* error() const { return error_; }  // nullptr: none

 private:
  TsoThread& self() { return state_.threads[thread_]; }
  const std::vector<Program::Step>& steps() const { return model_.programs[thread_].steps; }
  void CountAccess(const char* what, Word address, Word value);

  const TsoModel& model_;
  TsoState& state_;
  const size_t thread_;
  bool accessed_ = false;
  bool blocked_ = false;
  const char* error_ = nullptr;
  std::string* const log_;
};

}  // namespace test_model

#endif  // TESTS_MODEL_TSO_MACHINE_H_
