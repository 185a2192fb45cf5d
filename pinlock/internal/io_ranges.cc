#include "pinlock/internal/io_ranges.h"

#include <new>

namespace pinlock::internal {

os::Errno IoRanges::Begin(os::PageRange pages, os::ThreadId thread, BlockSource& blocks) {
  if (unused_ == nullptr) {
    auto* block = static_cast<std::byte*>(blocks.Allocate(BlockSource::kNodeBytes));
    if (block == nullptr) return os::Errno(ENOMEM);
    for (size_t i = 0; i < BlockSource::kNodeBytes / sizeof(Entry); ++i) {
      unused_ = new (block + i * sizeof(Entry)) Entry{unused_, {}, 0};
    }
  }
  Entry* entry = unused_;
  unused_ = entry->next;
  *entry = {used_, pages, thread};
  used_ = entry;
  return os::kSuccess;
}

template <typename Match>
void IoRanges::Drop(Match match) {
  for (Entry** link = &used_; *link != nullptr;) {
    Entry* entry = *link;
    if (!match(*entry)) {
      link = &entry->next;
      continue;
    }
    *link = entry->next;
    entry->next = unused_;
    unused_ = entry;
  }
}

bool IoRanges::End(os::PageRange pages, os::ThreadId thread) {
  bool found = false;
  Drop([&](const Entry& entry) {
    if (found || entry.thread != thread || entry.pages != pages) return false;
    return found = true;
  });
  return found;
}

std::optional<IoRanges::User> IoRanges::FindOther(os::PageRange pages, os::ThreadId thread,
                                                  bool (*alive)(os::ThreadId)) {
  std::optional<User> found;
  Drop([&](const Entry& entry) {
    const os::PageRange common = entry.pages.Intersection(pages);
    if (entry.thread == thread || common.empty()) return false;
    if (!alive(entry.thread)) return true;
    if (!found) found = User{common.begin(), entry.thread};
    return false;
  });
  return found;
}

void IoRanges::DropDead(bool (*alive)(os::ThreadId)) {
  Drop([&](const Entry& entry) { return !alive(entry.thread); });
}

void IoRanges::Forget(os::PageRange pages) {
  Drop([&](const Entry& entry) { return !entry.pages.Intersection(pages).empty(); });
}

}  // namespace pinlock::internal
