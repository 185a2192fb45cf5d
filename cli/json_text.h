// The program's output as JSON: one object, indented, in ASCII.
//
// Its member "schema" names what it is and the version of that, "mpool.ls/1"; cli/schema has a
// JSON Schema for each. Sizes are in bytes and end in _bytes. A version only grows; what is not
// known is null.

#ifndef CLI_JSON_TEXT_H_
#define CLI_JSON_TEXT_H_

#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace cli {

using Json = nlohmann::ordered_json;

// With a newline at its end.
std::string JsonText(const Json& object);

// null: there is none, or it is no text in UTF-8.
Json TextOrNull(std::string_view bytes);
// The bytes in hexadecimal. null: there are none.
Json HexOrNull(std::string_view bytes);

}  // namespace cli

#endif  // CLI_JSON_TEXT_H_
