// SizeText: a size for people to read.

#ifndef CLI_SIZE_TEXT_H_
#define CLI_SIZE_TEXT_H_

#include <cstdint>
#include <string>

namespace cli {

// In KiB, MiB or GiB, with one decimal, as in "4.1 MiB".
std::string SizeText(uint64_t bytes);

}  // namespace cli

#endif  // CLI_SIZE_TEXT_H_
