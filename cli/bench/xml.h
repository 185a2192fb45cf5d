// Text for XML: escaped, so that nothing in it is markup.

#ifndef CLI_BENCH_XML_H_
#define CLI_BENCH_XML_H_

#include <string>
#include <string_view>

namespace cli::bench {

// For text and for attributes in double quotes. What is no printable character in UTF-8 becomes
// "?": XML takes no control characters, and a file may be named in any bytes.
std::string XmlText(std::string_view text);

}  // namespace cli::bench

#endif  // CLI_BENCH_XML_H_
