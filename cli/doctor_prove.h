// The proof of `mpool doctor --prove`: locked memory beside memory that is not, and an adversary.

#ifndef CLI_DOCTOR_PROVE_H_
#define CLI_DOCTOR_PROVE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "cli/doctor_facts.h"
#include "cli/json_text.h"
#include "cli/page_out.h"

namespace cli {

struct Proof {
  // kNothing: the unlocked pages stayed too, so that the locked ones did shows nothing.
  enum class Outcome { kProved, kRefuted, kNothing };
  Outcome outcome = Outcome::kNothing;
  uint64_t bytes = 0;             // of each of the two
  bool unlocked_is_file = false;  // a mapping of a file; else anonymous memory
  PageOutResult unlocked;
  PageOutResult locked;
  std::string conclusion;  // a sentence
};

// Locks up to 4 MiB by pinlock, beside as much that is not locked: anonymous memory if that can go
// to swap, else a mapping of a temporary file. Errors: nothing can be locked, or no temporary file.
absl::StatusOr<Proof> Prove(const DoctorFacts& facts);

// What is to be said of two such results.
void Conclude(Proof& proof);

// Lines, without a heading.
std::string TextOf(const Proof& proof, bool in_bytes);
Json ObjectOf(const Proof& proof);

}  // namespace cli

#endif  // CLI_DOCTOR_PROVE_H_
