#include "pinlock/internal/lock_table.h"

#include <algorithm>
#include <cstring>

namespace pinlock::internal {
namespace {

constexpr uint64_t kHasCounts = 1;

bool HasCounts(uint64_t slot) { return (slot & kHasCounts) != 0; }
uint16_t* CountsOf(uint64_t slot) { return reinterpret_cast<uint16_t*>(slot & ~kHasCounts); }
uint16_t UniformState(uint64_t slot) { return static_cast<uint16_t>(slot >> 1); }
uint64_t UniformSlot(uint16_t state) { return uint64_t{state} << 1; }

// Whether each of a leaf's states is the same as the next.
bool AllEqual(const uint16_t* states) {
  return std::memcmp(states, states + 1, (LockTable::kPagesPerLeaf - 1) * sizeof(*states)) == 0;
}

// A leaf's part of a range: pages [begin, end) of the leaf.
struct LeafPart {
  uint64_t leaf;
  uint64_t begin;
  uint64_t end;

  bool whole() const { return begin == 0 && end == LockTable::kPagesPerLeaf; }
};

LeafPart FirstPart(os::PageRange range) {
  const uint64_t page = range.begin().value();
  const uint64_t leaf = page / LockTable::kPagesPerLeaf;
  const uint64_t leaf_begin = leaf * LockTable::kPagesPerLeaf;
  return {leaf, page - leaf_begin,
          std::min(range.end().value() - leaf_begin, LockTable::kPagesPerLeaf)};
}

os::PageRange After(os::PageRange range, const LeafPart& part) {
  return os::PageRange(range.begin() + os::PageCount(part.end - part.begin), range.end());
}

}  // namespace

// Walks down to the leaf's slot. Null where there is none: then this leaf and, in all,
// `absent_leaves` from it on have none either.
const uint64_t* LockTable::FindSlot(uint64_t leaf, uint64_t& absent_leaves) const {
  const Node* node = root_;
  uint64_t leaves_below = kFanout * kFanout * kFanout * kFanout;  // under the node
  for (int level = 0; level <= kPointerLevels; ++level) {
    if (node == nullptr) {
      absent_leaves = leaves_below - leaf % leaves_below;
      return nullptr;
    }
    leaves_below /= kFanout;
    const uint64_t& entry = node->entries[leaf / leaves_below % kFanout];
    if (level == kPointerLevels) return &entry;
    node = reinterpret_cast<const Node*>(entry);
  }
  return nullptr;
}

uint64_t* LockTable::EnsureSlot(uint64_t leaf, BlockSource& blocks) {
  if (root_ == nullptr) root_ = static_cast<Node*>(blocks.Allocate(BlockSource::kNodeBytes));
  Node* node = root_;
  uint64_t leaves_below = kFanout * kFanout * kFanout;  // under an entry of the node
  for (int level = 0; node != nullptr; ++level) {
    uint64_t& entry = node->entries[leaf / leaves_below % kFanout];
    if (level == kPointerLevels) return &entry;
    if (entry == 0) entry = reinterpret_cast<uint64_t>(blocks.Allocate(BlockSource::kNodeBytes));
    node = reinterpret_cast<Node*>(entry);
    leaves_below /= kFanout;
  }
  return nullptr;
}

LockTable::Segment LockTable::FirstSegment(os::PageRange range) const {
  const LeafPart part = FirstPart(range);
  uint64_t absent_leaves = 0;
  const uint64_t* slot = FindSlot(part.leaf, absent_leaves);
  State state = 0;
  uint64_t pages = part.end - part.begin;
  if (slot == nullptr) {
    pages = std::min(absent_leaves * kPagesPerLeaf - part.begin, range.count().value());
  } else if (!HasCounts(*slot)) {
    state = UniformState(*slot);
  } else {
    const State* states = CountsOf(*slot);
    state = states[part.begin];
    const State* end = states + part.end;
    const State* other =
        std::find_if(states + part.begin, end, [state](State s) { return s != state; });
    pages = static_cast<uint64_t>(other - (states + part.begin));
  }
  return {os::PageRange(range.begin(), os::PageCount(pages)),
          static_cast<uint16_t>(state & kMaxCount), (state & kResidualBit) != 0};
}

os::Errno LockTable::Prepare(os::PageRange range, BlockSource& blocks) {
  while (!range.empty()) {
    const LeafPart part = FirstPart(range);
    uint64_t* slot = EnsureSlot(part.leaf, blocks);
    if (slot == nullptr) return os::Errno(ENOMEM);
    if (!part.whole() && !HasCounts(*slot)) {
      auto* states = static_cast<State*>(blocks.Allocate(BlockSource::kCountsBytes));
      if (states == nullptr) return os::Errno(ENOMEM);
      std::fill_n(states, kPagesPerLeaf, UniformState(*slot));
      *slot = reinterpret_cast<uint64_t>(states) | kHasCounts;
    }
    range = After(range, part);
  }
  return os::kSuccess;
}

void LockTable::Account(State before, State after, uint64_t pages) {
  const auto locked = [](State s) { return (s & kMaxCount) != 0; };
  if (locked(after) && !locked(before)) pages_locked_ += pages;
  if (!locked(after) && locked(before)) pages_locked_ -= pages;
  if (after == kResidualBit && before != kResidualBit) pages_residual_ += pages;
  if (after != kResidualBit && before == kResidualBit) pages_residual_ -= pages;
}

template <typename Change>
void LockTable::Apply(os::PageRange range, BlockSource& blocks, Change change) {
  while (!range.empty()) {
    const LeafPart part = FirstPart(range);
    uint64_t* slot = EnsureSlot(part.leaf, blocks);  // prepared: finds it
    if (!HasCounts(*slot)) {
      const State before = UniformState(*slot);
      const State after = change(before);
      *slot = UniformSlot(after);
      Account(before, after, kPagesPerLeaf);
    } else {
      State* states = CountsOf(*slot);
      for (uint64_t i = part.begin; i < part.end; ++i) {
        const State before = states[i];
        states[i] = change(before);
        Account(before, states[i], 1);
      }
      if (AllEqual(states)) {
        *slot = UniformSlot(states[0]);
        blocks.Free(states, BlockSource::kCountsBytes);
      }
    }
    range = After(range, part);
  }
}

void LockTable::Increment(os::PageRange range, BlockSource& blocks) {
  Apply(range, blocks, [](State s) { return static_cast<State>((s & kMaxCount) + 1); });
}

void LockTable::Decrement(os::PageRange range, BlockSource& blocks) {
  Apply(range, blocks, [](State s) { return static_cast<State>(s - 1); });
}

void LockTable::SetResidual(os::PageRange range, bool residual, BlockSource& blocks) {
  Apply(range, blocks, [residual](State s) {
    return static_cast<State>((s & kMaxCount) | (residual ? kResidualBit : 0));
  });
}

}  // namespace pinlock::internal
