#include "cli/check_report.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/json_text.h"
#include "cli/size_text.h"

namespace cli {
namespace {

using Kind = Remark::Kind;

// "1 page is", "2 pages are"
std::string PagesAre(uint64_t count, const char* one, const char* many) {
  return absl::StrCat(count, count == 1 ? " page " : " pages ", count == 1 ? one : many);
}

class Remarks {
 public:
  void Add(Kind kind, const char* code, std::string text) {
    all_.push_back({kind, code, std::move(text)});
  }
  std::vector<Remark> all() && { return std::move(all_); }

 private:
  std::vector<Remark> all_;
};

void AddSizes(const CheckReport& report, Remarks& remarks) {
  if (report.pages() > CheckReport::kPagesMax) {
    remarks.Add(Kind::kFinding, "too-many-pages",
                absl::StrCat("a pool can number ", CheckReport::kPagesMax,
                             " pages (EFBIG): use larger pages; the pages were not read"));
  } else if (report.pages() == 0) {
    remarks.Add(Kind::kNote, "empty", "it has no page yet");
  }
  if (const uint64_t tail = report.tail_bytes(); tail > 0) {
    remarks.Add(Kind::kFinding, "tail",
                absl::StrCat("the last ", tail, tail == 1 ? " byte is" : " bytes are",
                             " no whole page, and so no part of a pool: a new page overwrites "
                             "them; is it another page size?"));
  }
}

void AddContents(const CheckReport& report, Remarks& remarks) {
  if (const uint64_t bad = CountOf(report.bad_pages); bad > 0) {
    remarks.Add(Kind::kFinding, "unreadable",
                absl::StrCat(PagesAre(bad, "cannot be read: ", "cannot be read: "),
                             BadPagesText(report.bad_pages, 20)));
  }
  if (report.hole_pages > 0) {
    const bool has_room = report.hole_bytes <= report.layout.free_bytes;
    remarks.Add(
        Kind::kNote, "holes",
        absl::StrCat(PagesAre(report.hole_pages, "lies", "lie"), " in holes, without a block (",
                     SizeText(report.hole_bytes), "): zeros until written; the file system has ",
                     has_room ? "" : "only ", SizeText(report.layout.free_bytes), " free for them",
                     has_room ? "" : ", so that writing all of them fails (ENOSPC)"));
  }
}

void AddAccess(const CheckReport& report, Remarks& remarks) {
  if (!report.write_error.ok()) {
    remarks.Add(
        Kind::kNote, "read-only",
        absl::StrCat("this process may not write to it (", std::strerror(report.write_error.code()),
                     "): a pool over it can read, but not sync changes"));
  }
  if (!report.list_error.ok()) {
    remarks.Add(Kind::kNote, "pools-unknown",
                absl::StrCat("whether a shared pool has it open is not known: ",
                             std::strerror(report.list_error.code())));
  }
  for (const SharedPool& pool : report.pools) {
    const std::string who =
        absl::StrCat("the shared pool ", Printable(pool.key), " has it open (pids ",
                     pool.pids.empty() ? "unknown" : absl::StrJoin(PidsOf(pool), ","), ")");
    if (pool.page_size == report.page_bytes) {
      remarks.Add(Kind::kNote, "shared-pool", absl::StrCat(who, ": what is not synced is there"));
    } else {
      remarks.Add(Kind::kFinding, "other-page-size",
                  absl::StrCat(who, " with pages of ", ExactSizeText(pool.page_size)));
    }
  }
}

std::string DirectIoText(const CheckReport& report) {
  const std::optional<os::DirectIo>& direct = report.layout.direct_io;
  if (!direct) return "whether it can be opened with O_DIRECT is not known here";
  if (direct->offset_alignment == 0) return "it cannot be opened with O_DIRECT";
  const bool fits = report.page_bytes % direct->offset_alignment == 0;
  return absl::StrCat("the page size is ", fits ? "right" : "wrong",
                      " for O_DIRECT, which takes multiples of ",
                      ExactSizeText(direct->offset_alignment));
}

void AddLayout(const CheckReport& report, Remarks& remarks) {
  const uint64_t block = report.layout.block_bytes;
  if (block != 0 && report.page_bytes % block != 0) {
    remarks.Add(Kind::kNote, "part-of-block",
                absl::StrCat("the page size is no multiple of the file system's block, ",
                             ExactSizeText(block), ": writing a page may read its block first"));
  }
  if (report.page_bytes % report.mmu_page_bytes != 0) {
    remarks.Add(
        Kind::kDetail, "part-of-mmu-page",
        absl::StrCat("the page size is no multiple of the processor's page, ",
                     ExactSizeText(report.mmu_page_bytes), ": pages in memory share those"));
  }
  remarks.Add(Kind::kDetail, "direct-io", DirectIoText(report));
}

Json ObjectOf(const SharedPool& pool) {
  return {{"key", TextOrNull(pool.key)},
          {"key_hex", HexOrNull(pool.key)},
          {"name", TextOrNull(pool.name)},
          {"page_bytes", pool.page_size},
          {"pids", PidsOf(pool)}};
}

Json DirectIoOf(const CheckReport& report) {
  const std::optional<os::DirectIo>& direct = report.layout.direct_io;
  if (!direct) return nullptr;
  const uint64_t offset = direct->offset_alignment;
  return {{"memory_alignment_bytes", direct->memory_alignment},
          {"offset_alignment_bytes", offset},
          {"page_size_fits", offset != 0 && report.page_bytes % offset == 0}};
}

Json RemarksAsJson(const std::vector<Remark>& remarks, bool findings) {
  Json array = Json::array();
  for (const Remark& remark : remarks) {
    if ((remark.kind == Kind::kFinding) != findings) continue;
    array.push_back({{"code", remark.code}, {"text", remark.text}});
  }
  return array;
}

void AddFacts(const CheckReport& report, Json& object) {
  Json bad = Json::array(), pools = Json::array();
  for (const BadPages& range : report.bad_pages) {
    bad.push_back({{"first", range.first}, {"count", range.count}, {"error", range.error.Name()}});
  }
  for (const SharedPool& pool : report.pools) pools.push_back(ObjectOf(pool));
  object["writable"] = report.write_error.ok();
  object["file_bytes"] = report.layout.bytes;
  object["pages"] = report.pages();
  object["tail_bytes"] = report.tail_bytes();
  object["unreadable"] = std::move(bad);
  object["hole_pages"] = report.hole_pages;
  object["hole_bytes"] = report.hole_bytes;
  object["free_bytes"] = report.layout.free_bytes;
  object["block_bytes"] = report.layout.block_bytes;
  object["mmu_page_bytes"] = report.mmu_page_bytes;
  object["direct_io"] = DirectIoOf(report);
  object["shared_pools"] = std::move(pools);
}

}  // namespace

std::vector<Remark> RemarksOf(const CheckReport& report) {
  Remarks remarks;
  if (!report.regular) {
    remarks.Add(Kind::kFinding, "not-regular",
                "it is not a regular file (ESPIPE): a pool needs one, in which it can seek");
    return std::move(remarks).all();
  }
  AddSizes(report, remarks);
  AddContents(report, remarks);
  AddAccess(report, remarks);
  AddLayout(report, remarks);
  std::vector<Remark> all = std::move(remarks).all();
  std::ranges::stable_sort(all, {}, [](const Remark& remark) { return remark.kind; });
  return all;
}

bool HasFinding(const CheckReport& report) {
  const std::vector<Remark> remarks = RemarksOf(report);
  return std::ranges::any_of(remarks, [](const Remark& r) { return r.kind == Kind::kFinding; });
}

std::string TextOf(const CheckReport& report, const OutputOptions& options) {
  std::string text;
  if (options.verbosity >= 0) {
    absl::StrAppend(&text, Printable(report.path));
    if (report.regular) {
      absl::StrAppend(&text, ": ", SizeText(report.layout.bytes), ", ",
                      PagesAre(report.pages(), "of ", "of "), ExactSizeText(report.page_bytes));
    }
    absl::StrAppend(&text, "\n");
  }
  uint64_t findings = 0;
  for (const Remark& remark : RemarksOf(report)) {
    const bool is_finding = remark.kind == Kind::kFinding;
    if (is_finding) ++findings;
    if (!is_finding && options.verbosity < (remark.kind == Kind::kNote ? 0 : 1)) continue;
    absl::StrAppend(&text, is_finding ? "finding: " : "note: ", remark.text, "\n");
  }
  if (options.verbosity < 0) return text;
  if (findings > 0)
    return absl::StrCat(text, findings, findings == 1 ? " finding\n" : " findings\n");
  return absl::StrCat(text, "Every page can be read, and nothing is wrong.\n");
}

std::string JsonOf(const CheckReport& report) {
  const std::vector<Remark> remarks = RemarksOf(report);
  Json object = {{"schema", "mpool.check/1"},
                 {"file", TextOrNull(report.path)},
                 {"file_hex", HexOrNull(report.path)},
                 {"page_bytes", report.page_bytes},
                 {"regular", report.regular},
                 {"findings", RemarksAsJson(remarks, /*findings=*/true)},
                 {"notes", RemarksAsJson(remarks, /*findings=*/false)}};
  if (report.regular) AddFacts(report, object);
  return JsonText(object);
}

}  // namespace cli
