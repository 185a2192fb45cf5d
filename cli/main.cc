// The `mpool` program.
//
// Exit codes: 0 fine, 1 a finding or a failure, 2 wrong usage, 3 no such pool, 4 no permission, 5 a
// damaged pool where a whole one is needed.

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/demo.h"
#include "cli/exit_code.h"
#include "cli/shared_pools.h"

namespace {

// Prints the help of the program, or of the command that is the topic.
int Help(const CLI::App& app, const std::string& overview, const std::string& topic) {
  if (topic.empty()) {
    std::fputs(overview.c_str(), stdout);
    return 0;
  }
  const auto named = [&topic](const CLI::App* command) { return command->get_name() == topic; };
  const std::vector<const CLI::App*> found = app.get_subcommands(named);
  if (found.empty()) {
    std::fprintf(stderr, "mpool help: there is no command '%s'; `mpool help` lists them\n",
                 topic.c_str());
    return cli::kUsageError;
  }
  std::fputs(found.front()->help("mpool").c_str(), stdout);
  return 0;
}

int Run(int argc, char** argv) {
  CLI::App app("Memory that stays resident: nested page locks, and a page pool over a file.",
               "mpool");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("-V,--version", "mpool " MPOOL_VERSION, "Print the version and exit");
  app.require_subcommand(0, 1);  // one at the most: `help demo` names demo, it does not run it

  std::string path;
  CLI::App* demo = app.add_subcommand("demo", "Show on a copy of a file what the pool does");
  demo->add_option("FILE", path, "The file; without it, one that every Debian has");

  cli::ListOptions list;
  CLI::App* ls = app.add_subcommand("ls", "List the pools that your processes share");
  ls->add_flag("--json", list.json, "As JSON, with all sizes in bytes");
  ls->add_flag("-b,--bytes", list.bytes, "Sizes in bytes, without a unit");
  bool no_headings = false;
  ls->add_flag("-n,--no-headings", no_headings, "Without the line of headings");

  std::string pool;
  bool force = false;
  CLI::App* rm = app.add_subcommand("rm", "Remove a shared pool that no process has open");
  rm->add_flag("--force", force, "Also one that is open: nobody else can join it");
  rm->add_option("POOL", pool, "Its key or its name, as ls prints them")->required();

  std::string topic;
  CLI::App* help = app.add_subcommand("help", "Print this help, or that of a command");
  help->add_option("COMMAND", topic, "The command");

  const std::string overview = app.help();  // once parsed, help() is that of the chosen command
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {
    return app.exit(request);  // help or version
  } catch (const CLI::ParseError& error) {
    (void)app.exit(error);
    return cli::kUsageError;
  }
  if (demo->parsed()) return cli::RunDemo(path);
  if (ls->parsed()) {
    list.headings = !no_headings;
    return cli::ListSharedPools(list);
  }
  if (rm->parsed()) return cli::RemoveSharedPool(pool, force);
  if (help->parsed()) return Help(app, overview, topic);
  std::fprintf(stderr, "mpool: a command is needed\n\n%s", overview.c_str());
  return cli::kUsageError;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int code = Run(argc, argv);
    if (std::fflush(stdout) == 0) return code;
    std::perror("mpool: writing to standard output");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpool: %s\n", error.what());
  }
  return cli::kFailure;
}
