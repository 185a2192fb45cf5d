#include "cli/doctor_report.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "cli/invented_facts.h"
#include "cli/json_schema.h"

namespace cli {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

DoctorFacts LimitedFacts() {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = facts.limits.memlock_hard_bytes = 8 << 20;
  facts.trial = absl::ResourceExhaustedError("over RLIMIT_MEMLOCK");
  return facts;
}

Proof InventedProof() {
  Proof proof;
  proof.bytes = 8192;
  proof.unlocked.pages = proof.locked.pages = 2;
  proof.unlocked.present_before = proof.locked.present_before = 2;
  proof.locked.present = 2;
  proof.locked.answer = os::Errno(EINVAL);
  return proof;
}

TEST(Wrapped, BreaksBetweenWordsAndIndents) {
  EXPECT_EQ(Wrapped("", 4, 0), "\n");
  EXPECT_EQ(Wrapped("one two", 4, 0), "one two\n");
  EXPECT_EQ(Wrapped(std::string(40, 'a') + " " + std::string(39, 'b') + " c", 2, 0),
            std::string(40, 'a') + " " + std::string(39, 'b') + "\n  c\n");
  EXPECT_EQ(Wrapped(std::string(90, 'a') + " b", 2, 70), std::string(90, 'a') + "\n  b\n");
}

TEST(TextOf, BeginsWithTheVerdictAndEndsWithTheFix) {
  const Report report = ReportOf(LimitedFacts(), false);
  const std::string text = TextOf(report, {}, false);
  EXPECT_EQ(text.rfind("No: RLIMIT_MEMLOCK lets this process lock 8 MiB, not 64 MiB.\n\n", 0), 0u);
  EXPECT_TRUE(Has(text, "\nproblem  lock-limit  soft 8 MiB")) << text;
  EXPECT_TRUE(Has(text, "\nTo change it:\n  In the shell")) << text;
  EXPECT_TRUE(Has(text, "\n    alice - memlock 65536\n")) << text;
  EXPECT_FALSE(Has(text, "hugetlb")) << text;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST(TextOf, QuietIsTheVerdictAndVerboseIsAll) {
  const Report report = ReportOf(LimitedFacts(), false);
  OutputOptions options;
  options.verbosity = -1;
  EXPECT_EQ(TextOf(report, options, false),
            "No: RLIMIT_MEMLOCK lets this process lock 8 MiB, not 64 MiB.\n");
  options.verbosity = 1;
  const std::string text = TextOf(report, options, false);
  EXPECT_TRUE(Has(text, "hugetlb")) << text;
  EXPECT_TRUE(Has(text, "CapEff does")) << text;
  EXPECT_TRUE(Has(text, "The unit is KiB.")) << text;
}

TEST(TextOf, ColourChangesNothingElse) {
  const Report report = ReportOf(LimitedFacts(), false);
  std::string text = TextOf(report, {}, true);
  EXPECT_TRUE(Has(text, "\x1b[31m"));
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = text.find('m', i);
    } else {
      plain += text[i];
    }
  }
  EXPECT_EQ(plain, TextOf(report, {}, false));
}

// Their cure is the advice of their check.
TEST(TextOf, WantOfMemoryHasACureToo) {
  DoctorFacts facts = InventedFacts();
  facts.limits.headroom_bytes = 32 << 20;
  const std::string text = TextOf(ReportOf(facts, false), {}, false);
  EXPECT_TRUE(Has(text, "To change it:\n  memory: free memory of other programs")) << text;
}

TEST(TextOf, WhereItCanThereIsNothingToChange) {
  DoctorFacts facts = InventedFacts();
  facts.trial = absl::OkStatus();
  EXPECT_FALSE(Has(TextOf(ReportOf(facts, false), {}, false), "To change it"));
}

TEST(JsonOf, IsValidWhateverIsKnown) {
  Report report = ReportOf(LimitedFacts(), false);
  auto object = ExpectValidJson(JsonOf(report), "mpool.doctor/1");
  EXPECT_EQ(object["verdict"], "no");
  EXPECT_EQ(object["tried"], true);
  EXPECT_EQ(object["causes"], nlohmann::ordered_json::array({"lock-limit"}));
  EXPECT_EQ(object["fixes"][0]["kind"], "ulimit");
  EXPECT_TRUE(object["pid"].is_null());

  report.proof = InventedProof();
  Conclude(*report.proof);
  object = ExpectValidJson(JsonOf(report), "mpool.doctor/1");
  EXPECT_EQ(object["proof"]["proved"], true);

  DoctorFacts other;  // nothing is known
  other.process = os::ProcessLimits{};
  other.process->pid = 77;
  other.process->name = "\xff";
  other.memlock_known = other.locked_known = false;
  object = ExpectValidJson(JsonOf(ReportOf(other, false)), "mpool.doctor/1");
  EXPECT_EQ(object["verdict"], "unknown");
  EXPECT_EQ(object["pid"], 77);
  EXPECT_TRUE(object["name"].is_null());
}

TEST(Conclude, ProvesOnlyIfTheUnlockedPagesWent) {
  Proof proof = InventedProof();
  Conclude(proof);
  EXPECT_EQ(proof.outcome, Proof::Outcome::kProved);
  proof.unlocked.present = 1;
  Conclude(proof);
  EXPECT_EQ(proof.outcome, Proof::Outcome::kNothing);
  EXPECT_EQ(proof.conclusion,
            "It proves nothing: MADV_PAGEOUT answered success for pages that are not locked, and 1 "
            "of 2 stayed.");
  proof = InventedProof();
  proof.locked.answer = os::Errno(EPERM);  // of a filter of system calls
  Conclude(proof);
  EXPECT_EQ(proof.outcome, Proof::Outcome::kNothing);
  EXPECT_TRUE(Has(proof.conclusion, "answered EPERM for pages that are locked"));
  for (const auto& spoil : {+[](PageOutResult& locked) { locked.present = 1; },
                            +[](PageOutResult& locked) { locked.answer = os::kSuccess; },
                            +[](PageOutResult& locked) { locked.touches.faults = 1; }}) {
    proof = InventedProof();
    spoil(proof.locked);
    Conclude(proof);
    EXPECT_EQ(proof.outcome, Proof::Outcome::kRefuted);
  }
}

}  // namespace
}  // namespace cli
