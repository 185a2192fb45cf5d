// `mpool rsm ls`: the segments that processes export (rsmapi(7)), as their exporters tell of them.

#ifndef CLI_RSM_H_
#define CLI_RSM_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "rsm/internal/protocol.h"
#include "rsm/rsmapi.h"

namespace cli {

// The commands that begin with "rsm".
Command AddRsm(CLI::App& app);

// Prints a line for each segment to stdout, in the order of their numbers; what could not be found
// out, and errors, go to stderr. Returns the program's exit code.
int ListSegments(const OutputOptions& options);

// What it is made of.

struct ExportedSegment {
  rsm_memseg_id_t number = 0;
  // What its exporter has answered. nullopt: it has not.
  std::optional<rsm::internal::Reply> description;
  // Its name is left of a process that has ended.
  bool stale = false;
  std::string reason;  // why there is no description
};

// "live"; "stale": its exporter has ended, and this user may not take its name away; "unknown": its
// exporter does not answer.
const char* StateOf(const ExportedSegment& segment);
// What is not known is "?". `color`: lines of what is not live stand out.
std::string TableOf(std::span<const ExportedSegment> segments, const OutputOptions& options,
                    bool color);
// {"schema": "mpool.rsm.ls/1", "folder": ..., "segments": [...]}, in ASCII.
std::string JsonOf(std::string_view folder, std::span<const ExportedSegment> segments);

}  // namespace cli

#endif  // CLI_RSM_H_
