// LockTableModel: what a LockTable must be, as a map; and a run of both on a string of bytes.
//
// The randomised test makes the bytes from a seed, a fuzzer makes them by itself.

#ifndef TESTS_MODEL_LOCK_TABLE_MODEL_H_
#define TESTS_MODEL_LOCK_TABLE_MODEL_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "os/page_range.h"
#include "pinlock/internal/lock_table.h"

namespace test_model {

using pinlock::internal::BlockSource;
using pinlock::internal::LockTable;

struct LockTableOperation {
  enum class Kind { kIncrement, kDecrement, kMark, kUnmark };
  Kind kind;
  os::PageRange range;
  bool out_of_memory;  // the first allocation fails
};

// Takes the next operation off the front of `bytes`; nullopt where they are used up. Ranges begin
// near one of a few places that matter: ends of leaves and nodes, and both ends of the table.
inline std::optional<LockTableOperation> TakeOperation(std::span<const uint8_t>& bytes) {
  constexpr size_t kBytes = 5;
  constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
  constexpr std::array<uint64_t, 6> kPlaces = {0,
                                               kLeaf,
                                               kLeaf * kLeaf - kLeaf,
                                               kLeaf * kLeaf * kLeaf - kLeaf,
                                               uint64_t{1} << 40,
                                               LockTable::kPageNumbers - 4 * kLeaf};
  if (bytes.size() < kBytes) return std::nullopt;
  const uint64_t first = kPlaces[bytes[1] % kPlaces.size()] + uint64_t{bytes[2]} * 4;
  // Short ranges, and multiples of a leaf's half, which often end where a leaf does.
  const uint64_t count = bytes[3] < 128 ? bytes[3] % 16u : (bytes[3] - 127u) % 5 * (kLeaf / 2);
  LockTableOperation operation{static_cast<LockTableOperation::Kind>(bytes[0] % 4),
                               os::PageRange(os::PageNumber(first), os::PageCount(count)),
                               bytes[4] < 8};
  bytes = bytes.subspan(kBytes);
  return operation;
}

class LockTableModel {
 public:
  struct State {
    uint16_t count = 0;
    bool residual = false;
    friend bool operator==(const State&, const State&) = default;
  };

  // False: a count would leave its bounds, and nothing has changed.
  bool Apply(const LockTableOperation& operation) {
    using Kind = LockTableOperation::Kind;
    const uint64_t begin = operation.range.begin().value(), end = operation.range.end().value();
    const uint16_t forbidden = operation.kind == Kind::kIncrement ? LockTable::kMaxCount : 0;
    const bool counts = operation.kind == Kind::kIncrement || operation.kind == Kind::kDecrement;
    for (uint64_t page = begin; counts && page < end; ++page) {
      if (At(page).count == forbidden) return false;
    }
    for (uint64_t page = begin; page < end; ++page) {
      State& state = states_[page];
      if (operation.kind == Kind::kIncrement) {
        state = {static_cast<uint16_t>(state.count + 1), false};
      } else if (operation.kind == Kind::kDecrement) {
        if (--state.count == 0) state.residual = true;
      } else {
        state.residual = operation.kind == Kind::kMark;
      }
      if (state == State()) states_.erase(page);
    }
    return true;
  }

  State At(uint64_t page) const {
    const auto found = states_.find(page);
    return found == states_.end() ? State() : found->second;
  }

  // Where the table differs, in words; empty where it does not. Compares every page.
  std::string Difference(const LockTable& table) const {
    uint64_t locked = 0, residual = 0, next = 0;
    for (auto first = states_.begin(); first != states_.end();) {
      auto last = first;  // behind the neighbours in the same state
      uint64_t end = first->first;
      while (last != states_.end() && last->first == end && last->second == first->second) {
        ++last, ++end;
      }
      const State state = first->second;
      if (state.count > 0) locked += end - first->first;
      if (state == State{0, true}) residual += end - first->first;
      if (std::string text = Compare(table, next, first->first, State()); !text.empty())
        return text;
      if (std::string text = Compare(table, first->first, end, state); !text.empty()) return text;
      first = last;
      next = end;
    }
    if (table.pages_locked() != locked) return "pages_locked";
    if (table.pages_residual() != residual) return "pages_residual";
    return Compare(table, next, LockTable::kPageNumbers, State());
  }

 private:
  static std::string Compare(const LockTable& table, uint64_t begin, uint64_t end, State state) {
    while (begin < end) {
      const LockTable::Segment segment =
          table.FirstSegment(os::PageRange(os::PageNumber(begin), os::PageNumber(end)));
      if (State{segment.count, segment.residual} != state) return "page " + std::to_string(begin);
      begin = segment.pages.end().value();
    }
    return "";
  }

  std::map<uint64_t, State> states_;
};

// Runs the operations in `bytes` on a table and on the model. Returns the first difference in
// words; empty where there is none. `blocks` has a FailAt (TestBlocks).
template <typename Blocks>
std::string RunLockTable(std::span<const uint8_t> bytes, Blocks& blocks) {
  using Kind = LockTableOperation::Kind;
  LockTable table;
  LockTableModel model;
  for (int i = 0; const auto operation = TakeOperation(bytes); ++i) {
    if (operation->out_of_memory) blocks.FailAt(1);
    bool prepared = table.Prepare(operation->range, blocks).ok();
    blocks.FailAt(Blocks::kNever);
    if (prepared && model.Apply(*operation)) {
      const os::PageRange range = operation->range;
      if (operation->kind == Kind::kIncrement) table.Increment(range, blocks);
      if (operation->kind == Kind::kDecrement) table.Decrement(range, blocks);
      if (operation->kind == Kind::kMark) table.SetResidual(range, true, blocks);
      if (operation->kind == Kind::kUnmark) table.SetResidual(range, false, blocks);
    }
    if (const std::string text = model.Difference(table); !text.empty()) {
      return "after operation " + std::to_string(i) + ": " + text;
    }
  }
  return "";
}

}  // namespace test_model

#endif  // TESTS_MODEL_LOCK_TABLE_MODEL_H_
