// The exit codes of the program, besides 0: fine.

#ifndef CLI_EXIT_CODE_H_
#define CLI_EXIT_CODE_H_

namespace cli {

inline constexpr int kFailure = 1;  // or a finding
inline constexpr int kUsageError = 2;
inline constexpr int kNotFound = 3;  // no such pool, process or file
inline constexpr int kNoPermission = 4;
inline constexpr int kDamaged = 5;  // or stale, where a whole one is needed

}  // namespace cli

#endif  // CLI_EXIT_CODE_H_
