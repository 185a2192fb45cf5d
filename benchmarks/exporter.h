// Segments, as exporters and importers of a benchmark have them.
//
// What fails ends the program with status 1.

#ifndef BENCHMARKS_EXPORTER_H_
#define BENCHMARKS_EXPORTER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "benchmarks/bare.h"
#include "rsm/rsmapi.h"

namespace benchmarks {

// Where a call of rsmapi has not succeeded: with its text.
void MustRsm(int code, const char* call);

// Exports memory of this process while it exists.
class Export {
 public:
  Export(rsmapi_controller_handle_t controller, void* memory, size_t bytes);
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;
  ~Export();

  // For every process of this user, under a number that is chosen.
  rsm_memseg_id_t Publish() const;

 private:
  rsm_memseg_export_handle_t segment_ = nullptr;
};

class Controller {
 public:
  Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;
  ~Controller();
  rsmapi_controller_handle_t get() const { return controller_; }

 private:
  rsmapi_controller_handle_t controller_ = nullptr;
};

// Another process, which has touched so many pages and sleeps until it is killed, or this one ends.
class Sleeper {
 public:
  enum class Kind { kExporter, kBare };  // whether it has published the pages
  Sleeper(Kind kind, uint64_t pages);
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper();

  rsm_memseg_id_t segment() const { return segment_; }  // 0: none
  pid_t pid() const { return process_; }
  // Of its CPU time, user and system, by all of its threads.
  double CpuNs() const;
  // kill -9, and nothing else.
  void Kill() const;
  // Until it has ended; what is left of it is gone then.
  void Wait();

 private:
  pid_t process_ = -1;
  rsm_memseg_id_t segment_ = 0;
};

// A segment that this process imports, for reading and writing, mapped as a whole, with a barrier.
class Import {
 public:
  Import(rsm_memseg_id_t segment, size_t bytes);
  Import(const Import&) = delete;
  Import& operator=(const Import&) = delete;
  ~Import();

  rsm_memseg_import_handle_t get() const { return segment_; }
  std::byte* map() const { return static_cast<std::byte*>(map_); }

 private:
  const Controller controller_;
  rsm_memseg_import_handle_t segment_ = nullptr;
  rsmapi_barrier_t barrier_ = {};
  void* map_ = nullptr;
};

}  // namespace benchmarks

#endif  // BENCHMARKS_EXPORTER_H_
