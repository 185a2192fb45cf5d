#include "cli/shared_pools.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"
#include "cli/size_text.h"
#include "nlohmann/json.hpp"
#include "os/errno.h"
#include "os/result.h"
#include "os/shared_object.h"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;
using mpool::internal::SharedRegion;

constexpr size_t kColumns = 8;
using Row = std::array<std::string, kColumns>;
constexpr std::array<bool, kColumns> kIsNumber = {false, false, true,  true,
                                                  true,  false, false, false};

Row Headings() { return {"KEY", "NAME", "PAGE", "SIZE", "PROCS", "PIDS", "STATE", "FILE"}; }

// Exact, as a page may have any number of bytes.
std::string PageText(uint32_t bytes) {
  constexpr uint32_t kKib = 1024;
  if (bytes % (kKib * kKib) == 0) return absl::StrCat(bytes / (kKib * kKib), " MiB");
  if (bytes % kKib == 0) return absl::StrCat(bytes / kKib, " KiB");
  return absl::StrCat(bytes, " B");
}

std::string OrDash(std::string text) { return text.empty() ? "-" : text; }

Row RowOf(const SharedPool& pool, bool in_bytes) {
  const std::string page = in_bytes ? absl::StrCat(pool.page_size) : PageText(pool.page_size);
  return {OrDash(Printable(pool.key)),
          Printable(pool.name),
          pool.page_size == 0 ? "-" : page,
          in_bytes ? absl::StrCat(pool.bytes) : SizeText(pool.bytes),
          absl::StrCat(pool.participants),
          OrDash(absl::StrJoin(PidsOf(pool), ",")),
          StateOf(pool),
          OrDash(Printable(pool.file))};
}

void AppendLine(const Row& row, const std::array<size_t, kColumns>& widths, std::string& table) {
  for (size_t i = 0; i < kColumns; ++i) {
    const std::string padding(widths[i] - row[i].size(), ' ');
    const bool is_last = i + 1 == kColumns;
    absl::StrAppend(&table, kIsNumber[i] ? padding : "", row[i],
                    kIsNumber[i] || is_last ? "" : padding, is_last ? "\n" : "  ");
  }
}

// null: there is none, or it is no text in UTF-8.
Json TextOrNull(const std::string& bytes) {
  try {
    const Json text(bytes);
    (void)text.dump();
    return bytes.empty() ? Json() : text;
  } catch (const Json::type_error&) {
    return nullptr;
  }
}

Json HexOrNull(const std::string& bytes) {
  return bytes.empty() ? Json() : Json(absl::BytesToHexString(bytes));
}

Json ObjectOf(const SharedPool& pool) {
  return {{"key", TextOrNull(pool.key)},
          {"key_hex", HexOrNull(pool.key)},
          {"name", TextOrNull(pool.name)},
          {"page_bytes", pool.page_size == 0 ? Json() : Json(pool.page_size)},
          {"memory_bytes", pool.bytes},
          {"participants", pool.participants},
          {"pids", PidsOf(pool)},
          {"state", StateOf(pool)},
          {"file", TextOrNull(pool.file)},
          {"file_hex", HexOrNull(pool.file)}};
}

int Fail(const char* command, int exit_code, const std::string& message) {
  (void)std::fflush(stdout);
  absl::FPrintF(stderr, "mpool %s: %s\n", command, message);
  return exit_code;
}

int FailToList(const char* command, os::Errno error) {
  return Fail(command, error == os::Errno(EACCES) ? kNoPermission : kFailure,
              absl::StrCat(SharedRegion::kFolder, ", where shared pools are, cannot be read: ",
                           std::strerror(error.code())));
}

// The object may be another user's, whose pools are not listed.
bool IsObjectName(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  const auto is_made_of = [](const std::string& part, const char* digits) {
    return !part.empty() && part.find_first_not_of(digits) == part.npos;
  };
  return parts.size() == 4 && parts[0] == "mpool" && is_made_of(parts[1], "0123456789") &&
         is_made_of(parts[2], "0123456789abcdef") && is_made_of(parts[3], "0123456789");
}

int FailToFind(const std::string& which) {
  return Fail(
      "rm", kNoSuchPool,
      absl::StrFormat("no shared pool of user %u has the key or name '%s'; `mpool ls` lists "
                      "those that there are",
                      os::CurrentUser(), Printable(which)));
}

int FailToChoose(const std::string& which, std::span<const SharedPool> meant) {
  const auto append_name = [](std::string* out, const SharedPool& pool) {
    out->append(Printable(pool.name));
  };
  return Fail("rm", kFailure,
              absl::StrFormat("'%s' may be the key of each of %s; give the name of one",
                              Printable(which), absl::StrJoin(meant, ", ", append_name)));
}

// What has changed since the pool was looked for is told as it is now.
int Refuse(const SharedPool& pool) {
  SharedPool now = pool;
  if (const auto pools = SharedRegion::List(); pools.ok()) {
    for (const SharedPool& other : *pools) {
      if (other.name == pool.name) now = other;
    }
  }
  return Fail("rm", now.valid ? kFailure : kDamagedPool, RefusalOf(now));
}

int FailToRemove(const SharedPool& pool, const std::string& which, os::Errno error) {
  const std::string path = absl::StrCat(SharedRegion::kFolder, "/", Printable(pool.name));
  if (error == os::Errno(EBUSY)) return Refuse(pool);
  if (error == os::Errno(EAGAIN)) {
    return Fail("rm", kFailure,
                absl::StrCat("a process has been opening or closing the pool ", which,
                             " for more than a second; is it stopped? Let it go on, or end it, and "
                             "try again"));
  }
  if (error == os::Errno(ENOENT)) return FailToFind(which);
  if (error == os::Errno(EACCES) || error == os::Errno(EPERM)) {
    return Fail("rm", kNoPermission,
                absl::StrCat(path,
                             " belongs to another user, or is no pool, as others may open it; "
                             "remove it as its owner, with rm(1) if it is no pool"));
  }
  return Fail("rm", kFailure,
              absl::StrCat(path, " cannot be removed: ", std::strerror(error.code())));
}

}  // namespace

std::string Printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    if (byte >= ' ' && byte <= '~' && byte != '\\') {
      text += byte;
    } else {
      absl::StrAppendFormat(&text, "\\x%02x", static_cast<unsigned char>(byte));
    }
  }
  return text;
}

const char* StateOf(const SharedPool& pool) {
  if (!pool.valid) return "damaged";
  return pool.participants == 0 ? "stale" : "live";
}

std::vector<int> PidsOf(const SharedPool& pool) {
  std::vector<int> pids;
  for (const absl::string_view word : absl::StrSplit(pool.pids, ',', absl::SkipEmpty())) {
    int pid = 0;
    if (!absl::SimpleAtoi(word, &pid) || std::ranges::count(pids, pid) > 0) continue;
    pids.push_back(pid);
  }
  return pids;
}

std::string TableOf(std::span<const SharedPool> pools, const ListOptions& options) {
  std::vector<Row> rows;
  if (options.headings) rows.push_back(Headings());
  for (const SharedPool& pool : pools) rows.push_back(RowOf(pool, options.bytes));
  std::array<size_t, kColumns> widths = {};
  for (const Row& row : rows) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) AppendLine(row, widths, table);
  return table;
}

std::string JsonOf(std::span<const SharedPool> pools) {
  Json objects = Json::array();
  for (const SharedPool& pool : pools) objects.push_back(ObjectOf(pool));
  const Json all = {{"schema", "mpool.ls/1"}, {"pools", std::move(objects)}};
  return all.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

std::vector<SharedPool> Meant(std::string_view which, std::span<const SharedPool> pools) {
  std::vector<SharedPool> meant;
  for (const SharedPool& pool : pools) {
    if (pool.name == which) return {pool};
    const bool is_its_key = pool.key == which || Printable(pool.key) == which;
    if (pool.valid && is_its_key) meant.push_back(pool);
  }
  return meant;
}

std::string RefusalOf(const SharedPool& pool) {
  constexpr char kCure[] =
      "close it there or use --force, which leaves them their memory but lets nobody else join";
  const std::vector<int> pids = PidsOf(pool);
  if (!pool.valid || pids.empty()) {
    const std::string name = Printable(pool.name);
    return absl::StrFormat(
        "the pool %s is %sopen in processes that it does not name (fuser %s/%s tells); %s", name,
        pool.valid ? "" : "damaged, and ", SharedRegion::kFolder, name, kCure);
  }
  return absl::StrFormat("the pool %s is open in %s %s; %s", Printable(pool.key),
                         pids.size() == 1 ? "process" : "processes", absl::StrJoin(pids, ","),
                         kCure);
}

int ListSharedPools(const ListOptions& options) {
  os::Result<std::vector<SharedPool>> pools = SharedRegion::List();
  if (!pools.ok()) return FailToList("ls", pools.error());
  std::ranges::sort(*pools, {},
                    [](const SharedPool& pool) { return std::tie(pool.key, pool.name); });
  const std::string text = options.json ? JsonOf(*pools) : TableOf(*pools, options);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

int RemoveSharedPool(const std::string& which, bool force) {
  const os::Result<std::vector<SharedPool>> pools = SharedRegion::List();
  if (!pools.ok()) return FailToList("rm", pools.error());
  std::vector<SharedPool> meant = Meant(which, *pools);
  if (meant.empty()) {
    if (!IsObjectName(which)) return FailToFind(which);
    meant.emplace_back().name = which;
  }
  if (meant.size() > 1) return FailToChoose(which, meant);
  const os::Errno error = SharedRegion::Remove(meant.front().name, force);
  return error.ok() ? 0 : FailToRemove(meant.front(), which, error);
}

}  // namespace cli
