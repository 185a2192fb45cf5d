#include "tests/model/tso_explorer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string_view>
#include <type_traits>
#include <unordered_map>

namespace test_model {
namespace {

static_assert(std::has_unique_object_representations_v<TsoState>);

struct Hash {
  size_t operator()(const TsoState& state) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&state), sizeof(state)});
  }
};
struct Equal {
  bool operator()(const TsoState& a, const TsoState& b) const {
    return std::memcmp(&a, &b, sizeof(a)) == 0;
  }
};

struct Move {
  enum class Kind : uint8_t { kStep, kDrain, kBarrier };
  Kind kind = Kind::kStep;
  uint8_t thread = 0;
  uint8_t reached = 0;  // kBarrier: the thread that the barrier reaches
};

// How a state was found.
struct Origin {
  const TsoState* from = nullptr;
  Move move;
};
using Found = std::unordered_map<TsoState, Origin, Hash, Equal>;

struct Outcome {
  bool possible = false;
  const char* error = nullptr;
};

std::string NameOf(const TsoModel& model, size_t thread) {
  return model.programs[thread].name + " " + std::to_string(thread);
}

Outcome Step(const TsoModel& model, TsoState& state, size_t thread, std::string* log) {
  const Program& program = model.programs[thread];
  TsoThread& self = state.threads[thread];
  if (self.step == program.steps.size()) return {};
  const Program::Step& step = program.steps[self.step++];
  if (log != nullptr) *log += "  " + NameOf(model, thread) + ": " + step.text;
  Cpu cpu(model, state, thread, log);
  step.run(cpu);
  return {!cpu.blocked(), cpu.error()};
}

Outcome Drain(const TsoModel& model, TsoState& state, size_t thread, std::string* log) {
  TsoThread& self = state.threads[thread];
  if (self.buffered == 0) return {};
  const TsoThread::BufferedStore store = self.buffer[0];
  std::rotate(self.buffer.begin(), self.buffer.begin() + 1, self.buffer.end());
  self.buffer.back() = {};
  --self.buffered;
  state.memory[store.address] = store.value;
  if (log != nullptr) {
    *log += "    to memory, from " + NameOf(model, thread) + ": " + model.name_of(store.address) +
            " = " + std::to_string(store.value);
  }
  return {true};
}

Outcome ReachBarrier(const TsoModel& model, TsoState& state, const Move& move, std::string* log) {
  TsoThread& self = state.threads[move.thread];
  const int bit = 1 << move.reached;
  if ((self.barrier & bit) == 0 || state.threads[move.reached].buffered > 0) return {};
  self.barrier = static_cast<Word>(self.barrier & ~bit);
  if (log != nullptr) {
    *log += "    the barrier of " + NameOf(model, move.thread) + " reaches " +
            NameOf(model, move.reached);
  }
  return {true};
}

Outcome Apply(const TsoModel& model, TsoState& state, const Move& move,
              std::string* log = nullptr) {
  if (move.kind == Move::Kind::kStep) return Step(model, state, move.thread, log);
  if (move.kind == Move::Kind::kDrain) return Drain(model, state, move.thread, log);
  return ReachBarrier(model, state, move, log);
}

std::vector<Move> AllMoves(size_t threads) {
  std::vector<Move> moves;
  for (uint8_t thread = 0; thread < threads; ++thread) {
    moves.push_back({Move::Kind::kStep, thread});
    moves.push_back({Move::Kind::kDrain, thread});
    for (uint8_t other = 0; other < threads; ++other) {
      if (other != thread) moves.push_back({Move::Kind::kBarrier, thread, other});
    }
  }
  return moves;
}

// The steps that lead to `last`, and `next` if there is one, a line each.
std::string Trace(const TsoModel& model, const Found& found, const TsoState& last,
                  const Move* next) {
  std::vector<Move> moves;
  if (next != nullptr) moves.push_back(*next);
  const TsoState* state = &last;
  for (const Origin* origin; (origin = &found.at(*state))->from != nullptr; state = origin->from) {
    moves.push_back(origin->move);
  }
  TsoState replayed = *state;
  std::string lines;
  for (auto move = moves.rbegin(); move != moves.rend(); ++move) {
    Apply(model, replayed, *move, &lines);
    lines += "\n";
  }
  return lines;
}

// Finds out which steps are ever made.
class StepRecord {
 public:
  explicit StepRecord(const TsoModel& model) : model_(model) {
    for (const Program& program : model.programs) made_.emplace_back(program.steps.size(), false);
  }
  void Add(const TsoState& state, const Move& move) {
    if (move.kind == Move::Kind::kStep) made_[move.thread][state.threads[move.thread].step] = true;
  }
  void WriteTo(Exploration& explored) const {
    for (size_t i = 0; i < made_.size(); ++i) {
      const Program& program = model_.programs[i];
      for (size_t step = 0; step < made_[i].size(); ++step) {
        (made_[i][step] ? explored.made : explored.unmade)
            .insert(program.name + ": " + program.steps[step].text);
      }
    }
    for (const std::string& step : explored.made) explored.unmade.erase(step);
  }

 private:
  const TsoModel& model_;
  std::vector<std::vector<bool>> made_;
};

// What is wrong with a state in which nobody can do anything; empty: nothing.
std::string ErrorAtRest(const TsoModel& model, const TsoState& state) {
  for (size_t i = 0; i < model.programs.size(); ++i) {
    if (state.threads[i].step < model.programs[i].steps.size()) {
      return NameOf(model, i) + " waits for ever";
    }
  }
  return model.at_end(state);
}

}  // namespace

Exploration Explore(const TsoModel& model) {
  if (model.programs.size() > TsoState::kThreads) std::abort();
  const std::vector<Move> moves = AllMoves(model.programs.size());
  Found found;
  std::deque<const TsoState*> open = {&found.emplace(model.begin, Origin{}).first->first};
  StepRecord record(model);
  Exploration explored;
  // Breadth first, so that the trace is a shortest one.
  for (; !open.empty(); open.pop_front()) {
    const TsoState& state = *open.front();
    bool is_at_rest = true;
    for (const Move& move : moves) {
      TsoState next = state;
      const Outcome outcome = Apply(model, next, move);
      if (!outcome.possible) continue;
      is_at_rest = false;
      record.Add(state, move);
      if (outcome.error != nullptr) {
        explored.violation = outcome.error + (":\n" + Trace(model, found, state, &move));
        break;
      }
      const auto [place, is_new] = found.try_emplace(next, Origin{&state, move});
      if (is_new) open.push_back(&place->first);
    }
    if (is_at_rest) {
      if (const std::string error = ErrorAtRest(model, state); !error.empty()) {
        explored.violation = error + ":\n" + Trace(model, found, state, nullptr);
      }
    }
    if (!explored.violation.empty()) break;
  }
  explored.states = found.size();
  record.WriteTo(explored);
  return explored;
}

}  // namespace test_model
