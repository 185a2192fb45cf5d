// Durations and counts as people read them.

#ifndef CLI_BENCH_TIME_TEXT_H_
#define CLI_BENCH_TIME_TEXT_H_

#include <cstdint>
#include <string>

namespace cli::bench {

// "42 ns", "1.2 us", "35 us", "4.6 ms", "1.3 s": two digits or three.
std::string TimeText(uint64_t ns);
// The number with a comma before each three digits: "1,234,567".
std::string CountText(uint64_t count);

}  // namespace cli::bench

#endif  // CLI_BENCH_TIME_TEXT_H_
