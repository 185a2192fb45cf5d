// The `mpool` program.
//
// Exit codes: 0 fine, 1 a finding or a failure, 2 wrong usage, 3 no such pool, process or file, 4
// no permission, 5 a pool that is damaged or stale where a whole one is needed. `run` has those of the
// program that it runs.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/bench/bench.h"
#include "cli/check.h"
#include "cli/command.h"
#include "cli/demo.h"
#include "cli/doctor.h"
#include "cli/exit_code.h"
#include "cli/json_text.h"
#include "cli/map.h"
#include "cli/output.h"
#include "cli/rsm.h"
#include "cli/run.h"
#include "cli/shared_pools.h"
#include "cli/stat.h"
#include "cli/top.h"

namespace cli {
namespace {

using Apps = std::vector<const CLI::App*>;

Apps CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// What can be run: of a command that has commands, those.
void AppendCommands(const CLI::App& app, const std::string& prefix, Json& commands) {
  for (const CLI::App* command : CommandsOf(app)) {
    const std::string name = prefix + command->get_name();
    if (!CommandsOf(*command).empty()) {
      AppendCommands(*command, name + " ", commands);
      continue;
    }
    commands.push_back({{"name", name}, {"description", command->get_description()}});
  }
}

int HelpAsJson(const CLI::App& app) {
  Json commands = Json::array();
  AppendCommands(app, "", commands);
  std::fputs(JsonText({{"schema", "mpool.help/1"}, {"commands", std::move(commands)}}).c_str(),
             stdout);
  return 0;
}

// Prints the help of the program, or of the command that is the topic: its words.
int Help(const CLI::App& app, const std::string& overview, const std::vector<std::string>& topic) {
  if (topic.empty()) {
    std::fputs(overview.c_str(), stdout);
    return 0;
  }
  const CLI::App* command = &app;
  std::string parents, words;  // of the command, each after a blank
  for (const std::string& word : topic) {
    const Apps commands = CommandsOf(*command);
    const auto found =
        std::ranges::find(commands, word, [](const CLI::App* one) { return one->get_name(); });
    if (found == commands.end()) {
      std::fprintf(stderr, "mpool help: there is no command '%s'; `mpool help%s` lists them\n",
                   word.c_str(), words.c_str());
      return kUsageError;
    }
    command = *found;
    parents = words;
    words += " " + word;
  }
  std::fputs(command->help("mpool" + parents).c_str(), stdout);
  return 0;
}

// In the order in which help lists them.
constexpr Command (*kCommands[])(CLI::App&) = {
    AddDoctor, AddDemo, AddBench, AddRun, AddCheck, AddStat, AddTop, AddMap, AddLs, AddRm, AddRsm};

int RunChosen(const Command& command, std::span<char*> arguments) {
  if (command.rest != nullptr) {
    const auto count = std::ranges::count(command.app->parse_order(), command.rest);
    const auto rest = arguments.last(static_cast<size_t>(count));
    command.rest_text->assign(rest.begin(), rest.end());
  }
  return command.run();
}

int Run(int argc, char** argv) {
  CLI::App app("Memory that stays resident: nested page locks, and a page pool over a file.",
               "mpool");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("-V,--version", "mpool " MPOOL_VERSION, "Print the version and exit");
  app.require_subcommand(0, 1);  // one at the most: `help demo` names demo, it does not run it

  std::vector<Command> commands;
  for (const auto add : kCommands) commands.push_back(add(app));
  std::vector<std::string> topic;
  std::string overview;  // once parsed, help() is that of the chosen command
  CLI::App* help = app.add_subcommand("help", "Print this help, or that of a command");
  help->add_option("COMMAND", topic, "The command");
  OutputOptions help_output;
  AddJsonOption(*help, help_output);
  commands.push_back(
      {help, [&] { return help_output.json ? HelpAsJson(app) : Help(app, overview, topic); }});

  const auto chosen = [&commands] {
    return std::ranges::find_if(commands, [](const Command& c) { return c.app->parsed(); });
  };
  overview = app.help();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {
    return app.exit(request);  // help or version
  } catch (const CLI::ParseError& error) {
    (void)app.exit(error);
    return chosen() == commands.end() ? kUsageError : chosen()->usage_error;
  }
  if (chosen() != commands.end()) return RunChosen(*chosen(), {argv, static_cast<size_t>(argc)});
  std::fprintf(stderr, "mpool: a command is needed\n\n%s", overview.c_str());
  return kUsageError;
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) {
  try {
    const int code = cli::Run(argc, argv);
    // What was lost before is told by ferror alone: the buffer is empty then.
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    std::fputs("mpool: standard output could not be written\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpool: %s\n", error.what());
  }
  return cli::kFailure;
}
