#include "tests/model/page_pool_model.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace test_support {
namespace {

using Kind = PoolOperation::Kind;
using mpool::internal::Access;
using mpool::internal::Pinned;

// The value that fills the page; nullopt: its bytes differ.
std::optional<uint8_t> ValueOf(const std::byte* bytes, uint32_t page_size) {
  const bool uniform =
      std::all_of(bytes, bytes + page_size, [&](std::byte byte) { return byte == bytes[0]; });
  if (!uniform) return std::nullopt;
  return static_cast<uint8_t>(bytes[0]);
}

std::string Numbered(const char* what, uint64_t number) {
  return std::string(what) + " " + std::to_string(number);
}

}  // namespace

std::optional<PoolOperation> DecodeOperation(std::span<const uint8_t>& bytes, PageNumber pages) {
  if (bytes.size() < 3) return std::nullopt;
  const PoolOperation operation{static_cast<Kind>(bytes[0] % PoolOperation::kKinds),
                                bytes[1] % pages, bytes[2]};
  bytes = bytes.subspan(3);
  return operation;
}

std::string ToString(const PoolOperation& operation) {
  static constexpr const char* kNames[] = {"kPin",  "kUnpin",   "kChange", "kPeek",    "kDelete",
                                           "kNext", "kRequest", "kSync",   "kPrefetch"};
  return std::string("{Kind::") + kNames[static_cast<size_t>(operation.kind)] + ", " +
         std::to_string(operation.page) + ", " + std::to_string(operation.value) + "}";
}

PagePoolModel::PagePoolModel(std::span<const uint8_t> file, uint8_t hole, bool zero_past_end)
    : hole_(hole),
      zero_past_end_(zero_past_end),
      page_count_(static_cast<PageNumber>(file.size())),
      in_file_(page_count_) {
  for (PageNumber page = 0; page < page_count_; ++page) {
    pages_[page] = Page{file[page], {file[page]}, false, 0, nullptr};
  }
}

PagePoolModel::Page& PagePoolModel::At(PageNumber page) {
  return pages_.try_emplace(page, Page{hole_, {hole_}, false, 0, nullptr}).first->second;
}

unsigned PagePoolModel::pins(PageNumber page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? 0 : found->second.pins;
}

std::set<uint8_t> PagePoolModel::InFile(PageNumber page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? std::set<uint8_t>{hole_} : found->second.in_file;
}

std::string PagePoolModel::Get(PoolCore& pool, PageNumber page, Access access) {
  const os::Result<Pinned> pinned = pool.Get(page, access);
  if (!zero_past_end_ && page >= page_count_) {
    return pinned.error() == os::Errno(EINVAL) ? "" : Numbered("past the end there is page", page);
  }
  if (!pinned.ok()) return Numbered("an error for page", page) + ": " + pinned.error().Name();
  Page& model = At(page);
  const std::optional<uint8_t> seen = ValueOf(pinned->bytes, pool.page_size());
  if (!seen) return Numbered("different bytes in page", page);
  if (model.value ? *model.value != *seen : !model.in_file.contains(*seen)) {
    return Numbered("wrong value in page", page) + Numbered(":", *seen);
  }
  if (!model.value) model.in_file = {*seen};
  model.value = seen;
  if (model.pins > 0 && model.address != pinned->bytes)
    return Numbered("another address of page", page);
  model.address = pinned->bytes;
  if (access == Access::kPinned) ++model.pins;
  return "";
}

std::string PagePoolModel::Put(PoolCore& pool, PageNumber page, bool dirty) {
  Page& model = At(page);
  if (model.pins == 0) return "";  // its address may be another page's by now
  --model.pins;
  return pool.Put(model.address, dirty).ok() ? "" : Numbered("cannot put", page);
}

std::string PagePoolModel::Change(PoolCore& pool, PageNumber page, uint8_t value) {
  const std::string error = Get(pool, page, Access::kPinned);
  if (!error.empty() || pins(page) == 0) return error;
  Page& model = At(page);
  std::memset(model.address, value, pool.page_size());
  model.value = value;
  model.in_file.insert(value);  // from now on it may be written at any time
  model.changed = true;
  return Put(pool, page, /*dirty=*/true);
}

std::string PagePoolModel::Delete(PoolCore& pool, PageNumber page) {
  if (pins(page) == 0) {
    const std::string error = Get(pool, page, Access::kPinned);
    if (!error.empty() || pins(page) == 0) return error;
  }
  Page& model = At(page);
  const os::Errno error = pool.Delete({.bytes = model.address}, Access::kPinned);
  if (model.pins > 1) return error == os::Errno(EBUSY) ? "" : Numbered("deleted pinned page", page);
  if (!error.ok()) return Numbered("cannot delete", page);
  model.pins = 0;
  model.value.reset();
  model.changed = false;
  return "";
}

std::string PagePoolModel::New(PoolCore& pool, const PoolOperation& operation) {
  const bool next = operation.kind == Kind::kNext;
  PageNumber made = operation.page;
  const bool exists = made < in_file_ || pins(made) > 0;
  const bool is_new = made >= page_count_ && !zero_past_end_;
  const os::Result<Pinned> pinned =
      pool.New(next ? nullptr : &operation.page, Access::kPinned, &made);
  if (!next && pinned.error() == os::Errno(EEXIST)) {
    return is_new ? Numbered("refused to make page", made) : "";
  }
  if (!pinned.ok()) return "no new page: " + pinned.error().Name();
  if (!next && exists) return Numbered("made again page", made);
  if (next && (made < page_count_ || (made > page_count_ && !zero_past_end_) || pins(made) > 0)) {
    return Numbered("a wrong next page:", made);
  }
  if (ValueOf(pinned->bytes, pool.page_size()) != uint8_t{0})
    return Numbered("not zeroed: page", made);
  page_count_ = std::max(page_count_, made + 1);
  pages_[made] = Page{operation.value, {hole_, operation.value}, true, 1, pinned->bytes};
  std::memset(pinned->bytes, operation.value, pool.page_size());
  return Put(pool, made, /*dirty=*/true);
}

std::string PagePoolModel::Sync(PoolCore& pool) {
  if (!pool.Sync().ok()) return "cannot sync";
  for (auto& [number, page] : pages_) {
    if (page.changed) in_file_ = std::max(in_file_, number + 1);
    if (page.value) page.in_file = {*page.value};
    page.changed = false;
  }
  page_count_ = std::max(page_count_, in_file_);
  return "";
}

std::string PagePoolModel::Apply(PoolCore& pool, const PoolOperation& operation) {
  std::string error;
  switch (operation.kind) {
    case Kind::kPin:
      error = Get(pool, operation.page, Access::kPinned);
      break;
    case Kind::kUnpin:
      error = Put(pool, operation.page, /*dirty=*/false);
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
  }
  return error.empty() ? Check(pool) : error;
}

// What holds between any two operations.
std::string PagePoolModel::Check(PoolCore& pool) const {
  const struct mpool_stat stat = pool.Stats();
  uint64_t pins = 0, pinned = 0;
  for (const auto& [number, page] : pages_) {
    pins += page.pins;
    if (page.pins > 0) ++pinned;
  }
  if (stat.pins != pins) return Numbered("a wrong count of pins:", stat.pins);
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
    while (page.pins > 0) {
      if (std::string error = Put(pool, number, /*dirty=*/false); !error.empty()) return error;
    }
  }
  return Check(pool);
}

std::string PagePoolModel::Closed(PageNumber pages) {
  if (pages < in_file_ || (!zero_past_end_ && pages > page_count_)) {
    return Numbered("the file has pages:", pages);
  }
  for (auto& [number, page] : pages_) {
    page.value.reset();
    page.changed = false;
  }
  page_count_ = in_file_ = pages;
  return "";
}

}  // namespace test_support
