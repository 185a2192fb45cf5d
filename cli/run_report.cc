#include "cli/run_report.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/json_text.h"
#include "cli/size_text.h"

namespace cli {
namespace {

// "1,234,567"
std::string CountText(uint64_t count) {
  std::string text = absl::StrCat(count);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

double Seconds(uint64_t us) { return static_cast<double>(us) / 1e6; }

std::string LimitText(uint64_t bytes) {
  return bytes == os::ChildProcess::kUnlimited ? "unlimited" : ExactSizeText(bytes);
}

}  // namespace

bool RunReport::TookTooManyMajorFaults() const {
  return allowed_major_faults && end.faults.major > *allowed_major_faults;
}

int RunReport::ExitCode() const {
  if (end.signal != 0) return 128 + end.signal;
  return end.exit_code == 0 && TookTooManyMajorFaults() ? 1 : end.exit_code;
}

std::string TextOf(const RunReport& report, bool details) {
  constexpr char kStart[] = "mpool run: ";
  const os::ChildProcess::End& end = report.end;
  const std::string memory =
      report.memory
          ? absl::StrFormat("%s locked, %s resident at most", SizeText(report.memory->locked_bytes),
                            SizeText(report.memory->resident_bytes_max))
          : "memory not seen";
  std::string text = absl::StrFormat("%s%s major and %s minor faults; %s; %.2f s\n", kStart,
                                     CountText(end.faults.major), CountText(end.faults.minor),
                                     memory, Seconds(report.wall_us));
  if (end.signal != 0) {
    absl::StrAppend(&text, kStart, "killed by signal ", end.signal, " (", strsignal(end.signal),
                    ")\n");
  }
  if (!details) return text;
  if (end.signal == 0) absl::StrAppend(&text, kStart, "exit code ", end.exit_code, "\n");
  absl::StrAppendFormat(&text, "%sprocessor time: %.2f s of its own, %.2f s in the kernel\n",
                        kStart, Seconds(end.user_us), Seconds(end.system_us));
  if (report.limit_bytes) {
    absl::StrAppend(&text, kStart, "lock limit: ", LimitText(*report.limit_bytes), "\n");
  }
  return text;
}

std::string JsonOf(const RunReport& report) {
  const os::ChildProcess::End& end = report.end;
  Json command = Json::array();
  for (const std::string& argument : report.command) {
    command.push_back(argument.empty() ? Json("") : TextOrNull(argument));
  }
  Json object = {{"schema", "mpool.run/1"}, {"command", std::move(command)}};
  object["exit_code"] = end.signal == 0 ? Json(end.exit_code) : Json();
  object["signal"] = end.signal == 0 ? Json() : Json(end.signal);
  object["major_faults"] = end.faults.major;
  object["minor_faults"] = end.faults.minor;
  object["locked_bytes_max"] = report.memory ? Json(report.memory->locked_bytes) : Json();
  object["resident_bytes_max"] = report.memory ? Json(report.memory->resident_bytes_max) : Json();
  object["wall_us"] = report.wall_us;
  object["user_us"] = end.user_us;
  object["system_us"] = end.system_us;
  object["limit_bytes"] = report.limit_bytes && *report.limit_bytes != os::ChildProcess::kUnlimited
                              ? Json(*report.limit_bytes)
                              : Json();
  object["allowed_major_faults"] =
      report.allowed_major_faults ? Json(*report.allowed_major_faults) : Json();
  object["status"] = report.ExitCode();
  return JsonText(object);
}

std::string FindingOf(const RunReport& report) {
  return absl::StrFormat(
      "%s major %s, where --fail-on-majflt allows %s", CountText(report.end.faults.major),
      report.end.faults.major == 1 ? "fault" : "faults", CountText(*report.allowed_major_faults));
}

}  // namespace cli
