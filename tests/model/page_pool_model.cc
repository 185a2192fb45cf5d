#include "tests/model/page_pool_model.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace test_model {
namespace {

using Kind = PoolOperation::Kind;
using mpool::internal::Deadline;
using mpool::internal::Pinned;

std::string Numbered(const char* what, uint64_t number) {
  return std::string(what) + " " + std::to_string(number);
}

bool IsWithin(const std::set<uint8_t>& values, const std::set<uint8_t>& allowed) {
  return std::includes(allowed.begin(), allowed.end(), values.begin(), values.end());
}

}  // namespace

PagePoolModel::PagePoolModel(const PoolSetup& setup, std::span<const Values> file, uint8_t hole,
                             const os::testing::FaultPlan& plan)
    : hole_(hole),
      zero_past_end_(setup.config.zero_past_end),
      accesses_(setup.accesses),
      plan_(plan),
      page_count_(static_cast<PageNumber>(file.size())),
      in_file_(page_count_),
      durable_pages_(page_count_) {
  for (PageNumber page = 0; page < page_count_; ++page) {
    Page& model = At(page);
    model.in_file = model.durable = file[page];
    model.torn = file[page].size() > 1;
    model.value.reset();
    if (!model.torn) model.value = *file[page].begin();
  }
}

PagePoolModel::Page& PagePoolModel::At(PageNumber page) {
  return pages_.try_emplace(page, Page{hole_, {hole_}, {hole_}, false, false, {}}).first->second;
}

unsigned PagePoolModel::pins(PageNumber page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? 0 : static_cast<unsigned>(found->second.holds.size());
}

bool PagePoolModel::IsExcused(os::Errno error) const {
  return failing_ && plan_.fired() && error == os::Errno(EIO);
}

void PagePoolModel::Tear() {
  tears_ = true;
  for (auto& [number, page] : pages_) page.torn |= page.changed;
}

// What a get has given is what the page may hold.
std::string PagePoolModel::See(Page& model, PageNumber page, std::span<const std::byte> bytes) {
  Values seen;
  for (const std::byte byte : bytes) seen.insert(static_cast<uint8_t>(byte));
  const uint8_t first = *seen.begin();
  const bool whole = seen.size() == 1;
  if (!whole && (model.value || !model.torn)) return Numbered("different bytes in page", page);
  if (model.value ? *model.value != first : !IsWithin(seen, model.in_file)) {
    return Numbered("wrong value in page", page) + Numbered(":", first);
  }
  // A part of a page at the end of the file reads as a hole, until the file gets longer.
  if (model.value || model.torn) return "";
  model.in_file = seen;
  model.value = first;
  return "";
}

std::string PagePoolModel::Get(PoolCore& pool, PageNumber page, Access access) {
  const os::Result<Pinned> pinned = pool.Get(page, access, Deadline{});
  if (!zero_past_end_ && page >= page_count_) {
    return pinned.error() == os::Errno(EINVAL) ? "" : Numbered("past the end there is page", page);
  }
  const bool is_held = pins(page) > 0;
  const bool for_writing = is_held && At(page).holds.back().access == Access::kExclusive;
  if ((access == Access::kShared && for_writing) || (access == Access::kExclusive && is_held)) {
    return pinned.error() == os::Errno(ETIMEDOUT) ? "" : Numbered("no exclusion from page", page);
  }
  if (IsExcused(pinned.error())) return "";
  if (!pinned.ok()) return Numbered("an error for page", page) + ": " + pinned.error().Name();
  Page& model = At(page);
  std::string error = See(model, page, {pinned->bytes, pool.page_size()});
  if (is_held && model.holds.back().pinned.bytes != pinned->bytes) {
    error = Numbered("another address of page", page);
  }
  if (access != Access::kNone) model.holds.push_back({access, *pinned});
  return error;
}

// The pin that was taken last. Of one by the C interface only the address is known.
std::string PagePoolModel::Put(PoolCore& pool, PageNumber page) {
  Page& model = At(page);
  if (model.holds.empty()) return "";  // its address may be another page's by now
  const Hold hold = model.holds.back();
  model.holds.pop_back();
  model.changed |= hold.scribbled;
  ++puts_;
  if (accesses_) {
    pool.Release(hold.pinned, hold.access, hold.scribbled);
    return "";
  }
  return pool.Put(hold.pinned.bytes, hold.scribbled).ok() ? "" : Numbered("cannot put", page);
}

// By whoever has the last pin. From now on it may be written at any time.
void PagePoolModel::Write(PoolCore& pool, Page& model, uint8_t value) {
  Hold& hold = model.holds.back();
  std::memset(hold.pinned.bytes, value, pool.page_size());
  hold.scribbled = true;
  model.value = value;
  model.in_file.insert(value);
  model.durable.insert(value);
}

std::string PagePoolModel::Scribble(PoolCore& pool, PageNumber page, uint8_t value) {
  if (pins(page) > 0 && At(page).holds.back().access == Exclusive()) Write(pool, At(page), value);
  return "";
}

std::string PagePoolModel::Change(PoolCore& pool, PageNumber page, uint8_t value) {
  const unsigned before = pins(page);
  const std::string error = Get(pool, page, Exclusive());
  if (!error.empty() || pins(page) == before) return error;
  Write(pool, At(page), value);
  return Put(pool, page);
}

std::string PagePoolModel::Delete(PoolCore& pool, PageNumber page) {
  if (pins(page) == 0) {
    const std::string error = Get(pool, page, Exclusive());
    if (!error.empty() || pins(page) == 0) return error;
  }
  Page& model = At(page);
  const Hold hold = model.holds.back();
  const os::Errno error =
      pool.Delete(accesses_ ? hold.pinned : Pinned{.bytes = hold.pinned.bytes}, hold.access);
  if (model.holds.size() > 1) {
    return error == os::Errno(EBUSY) ? "" : Numbered("deleted pinned page", page);
  }
  if (!error.ok()) return Numbered("cannot delete", page);
  model.holds.clear();
  model.value.reset();
  model.changed = false;
  return "";
}

std::string PagePoolModel::New(PoolCore& pool, const PoolOperation& operation) {
  const bool next = operation.kind == Kind::kNext;
  PageNumber made = operation.page;
  const bool exists = made < in_file_ || pins(made) > 0;
  const bool is_new = made >= page_count_ && !zero_past_end_;
  const os::Result<Pinned> pinned = pool.New(next ? nullptr : &operation.page, Exclusive(), &made);
  if (!next && pinned.error() == os::Errno(EEXIST)) {
    return is_new ? Numbered("refused to make page", made) : "";
  }
  if (IsExcused(pinned.error())) return "";
  if (!pinned.ok()) return "no new page: " + pinned.error().Name();
  if (!next && exists) return Numbered("made again page", made);
  if (next && (made < page_count_ || (made > page_count_ && !zero_past_end_) || pins(made) > 0)) {
    return Numbered("a wrong next page:", made);
  }
  page_count_ = std::max(page_count_, made + 1);
  // It was in the file at most in part, by a write that has failed.
  Page& model = At(made);
  if (!tears_) model = Page{{}, {hole_}, {hole_}, false, false, {}};
  model.value = 0;
  model.holds.push_back({Exclusive(), *pinned});
  const std::string error = See(model, made, {pinned->bytes, pool.page_size()});
  if (!error.empty()) return "not zeroed: " + error;
  Write(pool, model, operation.value);
  return operation.value % 4 == 3 ? "" : Put(pool, made);
}

std::string PagePoolModel::Sync(PoolCore& pool) {
  const os::Errno error = pool.Sync();
  if (IsExcused(error)) return "";
  if (!error.ok()) return "cannot sync: " + error.Name();
  for (auto& [number, page] : pages_) {
    if (page.changed) in_file_ = std::max(in_file_, number + 1);
    page.changed = false;
    // Where a page is being changed, the sync may be too early for that.
    const bool scribbled = std::any_of(page.holds.begin(), page.holds.end(),
                                       [](const Hold& hold) { return hold.scribbled; });
    if (scribbled) continue;
    if (page.value) {
      page.in_file = {*page.value};
      page.torn = false;
    }
    page.durable = page.in_file;
  }
  page_count_ = std::max(page_count_, in_file_);
  durable_pages_ = in_file_;
  return "";
}

std::string PagePoolModel::Apply(PoolCore& pool, const PoolOperation& operation) {
  std::string error;
  switch (operation.kind) {
    case Kind::kPin:
      error = Get(pool, operation.page, Shared());
      break;
    case Kind::kPinForWrite:
      error = Get(pool, operation.page, Exclusive());
      break;
    case Kind::kUnpin:
      error = Put(pool, operation.page);
      break;
    case Kind::kScribble:
      error = Scribble(pool, operation.page, operation.value);
      break;
    case Kind::kChange:
      error = Change(pool, operation.page, operation.value);
      break;
    case Kind::kPeek:
      error = Get(pool, operation.page, Access::kNone);
      break;
    case Kind::kDelete:
      error = Delete(pool, operation.page);
      break;
    case Kind::kNext:
    case Kind::kRequest:
      error = New(pool, operation);
      break;
    case Kind::kSync:
      error = Sync(pool);
      break;
    case Kind::kPrefetch: {
      const PageNumber both[] = {operation.page, operation.page + 1};
      if (pool.Prefetch(both) > 2) error = "more was read than asked for";
      break;
    }
    case Kind::kFault:
    case Kind::kReopen:
    case Kind::kPowerLoss:
      return "not an operation of a pool";
  }
  return error.empty() ? Check(pool) : error;
}

// What holds between any two operations.
std::string PagePoolModel::Check(PoolCore& pool) const {
  const struct mpool_stat stat = pool.Stats();
  uint64_t held = 0, pinned = 0;
  for (const auto& [number, page] : pages_) {
    held += page.holds.size();
    if (!page.holds.empty()) ++pinned;
  }
  if (stat.pins != held) return Numbered("a wrong count of pins:", stat.pins);
  if (stat.puts != puts_) return Numbered("a wrong count of puts:", stat.puts);
  if (stat.gets != stat.hits + stat.misses) return "gets are not hits and misses";
  if (stat.frames_locked != stat.frames) return "a frame is not locked";
  if (stat.frames < pinned) return Numbered("too few frames:", stat.frames);
  const PageNumber count = pool.page_count();
  if (zero_past_end_ ? count < page_count_ : count != page_count_) {
    return Numbered("a wrong count of pages:", count);
  }
  return "";
}

std::string PagePoolModel::UnpinAll(PoolCore& pool) {
  for (const auto& [number, page] : pages_) {
    while (!page.holds.empty()) {
      if (std::string error = Put(pool, number); !error.empty()) return error;
    }
  }
  return Check(pool);
}

std::string PagePoolModel::Closed(std::span<const Values> file) {
  const auto pages = static_cast<PageNumber>(file.size());
  if (pages < in_file_ || (!zero_past_end_ && pages > page_count_)) {
    return Numbered("the file has pages:", pages);
  }
  for (PageNumber number = 0; number < pages; ++number) {
    const Page& page = At(number);
    if (!IsWithin(file[number], page.in_file) || (file[number].size() > 1 && !page.torn)) {
      return Numbered("the file has a wrong page", number) + Numbered(":", *file[number].begin());
    }
  }
  for (auto& [number, page] : pages_) {
    page.value.reset();
    page.changed = false;
  }
  page_count_ = in_file_ = pages;
  puts_ = 0;
  return "";
}

std::string PagePoolModel::LostPower(std::span<const Values> file) const {
  if (file.size() < durable_pages_)
    return Numbered("of the file there are pages left:", file.size());
  for (PageNumber number = 0; number < file.size(); ++number) {
    const auto found = pages_.find(number);
    const Values& durable = found == pages_.end() ? Values{hole_} : found->second.durable;
    const bool torn = found != pages_.end() && found->second.torn;
    if (!IsWithin(file[number], durable) || (file[number].size() > 1 && !torn)) {
      return Numbered("lost page", number) + Numbered(", which holds", *file[number].begin());
    }
  }
  return "";
}

}  // namespace test_model
