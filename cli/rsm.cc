#include "cli/rsm.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/size_text.h"
#include "cli/table.h"
#include "os/thread.h"
#include "rsm/internal/error.h"
#include "rsm/internal/import_segment.h"
#include "rsm/internal/names.h"

namespace cli {
namespace {

using rsm::internal::Names;
using rsm::internal::Reply;

constexpr char kLs[] = "rsm ls";
// Exporters are asked at the same time: one that is stopped is waited for some seconds.
constexpr size_t kAskersMax = 64;

ExportedSegment Ask(rsm_memseg_id_t number) {
  ExportedSegment segment;
  segment.number = number;
  Reply reply;
  const int error = rsm::internal::Describe(number, reply);
  if (error == RSM_SUCCESS) {
    segment.description = reply;
  } else {
    segment.stale = error == RSMERR_SEG_NOT_PUBLISHED;
    segment.reason = rsm::internal::ErrorText();
  }
  return segment;
}

std::vector<ExportedSegment> AskAll(const std::vector<rsm_memseg_id_t>& numbers) {
  std::vector<ExportedSegment> segments(numbers.size());
  std::atomic<size_t> next = 0;
  const auto ask = [&] {
    for (size_t i = next++; i < numbers.size(); i = next++) segments[i] = Ask(numbers[i]);
  };
  // This thread is one of them, and goes on alone where there can be no others.
  std::vector<std::thread> others(std::min(numbers.size(), kAskersMax));
  for (size_t i = 1; i < others.size(); ++i) {
    if (!os::StartThread(others[i], "mpool-ask", ask).ok()) break;
  }
  ask();
  for (std::thread& other : others) {
    if (other.joinable()) other.join();
  }
  return segments;
}

// Of those that did not answer, only what is there still: the others were unpublished meanwhile, or
// were left of processes that had ended and have been taken away by the question.
int FindSegments(const Names& names, std::vector<ExportedSegment>& segments) {
  std::vector<rsm_memseg_id_t> found, left;
  if (const int error = names.List(found); error != RSM_SUCCESS) return error;
  segments = AskAll(found);
  if (const int error = names.List(left); error != RSM_SUCCESS) return error;
  std::erase_if(segments, [&](const ExportedSegment& segment) {
    return !segment.description && !std::ranges::binary_search(left, segment.number);
  });
  return RSM_SUCCESS;
}

Table EmptyTable() {
  return Table({{"SEGMENT"},
                {"SIZE", /*is_number=*/true},
                {"MODE", /*is_number=*/true},
                {"IMPORTERS", /*is_number=*/true},
                {"PID", /*is_number=*/true},
                {"UID", /*is_number=*/true},
                {"STATE"},
                {"REBIND", /*is_number=*/false, /*by_default=*/false}});
}

std::string ModeText(const Reply& reply) { return absl::StrFormat("%04o", reply.mode); }
bool AllowsRebind(const Reply& reply) { return (reply.flags & RSM_ALLOW_REBIND) != 0; }

std::vector<std::string> RowOf(const ExportedSegment& segment, bool in_bytes) {
  const std::string number = absl::StrFormat("0x%08x", segment.number);
  if (!segment.description) return {number, "?", "?", "?", "?", "?", StateOf(segment), "?"};
  const Reply& reply = *segment.description;
  return {number,
          in_bytes ? absl::StrCat(reply.bytes) : SizeText(reply.bytes),
          ModeText(reply),
          absl::StrCat(reply.importers),
          absl::StrCat(reply.pid),
          absl::StrCat(reply.user),
          StateOf(segment),
          AllowsRebind(reply) ? "yes" : "no"};
}

Json ObjectOf(const ExportedSegment& segment) {
  Json object = {{"segment", segment.number},
                 {"state", StateOf(segment)},
                 {"memory_bytes", nullptr},
                 {"mode", nullptr},
                 {"importers", nullptr},
                 {"pid", nullptr},
                 {"uid", nullptr},
                 {"allows_rebind", nullptr},
                 {"reason", TextOrNull(segment.reason)}};
  if (!segment.description) return object;
  const Reply& reply = *segment.description;
  object["memory_bytes"] = reply.bytes;
  object["mode"] = ModeText(reply);
  object["importers"] = reply.importers;
  object["pid"] = reply.pid;
  object["uid"] = reply.user;
  object["allows_rebind"] = AllowsRebind(reply);
  return object;
}

int FailToOpen(int error) {
  return Fail(kLs, error == RSMERR_PERM_DENIED ? kNoPermission : kFailure,
              Printable(rsm::internal::ErrorText()));
}

void PrintUnknown(std::span<const ExportedSegment> segments) {
  for (const ExportedSegment& segment : segments) {
    if (segment.description) continue;
    absl::FPrintF(stderr, "mpool %s: %s\n", kLs, Printable(segment.reason));
  }
}

}  // namespace

const char* StateOf(const ExportedSegment& segment) {
  if (segment.description) return "live";
  return segment.stale ? "stale" : "unknown";
}

std::string TableOf(std::span<const ExportedSegment> segments, const OutputOptions& options,
                    bool color) {
  Table table = EmptyTable();
  (void)table.Choose(options.columns);
  for (const ExportedSegment& segment : segments) table.AddRow(RowOf(segment, options.bytes));
  const std::string text = table.ToString(options.headings);
  if (!color) return text;
  const size_t headings = options.headings ? 1 : 0;
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  std::string styled;
  for (size_t i = 0; i < lines.size(); ++i) {
    Style style = Style::kBold;
    if (i >= headings) {
      style = segments[i - headings].description ? Style::kPlain : Style::kWarning;
    }
    absl::StrAppend(&styled, Styled(lines[i], style, color), "\n");
  }
  return styled;
}

std::string JsonOf(std::string_view folder, std::span<const ExportedSegment> segments) {
  Json objects = Json::array();
  for (const ExportedSegment& segment : segments) objects.push_back(ObjectOf(segment));
  return JsonText({{"schema", "mpool.rsm.ls/1"},
                   {"folder", TextOrNull(folder)},
                   {"folder_hex", HexOrNull(folder)},
                   {"segments", std::move(objects)}});
}

int ListSegments(const OutputOptions& options) {
  if (const auto mistake = EmptyTable().Choose(options.columns)) {
    return Fail(kLs, kUsageError, *mistake);
  }
  std::optional<Names> names;
  if (const int error = Names::Open(names); error != RSM_SUCCESS) return FailToOpen(error);
  if (options.verbosity > 0) {
    absl::FPrintF(stderr, "mpool %s: the folder is %s\n", kLs, Printable(names->path()));
  }
  std::vector<ExportedSegment> segments;
  if (const int error = FindSegments(*names, segments); error != RSM_SUCCESS) {
    return FailToOpen(error);
  }
  const std::string text = options.json ? JsonOf(names->path(), segments)
                                        : TableOf(segments, options, UsesColor(options));
  std::fwrite(text.data(), 1, text.size(), stdout);
  (void)std::fflush(stdout);
  if (options.verbosity >= 0) PrintUnknown(segments);
  return 0;
}

Command AddRsm(CLI::App& app) {
  CLI::App* rsm = app.add_subcommand("rsm", "Memory segments that processes export: rsm ls");
  rsm->require_subcommand(0, 1);
  CLI::App* ls = rsm->add_subcommand("ls", "List the segments that are published");
  auto options = std::make_shared<OutputOptions>();
  AddJsonOption(*ls, *options);
  AddBytesOption(*ls, *options);
  AddTableOptions(*ls, *options);
  AddColorOption(*ls, *options);
  AddVerbosityOptions(*ls, *options);
  return {rsm, [rsm, ls, options] {
            if (ls->parsed()) return ListSegments(*options);
            std::fprintf(stderr, "mpool rsm: a command is needed\n\n%s",
                         rsm->help("mpool").c_str());
            return kUsageError;
          }};
}

}  // namespace cli
