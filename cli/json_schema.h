// ExpectValidJson: that what a command printed is what cli/schema promises.

#ifndef CLI_JSON_SCHEMA_H_
#define CLI_JSON_SCHEMA_H_

#include <string>

#include "nlohmann/json.hpp"

namespace cli {

// Fails the test unless `text` is one object in JSON, has the schema's name in its member "schema",
// and is valid by cli/schema/NAME.VERSION.json, for "NAME/VERSION". Returns it.
nlohmann::ordered_json ExpectValidJson(const std::string& text, const std::string& schema);

}  // namespace cli

#endif  // CLI_JSON_SCHEMA_H_
