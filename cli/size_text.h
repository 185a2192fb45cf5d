// Sizes as people write and read them.

#ifndef CLI_SIZE_TEXT_H_
#define CLI_SIZE_TEXT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cli {

// "3.6 MiB"; below 1 KiB "12 B".
std::string SizeText(uint64_t bytes);
// The same where that is exact, else bytes: "4 KiB", "1 GiB", "4097 B".
std::string ExactSizeText(uint64_t bytes);

// Bytes, or with a unit of powers of 1024: "64M", "64MiB", "64 mib", "1.5G", "4096". nullopt: it is
// no such size, or is beyond 64 bits.
std::optional<uint64_t> ParseSize(std::string_view text);

}  // namespace cli

#endif  // CLI_SIZE_TEXT_H_
