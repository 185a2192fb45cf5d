// `mpool ls` and `mpool rm`: the pools that the processes of this user share by a key.

#ifndef CLI_SHARED_POOLS_H_
#define CLI_SHARED_POOLS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "mpool/internal/shared_region.h"

namespace cli {

using SharedPool = mpool::internal::SharedRegion::Description;

Command AddLs(CLI::App& app);
Command AddRm(CLI::App& app);

// Prints a line for each pool to stdout, in the order of their keys; errors go to stderr. Returns
// the program's exit code.
int ListSharedPools(const OutputOptions& options);

// Removes the pool that `which` means (Meant); with `force` one that is open too. Waits while
// another process is opening or closing it. Prints nothing but errors, to
// stderr; with `json` what it has removed, too. Returns the program's
// exit code.
int RemoveSharedPool(const std::string& which, bool force, bool json = false);

// What they are made of.

// "live"; "stale": it has no participant any more; "damaged": it is not whole, or was made by
// another version.
const char* StateOf(const SharedPool& pool);
// Those processes that the pool names, each once.
std::vector<int> PidsOf(const SharedPool& pool);
std::string TableOf(std::span<const SharedPool> pools, const OutputOptions& options);
// {"schema": "mpool.ls/1", "pools": [...]}, in ASCII.
std::string JsonOf(std::span<const SharedPool> pools);

// The pool of that object name; else all whose key this is, as it is or as Printable shows it.
std::vector<SharedPool> Meant(std::string_view which, std::span<const SharedPool> pools);
// Why a pool that is open is not removed, and what to do.
std::string RefusalOf(const SharedPool& pool);

}  // namespace cli

#endif  // CLI_SHARED_POOLS_H_
