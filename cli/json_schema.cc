#include "cli/json_schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "cli/run_mpool.h"

namespace cli {

nlohmann::ordered_json ExpectValidJson(const std::string& text, const std::string& schema) {
  auto object = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    ADD_FAILURE() << "no object in JSON: " << text;
    return nlohmann::ordered_json::object();
  }
  EXPECT_EQ(object.value("schema", ""), schema);
  std::string name = schema;
  std::ranges::replace(name, '/', '.');
  const std::string instance = Temporary("instance.json");
  std::ofstream(instance) << text;
  // Debian's python3-jsonschema, whatever other Python comes first in PATH.
  const std::string command = "/usr/bin/python3 -m jsonschema -i '" + instance + "' cli/schema/" +
                              name + ".json >'" + Temporary("verdict") + "' 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << Contents(Temporary("verdict")) << text;
  return object;
}

}  // namespace cli
