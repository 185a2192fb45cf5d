#include "rsm/internal/segment_conf.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "os/folder.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

// nullptr: it is of the right form. Else what is wrong.
const char* Parse(const std::vector<std::string>& columns, SegmentRange& range) {
  if (columns.size() != 4) return "four columns are needed: reserved APPID BASE LENGTH";
  if (columns[0] != "reserved" && columns[0] != "reserve") return "the keyword is not \"reserved\"";
  if (!absl::SimpleHexAtoi(columns[2], &range.base)) return "the base is no hexadecimal number";
  if (!absl::SimpleAtoi(columns[3], &range.length) || range.length == 0) {
    return "the length is no number above 0";
  }
  constexpr uint64_t kEnd = uint64_t{std::numeric_limits<rsm_memseg_id_t>::max()} + 1;
  if (uint64_t{range.base} + range.length > kEnd) return "the range goes beyond 32 bits";
  return nullptr;
}

}  // namespace

int FindSegmentRange(const std::string& text, const std::string& path,
                     const std::string& application, SegmentRange& range) {
  int line_number = 0;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    ++line_number;
    if (line.starts_with('#')) continue;
    const std::vector<std::string> columns =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (columns.empty()) continue;
    SegmentRange found;
    if (const char* const wrong = Parse(columns, found); wrong != nullptr) {
      return Fail(RSMERR_BAD_CONF, "%s:%d: %s", path.c_str(), line_number, wrong);
    }
    if (columns[1] != application) continue;
    range = found;
    return RSM_SUCCESS;
  }
  return Fail(RSMERR_BAD_APPID, "%s has no range for \"%s\"", path.c_str(), application.c_str());
}

int ReadSegmentRange(const std::string& application, SegmentRange& range) {
  std::string path = os::EnvironmentOf("RSM_SEGMENTID_FILE");
  if (path.empty()) path = "/etc/rsm/rsm.segmentid";
  errno = 0;
  std::ifstream file(path);
  std::string text;
  // By read, which keeps what the stream's buffer throws (of a folder, say) to itself.
  for (char part[4096]; file.read(part, sizeof(part)), file.gcount() > 0;) {
    text.append(part, static_cast<size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad()) {
    return Fail(RSMERR_BAD_CONF, "cannot read %s: %s", path.c_str(),
                std::strerror(errno != 0 ? errno : EIO));
  }
  return FindSegmentRange(text, path, application, range);
}

}  // namespace rsm::internal
