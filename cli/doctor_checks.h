// The checks of `mpool doctor`: what its facts mean for who wants to lock memory.
//
// Pure: facts in, checks out.

#ifndef CLI_DOCTOR_CHECKS_H_
#define CLI_DOCTOR_CHECKS_H_

#include <string>
#include <vector>

#include "cli/doctor_facts.h"
#include "cli/json_text.h"

namespace cli {

struct Check {
  enum class Status { kOk, kWarning, kProblem, kUnknown };
  std::string id;  // as "lock-limit"
  Status status = Status::kOk;
  std::string summary = {};
  std::string advice = {};  // empty: there is nothing to do
  std::string reason = {};  // why it matters
  Json values = Json::object();
  bool detail = false;  // nothing that most people need to see
};

// "ok", "warning", "problem", "unknown".
const char* NameOf(Check::Status status);

// `in_bytes`: sizes in the texts without a unit.
std::vector<Check> ChecksOf(const DoctorFacts& facts, bool in_bytes);

// Those of ChecksOf that are about the machine, not the process. doctor_machine_checks.cc
void AddMachineChecks(const DoctorFacts& facts, bool in_bytes, std::vector<Check>& checks);

}  // namespace cli

#endif  // CLI_DOCTOR_CHECKS_H_
