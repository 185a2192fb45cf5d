#include "pinlock/internal/lock_table.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pinlock::internal {
namespace {

constexpr uint64_t kHasCounts = 1;

bool HasCounts(uint64_t slot) { return (slot & kHasCounts) != 0; }
LeafCounts* CountsOf(uint64_t slot) { return reinterpret_cast<LeafCounts*>(slot & ~kHasCounts); }
uint64_t SlotOf(const LeafCounts* counts) {
  return reinterpret_cast<uint64_t>(counts) | kHasCounts;
}
PageState UniformState(uint64_t slot) { return static_cast<PageState>(slot >> 1); }
uint64_t UniformSlot(PageState state) { return uint64_t{state} << 1; }

// The owner's way to a leaf's states: waits until nobody is inside.
PageState* QuietStates(uint64_t slot) {
  LeafCounts* counts = CountsOf(slot);
  counts->AwaitFree();
  return counts->states;
}

// Whether each of a leaf's states is the same as the next.
bool AllEqual(const PageState* states) {
  return std::memcmp(states, states + 1, (LockTable::kPagesPerLeaf - 1) * sizeof(*states)) == 0;
}

// A leaf's part of a range: pages [begin, end) of the leaf.
struct LeafPart {
  uint64_t leaf;
  uint64_t begin;
  uint64_t end;

  bool whole() const { return begin == 0 && end == LockTable::kPagesPerLeaf; }
  uint64_t pages() const { return end - begin; }
};

LeafPart FirstPart(os::PageRange range) {
  const uint64_t page = range.begin().value();
  const uint64_t leaf = page / LockTable::kPagesPerLeaf;
  const uint64_t leaf_begin = leaf * LockTable::kPagesPerLeaf;
  return {leaf, page - leaf_begin,
          std::min(range.end().value() - leaf_begin, LockTable::kPagesPerLeaf)};
}

os::PageRange After(os::PageRange range, uint64_t pages) {
  return os::PageRange(range.begin() + os::PageCount(pages), range.end());
}

// The least range that covers both.
os::PageRange Hull(os::PageRange a, os::PageRange b) {
  if (a.empty()) return b;
  return os::PageRange(std::min(a.begin(), b.begin()), std::max(a.end(), b.end()));
}

[[noreturn]] void Die(const char* why) {
  std::fprintf(stderr, "LockTable: %s\n", why);
  std::abort();
}

// How many whole leaves the range begins with, as far as the slots of one node go.
uint64_t WholeLeaves(os::PageRange range) {
  constexpr uint64_t kLeavesPerNode = 512;
  const uint64_t page = range.begin().value();
  if (page % LockTable::kPagesPerLeaf != 0) return 0;
  const uint64_t place = page / LockTable::kPagesPerLeaf % kLeavesPerNode;
  return std::min(range.count().value() / LockTable::kPagesPerLeaf, kLeavesPerNode - place);
}

}  // namespace

// The owner's way to the slot of a leaf. Most calls are for the node of the one before, and nodes
// stay for ever, so it is remembered. Null where there is none: then `absent_leaves` from this leaf
// on have none.
LockTable::Entry* LockTable::FindSlot(uint64_t leaf, uint64_t& absent_leaves) const {
  if (last_node_ == nullptr || leaf / kFanout != last_place_) {
    Node* node = FindLeafNode(leaf, absent_leaves);
    if (node == nullptr) return nullptr;
    last_node_ = node;
    last_place_ = leaf / kFanout;
  }
  return &last_node_->entries[leaf % kFanout];
}

LockTable::Node* LockTable::FindLeafNode(uint64_t leaf, uint64_t& absent_leaves) const {
  Node* node = root_.load(std::memory_order_acquire);
  uint64_t leaves_below = kFanout * kFanout * kFanout * kFanout;  // under the node
  for (int level = 0; node != nullptr; ++level) {
    if (level == kPointerLevels) return node;
    leaves_below /= kFanout;
    node = reinterpret_cast<Node*>(
        node->entries[leaf / leaves_below % kFanout].load(std::memory_order_acquire));
  }
  absent_leaves = leaves_below - leaf % leaves_below;
  return nullptr;
}

LockTable::Node* LockTable::EnsureLeafNode(uint64_t leaf, BlockSource& blocks) {
  Node* node = root_.load(std::memory_order_relaxed);
  if (node == nullptr) {
    node = static_cast<Node*>(blocks.Allocate(BlockSource::kNodeBytes));
    root_.store(node, std::memory_order_release);
  }
  uint64_t leaves_below = kFanout * kFanout * kFanout;  // under an entry of the node
  for (int level = 0; node != nullptr && level < kPointerLevels; ++level) {
    Entry& entry = node->entries[leaf / leaves_below % kFanout];
    node = reinterpret_cast<Node*>(entry.load(std::memory_order_relaxed));
    if (node == nullptr) {
      node = static_cast<Node*>(blocks.Allocate(BlockSource::kNodeBytes));
      entry.store(reinterpret_cast<uint64_t>(node), std::memory_order_release);
    }
    leaves_below /= kFanout;
  }
  return node;
}

bool LockTable::TryNested(os::PageRange range, const Gate& gate, NestedChange change,
                          uint64_t LeafCounts::*changes) {
  const uint64_t first = range.begin().value(), last = range.end().value() - 1;
  if (range.empty() || first / kPagesPerLeaf != last / kPagesPerLeaf || !Covers(range)) {
    return false;
  }
  uint64_t absent_leaves = 0;
  Node* node = FindLeafNode(first / kPagesPerLeaf, absent_leaves);
  if (node == nullptr) return false;
  const Entry& slot = node->entries[first / kPagesPerLeaf % kFanout];
  const uint64_t found = slot.load(std::memory_order_acquire);
  if (!HasCounts(found)) return false;
  LeafCounts& leaf = *CountsOf(found);
  if (!leaf.TryLatch()) return false;
  const bool done = gate.is_open() && slot.load(std::memory_order_relaxed) == found &&
                    change(leaf.states + first % kPagesPerLeaf, last - first + 1);
  if (done) ++(leaf.*changes);
  leaf.Unlatch();
  return done;
}

bool LockTable::TryNestedPin(os::PageRange range, const Gate& gate) {
  return TryNested(range, gate, IncrementNested, &LeafCounts::nested_pins);
}

bool LockTable::TryNestedUnpin(os::PageRange range, const Gate& gate) {
  return TryNested(range, gate, DecrementNested, &LeafCounts::nested_unpins);
}

LockTable::Survey LockTable::SurveyOf(os::PageRange range) const {
  Survey survey;
  while (!range.empty()) {
    const LeafPart part = FirstPart(range);
    uint64_t absent_leaves = 0;
    uint64_t pages = part.pages();
    const Entry* entry = FindSlot(part.leaf, absent_leaves);
    const uint64_t slot = entry == nullptr ? 0 : entry->load(std::memory_order_relaxed);
    if (entry == nullptr) {
      survey.Note({0, 0});
      pages = std::min(absent_leaves * kPagesPerLeaf - part.begin, range.count().value());
    } else if (!HasCounts(slot)) {
      const uint16_t count = UniformState(slot) & kCountMax;
      survey.Note({count, count});
      // Those after it that are like it, quickly: a gigabyte is 512 leaves.
      const uint64_t leaves = WholeLeaves(range);
      uint64_t alike = 1;
      while (alike < leaves && entry[alike].load(std::memory_order_relaxed) == slot) ++alike;
      if (leaves > 0) pages = alike * kPagesPerLeaf;
    } else {
      survey.Note(BoundsOf(QuietStates(slot) + part.begin, part.pages()));
    }
    range = After(range, pages);
  }
  return survey;
}

LockTable::Segment LockTable::FirstSegment(os::PageRange range) const {
  const LeafPart part = FirstPart(range);
  uint64_t absent_leaves = 0;
  const Entry* entry = FindSlot(part.leaf, absent_leaves);
  const uint64_t slot = entry == nullptr ? 0 : entry->load(std::memory_order_relaxed);
  PageState state = 0;
  uint64_t pages = part.pages();
  if (entry == nullptr) {
    pages = std::min(absent_leaves * kPagesPerLeaf - part.begin, range.count().value());
  } else if (!HasCounts(slot)) {
    state = UniformState(slot);
  } else {
    const PageState* states = QuietStates(slot);
    state = states[part.begin];
    const PageState* other = std::find_if(states + part.begin, states + part.end,
                                          [state](PageState s) { return s != state; });
    pages = static_cast<uint64_t>(other - (states + part.begin));
  }
  return {os::PageRange(range.begin(), os::PageCount(pages)),
          static_cast<uint16_t>(state & kCountMax), (state & kResidualMark) != 0};
}

os::Errno LockTable::PrepareEdges(os::PageRange range, BlockSource& blocks) {
  if (range.empty()) return os::kSuccess;
  const LeafPart first = FirstPart(range);
  const os::PageRange front(range.begin(), os::PageCount(first.pages()));
  if (const os::Errno error = Prepare(front, blocks); !error.ok()) return error;
  const uint64_t last_leaf = (range.end().value() - 1) / kPagesPerLeaf;
  if (last_leaf == first.leaf) return os::kSuccess;
  return Prepare(os::PageRange(os::PageNumber(last_leaf * kPagesPerLeaf), range.end()), blocks);
}

os::Errno LockTable::Prepare(os::PageRange range, BlockSource& blocks) {
  while (!range.empty()) {
    const LeafPart part = FirstPart(range);
    uint64_t absent_leaves = 0;
    Entry* entry = FindSlot(part.leaf, absent_leaves);
    if (entry == nullptr) {
      if (EnsureLeafNode(part.leaf, blocks) == nullptr) return os::Errno(ENOMEM);
      entry = FindSlot(part.leaf, absent_leaves);
    }
    const uint64_t slot = entry->load(std::memory_order_relaxed);
    if (!part.whole() && !HasCounts(slot)) {
      auto* counts = static_cast<LeafCounts*>(blocks.Allocate(BlockSource::kCountsBytes));
      if (counts == nullptr) return os::Errno(ENOMEM);
      counts->AwaitFree();  // of who found it in the leaf that had it before
      counts->nested_pins = counts->nested_unpins = 0;
      counts->held = UniformState(slot) == 0 ? 0 : kPagesPerLeaf;
      std::fill_n(counts->states, kPagesPerLeaf, UniformState(slot));
      entry->store(SlotOf(counts), std::memory_order_release);
      if (counts->held == 0) NoteEmpty(part.leaf);
    }
    range = After(range, part.pages());
  }
  return os::kSuccess;
}

void LockTable::Account(PageState before, PageState after, uint64_t pages) {
  const auto locked = [](PageState s) { return (s & kCountMax) != 0; };
  if (locked(before) && locked(after)) return;
  if (locked(after) && !locked(before)) pages_locked_ += pages;
  if (!locked(after) && locked(before)) pages_locked_ -= pages;
  if (after == kResidualMark && before != kResidualMark) pages_residual_ += pages;
  if (after != kResidualMark && before == kResidualMark) pages_residual_ -= pages;
  if (pages_residual_ == 0) residual_hull_ = os::PageRange();
}

// Takes a leaf's counts away where it was changed as a whole and one state will do.
void LockTable::Join(Entry& slot, BlockSource& blocks) {
  if (AllEqual(CountsOf(slot.load(std::memory_order_relaxed))->states)) FreeCounts(slot, blocks);
}

void LockTable::NoteEmpty(uint64_t leaf) {
  const os::PageRange pages(os::PageNumber(leaf * kPagesPerLeaf), os::PageCount(kPagesPerLeaf));
  empty_hull_ = Hull(empty_hull_, pages);
}

void LockTable::Tidy(os::PageRange range, BlockSource& blocks,
                     absl::FunctionRef<bool(os::PageRange)> in_use) {
  os::PageRange rest = range.Intersection(empty_hull_);
  if (rest.begin() == empty_hull_.begin()) {
    empty_hull_ = os::PageRange(rest.end(), empty_hull_.end());
  } else if (rest.end() == empty_hull_.end()) {
    empty_hull_ = os::PageRange(empty_hull_.begin(), rest.begin());
  }
  while (!rest.empty()) {
    const LeafPart part = FirstPart(rest);
    uint64_t absent_leaves = 1;
    const bool absent = FindSlot(part.leaf, absent_leaves) == nullptr;
    rest = After(rest, absent ? std::min(absent_leaves * kPagesPerLeaf, rest.count().value())
                              : part.pages());
    if (absent || part.leaf == emptied_leaf_ || !IsEmptyWithCounts(part.leaf)) continue;
    const os::PageRange previous(os::PageNumber(emptied_leaf_ * kPagesPerLeaf),
                                 os::PageCount(kPagesPerLeaf));
    if (IsEmptyWithCounts(emptied_leaf_)) {
      if (in_use(previous)) {
        NoteEmpty(emptied_leaf_);  // it is for who uses it
      } else {
        FreeCounts(*FindSlot(emptied_leaf_, absent_leaves), blocks);
      }
    }
    emptied_leaf_ = part.leaf;
  }
}

bool LockTable::IsEmptyWithCounts(uint64_t leaf) const {
  uint64_t absent_leaves = 0;
  const Entry* entry = FindSlot(leaf, absent_leaves);
  if (entry == nullptr) return false;
  const uint64_t slot = entry->load(std::memory_order_relaxed);
  return HasCounts(slot) && CountsOf(slot)->held == 0;
}

void LockTable::FreeCounts(Entry& slot, BlockSource& blocks) {
  LeafCounts* counts = CountsOf(slot.load(std::memory_order_relaxed));
  counts->AwaitFree();
  freed_changes_.pins += counts->nested_pins;
  freed_changes_.unpins += counts->nested_unpins;
  slot.store(UniformSlot(counts->states[0]), std::memory_order_release);
  blocks.Free(counts, BlockSource::kCountsBytes);
}

// `nested`, if there is one, makes the change where no count gets to 0 or from there.
template <typename Change>
void LockTable::Apply(os::PageRange range, BlockSource& blocks, NestedChange nested,
                      Change change) {
  while (!range.empty()) {
    const LeafPart part = FirstPart(range);
    uint64_t absent_leaves = 0;
    Entry* found = FindSlot(part.leaf, absent_leaves);  // prepared: finds it
    // But in a child forked by a signal handler while its parent was in here: the table is wiped.
    if (found == nullptr && root_.load(std::memory_order_relaxed) == nullptr) return;
    if (found == nullptr) Die("pages are changed that nobody has prepared");
    Entry& entry = *found;
    const uint64_t slot = entry.load(std::memory_order_relaxed);
    if (!HasCounts(slot)) {
      if (!part.whole()) Die("a part of a leaf is changed that nobody has prepared");
      const PageState before = UniformState(slot);
      const PageState after = change(before);
      const uint64_t leaves = WholeLeaves(range);
      uint64_t alike = 0;
      do {
        (&entry)[alike].store(UniformSlot(after), std::memory_order_relaxed);
        ++alike;
      } while (alike < leaves && (&entry)[alike].load(std::memory_order_relaxed) == slot);
      Account(before, after, alike * kPagesPerLeaf);
      range = After(range, alike * kPagesPerLeaf);
      continue;
    }
    PageState* states = QuietStates(slot);
    if (nested == nullptr || !nested(states + part.begin, part.pages())) {
      uint32_t held = CountsOf(slot)->held;
      for (uint64_t i = part.begin; i < part.end; ++i) {
        const PageState before = states[i], after = change(before);
        states[i] = after;
        held = held - (before != 0) + (after != 0);
        Account(before, after, 1);
      }
      CountsOf(slot)->held = held;
      if (held == 0) NoteEmpty(part.leaf);
    }
    if (part.whole()) Join(entry, blocks);
    range = After(range, part.pages());
  }
}

void LockTable::Increment(os::PageRange range, BlockSource& blocks) {
  Apply(range, blocks, IncrementNested,
        [](PageState s) { return static_cast<PageState>((s & kCountMax) + 1); });
}

void LockTable::Decrement(os::PageRange range, BlockSource& blocks) {
  const uint64_t before = pages_residual_;
  Apply(range, blocks, DecrementNested, [](PageState s) {
    return (s & kCountMax) == 1 ? kResidualMark : static_cast<PageState>(s - 1);
  });
  if (pages_residual_ != before) CoverResidual(range);
}

void LockTable::CoverResidual(os::PageRange range) {
  if (pages_residual_ > 0 && !range.empty()) residual_hull_ = Hull(residual_hull_, range);
}

void LockTable::SetResidual(os::PageRange range, bool residual, BlockSource& blocks) {
  Apply(range, blocks, nullptr, [residual](PageState s) {
    return static_cast<PageState>((s & kCountMax) | (residual ? kResidualMark : 0));
  });
  if (residual) CoverResidual(range);
}

void LockTable::SetCount(os::PageRange range, uint16_t count, BlockSource& blocks, Mark mark) {
  const bool residual = mark == Mark::kResidual;
  const PageState state = count | (residual ? kResidualMark : PageState{0});
  Apply(range, blocks, nullptr, [state](PageState) { return state; });
  if (residual) CoverResidual(range);
}

template <typename Visit>
void LockTable::ForEachCounts(const Node* node, int level, Visit visit) {
  if (node == nullptr) return;
  for (const Entry& entry : node->entries) {
    const uint64_t value = entry.load(std::memory_order_relaxed);
    if (level < kPointerLevels) {
      ForEachCounts(reinterpret_cast<const Node*>(value), level + 1, visit);
    } else if (HasCounts(value)) {
      visit(*CountsOf(value));
    }
  }
}

LockTable::NestedChanges LockTable::CountNestedChanges() const {
  NestedChanges changes = freed_changes_;
  ForEachCounts(root_.load(std::memory_order_relaxed), 0, [&](const LeafCounts& counts) {
    counts.AwaitFree();
    changes.pins += counts.nested_pins;
    changes.unpins += counts.nested_unpins;
  });
  return changes;
}

}  // namespace pinlock::internal
