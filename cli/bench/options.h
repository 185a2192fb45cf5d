// What `mpool bench` was asked for.

#ifndef CLI_BENCH_OPTIONS_H_
#define CLI_BENCH_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/result.h"

namespace cli::bench {

// As the parser fills it in.
struct OptionTexts {
  std::string file = {};
  std::string modes = "malloc,mmap,mlock,pool";
  std::string pressure = {}, cgroup = {}, size = {}, adversary = {};
  double secs = 10;
};

struct BenchOptions {
  std::string file;  // empty: a temporary one
  std::vector<Mode> modes;
  std::optional<uint64_t> pressure_bytes, cgroup_bytes, size_bytes;
  Adversary adversary = Adversary::kPageOut;
  std::chrono::nanoseconds length{};
  std::string command;  // that asks for the same
};

// InvalidArgument: what is wrong with which option. Pure.
absl::StatusOr<BenchOptions> ParseOptions(const OptionTexts& texts);

}  // namespace cli::bench

#endif  // CLI_BENCH_OPTIONS_H_
