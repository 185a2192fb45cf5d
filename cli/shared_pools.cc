#include "cli/shared_pools.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/output.h"
#include "cli/size_text.h"
#include "cli/table.h"
#include "os/errno.h"
#include "os/result.h"
#include "os/shared_object.h"

namespace cli {
namespace {

using mpool::internal::SharedRegion;

std::string OrDash(std::string text) { return text.empty() ? "-" : text; }

std::vector<std::string> RowOf(const SharedPool& pool, bool in_bytes) {
  const std::string page = in_bytes ? absl::StrCat(pool.page_size) : ExactSizeText(pool.page_size);
  return {OrDash(Printable(pool.key)),
          Printable(pool.name),
          pool.page_size == 0 ? "-" : page,
          in_bytes ? absl::StrCat(pool.bytes) : SizeText(pool.bytes),
          absl::StrCat(pool.participants),
          OrDash(absl::StrJoin(PidsOf(pool), ",")),
          StateOf(pool),
          OrDash(Printable(pool.file))};
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
      "rm", kNotFound,
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
  return Fail("rm", now.valid ? kFailure : kDamaged, RefusalOf(now));
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

Table EmptyTable() {
  return Table({{"KEY"},
                {"NAME"},
                {"PAGE", /*is_number=*/true},
                {"SIZE", /*is_number=*/true},
                {"PROCS", /*is_number=*/true},
                {"PIDS"},
                {"STATE"},
                {"FILE"}});
}

std::string TableOf(std::span<const SharedPool> pools, const OutputOptions& options) {
  Table table = EmptyTable();
  (void)table.Choose(options.columns);
  for (const SharedPool& pool : pools) table.AddRow(RowOf(pool, options.bytes));
  return table.ToString(options.headings);
}

std::string JsonOf(std::span<const SharedPool> pools) {
  Json objects = Json::array();
  for (const SharedPool& pool : pools) objects.push_back(ObjectOf(pool));
  return JsonText({{"schema", "mpool.ls/1"}, {"pools", std::move(objects)}});
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

int ListSharedPools(const OutputOptions& options) {
  if (const auto mistake = EmptyTable().Choose(options.columns)) {
    return Fail("ls", kUsageError, *mistake);
  }
  os::Result<std::vector<SharedPool>> pools = SharedRegion::List();
  if (!pools.ok()) return FailToList("ls", pools.error());
  std::ranges::sort(*pools, {},
                    [](const SharedPool& pool) { return std::tie(pool.key, pool.name); });
  const std::string text = options.json ? JsonOf(*pools) : TableOf(*pools, options);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

int RemoveSharedPool(const std::string& which, bool force, bool json) {
  const os::Result<std::vector<SharedPool>> pools = SharedRegion::List();
  if (!pools.ok()) return FailToList("rm", pools.error());
  std::vector<SharedPool> meant = Meant(which, *pools);
  if (meant.empty()) {
    if (!IsObjectName(which)) return FailToFind(which);
    meant.emplace_back().name = which;
  }
  if (meant.size() > 1) return FailToChoose(which, meant);
  const os::Errno error = SharedRegion::Remove(meant.front().name, force);
  if (!error.ok()) return FailToRemove(meant.front(), which, error);
  if (json) {
    const std::string text =
        JsonText({{"schema", "mpool.rm/1"}, {"removed", Printable(meant.front().name)}});
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return 0;
}

Command AddLs(CLI::App& app) {
  CLI::App* ls = app.add_subcommand("ls", "List the pools that your processes share");
  auto options = std::make_shared<OutputOptions>();
  AddJsonOption(*ls, *options);
  AddBytesOption(*ls, *options);
  AddTableOptions(*ls, *options);
  return {ls, [options] { return ListSharedPools(*options); }};
}

Command AddRm(CLI::App& app) {
  struct Options : OutputOptions {
    std::string pool;
    bool force = false;
  };
  CLI::App* rm = app.add_subcommand("rm", "Remove a shared pool that no process has open");
  auto options = std::make_shared<Options>();
  rm->add_flag("--force", options->force, "Also one that is open: nobody else can join it");
  rm->add_option("POOL", options->pool, "Its key or its name, as ls prints them")->required();
  AddJsonOption(*rm, *options);
  return {rm, [options] { return RemoveSharedPool(options->pool, options->force, options->json); }};
}

}  // namespace cli
