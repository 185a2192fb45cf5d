// Replays a trace of pages through a real pool, and compares its hits with those of LRU and of the
// best possible policy:
//
//   tools/bazel run //benchmarks:hit_ratio -- FILE [--cache N,N,...] [--json]
//
// Formats of the file: benchmarks/trace.h. Exit status: 0, however few hits; 1 where the trace
// cannot be read or the pool cannot be had; 2 wrong usage.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "benchmarks/hit_ratios.h"
#include "benchmarks/replay.h"
#include "benchmarks/trace.h"

namespace {

constexpr int kUsageError = 2;

// `bazel run` starts a program in a folder of its own, and tells where the user is.
std::string FromUsersFolder(const std::string& path) {
  const char* const folder = std::getenv("BUILD_WORKING_DIRECTORY");
  return folder == nullptr ? path : (std::filesystem::path(folder) / path).string();
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "hit_ratio: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Run(const std::string& path, std::vector<uint32_t> frames, bool json) {
  const absl::StatusOr<benchmarks::Trace> trace = benchmarks::ReadTrace(path);
  if (!trace.ok()) return Fail(trace.status());
  if (frames.empty()) frames = benchmarks::DefaultFrames(path, *trace);
  std::vector<benchmarks::HitRatioRow> rows;
  for (const uint32_t count : frames) {
    const absl::StatusOr<benchmarks::Replay> replay = benchmarks::ReplayTrace(*trace, count);
    if (!replay.ok()) return Fail(replay.status());
    rows.push_back(benchmarks::Judge(path, *trace, *replay));
  }
  const auto format = json ? benchmarks::FormatJson : benchmarks::FormatText;
  std::fputs(format(path, *trace, rows).c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Hits of a pool, of LRU and of the best possible policy, for a trace of pages.",
               "hit_ratio");
  std::string path;
  std::vector<uint32_t> frames;
  bool json = false;
  app.add_option("FILE", path, "The trace: NAME.lis or NAME.trace, also .gz or .zst")->required();
  app.add_option("--cache", frames, "Cache sizes in pages")
      ->delimiter(',')
      ->check(CLI::Range(uint32_t{1}, uint32_t{1} << 24));
  app.add_flag("--json", json, "Print JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    (void)app.exit(error);
    return kUsageError;
  }
  return Run(FromUsersFolder(path), frames, json);
}
