#include "pinlock/internal/locker_state.h"

namespace pinlock::internal {
namespace {

// The leaves that the pages lie in, as pages.
os::PageRange LeavesOf(os::PageRange pages) {
  if (pages.empty()) return pages;
  constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
  const uint64_t end = (pages.end().value() + kLeaf - 1) / kLeaf * kLeaf;
  return os::PageRange(os::PageNumber(pages.begin().value() / kLeaf * kLeaf), os::PageNumber(end));
}

}  // namespace

Claim::Claim(LockerState& state, os::Memory& memory, os::PageRange pages, os::PageRange more)
    : state_(state), memory_(memory), leaves_(LeavesOf(pages)), more_leaves_(LeavesOf(more)) {
  while (state.claims != nullptr && (IsClaimed(state, leaves_) || IsClaimed(state, more_leaves_))) {
    Await(state);
  }
  next_ = state.claims;
  state.claims = this;
}

Claim::~Claim() {
  const Claim** link = &state_.claims;
  while (*link != nullptr && *link != this) link = const_cast<const Claim**>(&(*link)->next_);
  if (*link == nullptr) return;  // forked in a signal handler: a child's state has no claims
  *link = next_;
  TableBlocks blocks(state_.blocks, memory_);
  const auto in_use = [this](os::PageRange leaf)
                          ABSL_NO_THREAD_SAFETY_ANALYSIS { return IsClaimed(state_, leaf); };
  state_.table.Tidy(leaves_, blocks, in_use);
  state_.table.Tidy(more_leaves_, blocks, in_use);
  state_.claims_changed.NotifyAll();
}

void Claim::Await(LockerState& state) {
  state.OpenGate();
  state.claims_changed.Wait(state.latch);
  state.gate.Close();
}

bool Claim::Touches(os::PageRange leaves) const {
  return !leaves_.Intersection(leaves).empty() || !more_leaves_.Intersection(leaves).empty();
}

bool Claim::IsClaimed(const LockerState& state, os::PageRange pages, const Claim* but) {
  const os::PageRange leaves = LeavesOf(pages);
  for (const Claim* claim = state.claims; claim != nullptr; claim = claim->next_) {
    if (claim != but && claim->Touches(leaves)) return true;
  }
  return false;
}

}  // namespace pinlock::internal
