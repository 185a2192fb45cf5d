// The verdict of `mpool doctor`: whether so much can be locked, and what stands in the way.
//
// Pure: facts in, a verdict out.

#ifndef CLI_DOCTOR_VERDICT_H_
#define CLI_DOCTOR_VERDICT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/doctor_facts.h"

namespace cli {

// What stands in the way of locking `size` bytes, by the numbers; what comes first is told first.
// Nothing, where the process has no memory of its own.
enum class Obstacle { kMemory, kLockLimit, kRssLimit, kPlockMax, kMappings };
std::vector<Obstacle> ObstaclesOf(const DoctorFacts& facts);
bool IsObstacle(Obstacle obstacle, const DoctorFacts& facts);
// The id of its check.
const char* IdOf(Obstacle obstacle);
// Whether the size is more than all memory of the machine, which is an Obstacle::kMemory.
bool ExceedsMachine(const DoctorFacts& facts);

// What the soft limit has to be at least: whole pages of `size`, and what is locked already.
// The greatest number where that is beyond 64 bits.
uint64_t BytesNeeded(const DoctorFacts& facts);
// Bytes of the headroom that mpin(3) gives away.
uint64_t BytesUsable(const DoctorFacts& facts);

struct Verdict {
  enum class Answer { kYes, kNo, kUnknown };
  Answer answer = Answer::kUnknown;
  bool tried = false;  // else by the numbers
  std::string text;    // a line, with "Yes: " or the like before it
};
// `in_bytes`: sizes in its text without a unit.
Verdict VerdictOf(const DoctorFacts& facts, bool in_bytes);
// "yes", "no", "unknown".
const char* NameOf(Verdict::Answer answer);

// "this process", "process 77 (name)".
std::string SubjectOf(const DoctorFacts& facts);
// What bounds the memory: "the machine", "the cgroup (v1) /sys/fs/cgroup/memory/x".
std::string BoundOf(const DoctorFacts& facts);

// Sizes as the commands print them: the exact one, and a rounded one.
std::string ExactText(uint64_t bytes, bool in_bytes);
std::string RoundedText(uint64_t bytes, bool in_bytes);
std::string LimitText(std::optional<uint64_t> limit, bool in_bytes);  // or "unlimited"

}  // namespace cli

#endif  // CLI_DOCTOR_VERDICT_H_
