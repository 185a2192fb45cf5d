// The fixes of `mpool doctor`: what to change so that the lock limit allows the size.
//
// Pure. Nothing is offered of which is known that it does not work where the process runs.

#ifndef CLI_DOCTOR_FIX_H_
#define CLI_DOCTOR_FIX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/doctor_facts.h"

namespace cli {

// Where the limit is raised. kUlimit: in the running shell, or of the running process.
enum class FixKind { kUlimit, kSystemd, kDocker, kKubernetes, kPam, kLxc, kNspawn };
// As --fix has them: "ulimit".
const char* NameOf(FixKind kind);
std::optional<FixKind> FixKindOf(std::string_view name);
// All names, separated by "|".
std::string FixKindNames();

struct Fix {
  FixKind kind = FixKind::kUlimit;
  std::string place = {};  // where the text goes: half a sentence
  std::string text = {};   // to paste as it is: lines, each with a newline; empty: none would work
  std::vector<std::string> notes = {};  // sentences; or why none would work
  bool is_needless = false;             // there is nothing to change, so there is no text
};

// What the limit should be, in bytes: what is needed, rounded up to 64 KiB, and to 1 MiB from
// there on.
uint64_t LimitToAskFor(const DoctorFacts& facts);

// The fix of that kind, whatever is found here.
Fix FixOf(FixKind kind, const DoctorFacts& facts);

// Those that fit where the process runs, the quickest first. None where the lock limit is not what
// stands in the way, or where the machine is too small for any limit.
std::vector<Fix> FixesFor(const DoctorFacts& facts);

}  // namespace cli

#endif  // CLI_DOCTOR_FIX_H_
