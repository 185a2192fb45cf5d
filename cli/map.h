// `mpool map`: a strip of a pool's frames: what each holds, and whether it is resident.

#ifndef CLI_MAP_H_
#define CLI_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/live_pools.h"
#include "cli/output.h"

namespace cli {

struct MapOptions : OutputOptions {
  std::string which;
};

// Prints to stdout, errors to stderr. Returns the program's exit code.
int RunMap(const MapOptions& options);

Command AddMap(CLI::App& app);

// What it is made of.

// Of each frame, whether all of it is present in the page tables of one of the processes, and so
// in memory. Fewer than there are frames: that could not be found out.
struct Residency {
  std::vector<int32_t> pids;  // whose page tables could be read
  std::vector<bool> frames;
};
// Asks the kernel about the processes that have the pool open. Each locks a shared pool for itself,
// by and by, and hits find only what it has locked.
Residency ResidencyOf(const LivePool& pool);

// One character for each frame:
//   .  free   -  clean   d  dirty   p  pinned   P  pinned and dirty   r  being read
//   w  being written   !  suspect   x  holds a page and is not resident
std::string CellsOf(const LivePool& pool, const Residency& residency);

// The strip, `columns` wide and at most `lines` high, with a legend. Where there are more frames, a
// character stands for several, and is that of the one that matters most.
std::string MapText(const LivePool& pool, const Residency& residency, int columns, int lines,
                    bool color);
// {"schema": "mpool.map/1", ...}
Json MapJson(const LivePool& pool, const Residency& residency);

}  // namespace cli

#endif  // CLI_MAP_H_
