// RunMpool: the program as a user starts it, for tests.

#ifndef CLI_RUN_MPOOL_H_
#define CLI_RUN_MPOOL_H_

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace cli {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

inline std::string Temporary(const std::string& name) {
  const char* directory = std::getenv("TEST_TMPDIR");
  return std::string(directory != nullptr ? directory : "/tmp") + "/" + name;
}

inline std::string Contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Runs `mpool ARGUMENTS` with a shell, which reads `setup` first; $privilege runs it.
inline Outcome RunMpool(const std::string& arguments, const std::string& setup = "") {
  const std::string out = Temporary("out");
  const std::string err = Temporary("err");
  const std::string command = setup + " exec >" + out + " 2>" + err + " </dev/null; $privilege " +
                              MPOOL_PROGRAM + " " + arguments;
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Contents(out), Contents(err)};
}

// A `setup` for RunMpool: the program is sent SIGTERM half a second after it has locked 1 MB.
inline std::string EndedWhileItMeasures() {
  return "ended() { \"$@\" & child=$!;"
         " until ! kill -0 $child || grep -Eq 'VmLck:[^0-9]*[0-9]{4,} kB' /proc/$child/status;"
         " do sleep 0.05; done; sleep 0.5; kill -TERM $child; wait $child; }; privilege=ended;";
}

}  // namespace cli

#endif  // CLI_RUN_MPOOL_H_
