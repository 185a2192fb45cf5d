#include "benchmarks/exporter.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "benchmarks/must.h"

namespace benchmarks {
namespace {

// Of this machine, in access lists and elsewhere.
constexpr rsm_node_id_t kThisNode = 1;

// What a child does until it is killed; it tells of its segment when it is ready.
[[noreturn]] void Sleep(Sleeper::Kind kind, uint64_t pages, int ready) {
  const Area area(pages, Area::Fill::kResident);
  const Controller controller;
  std::optional<Export> exported;
  rsm_memseg_id_t segment = 0;
  if (kind == Sleeper::Kind::kExporter) {
    segment = exported.emplace(controller.get(), area.page(0), area.bytes()).Publish();
  }
  Must(write(ready, &segment, sizeof(segment)) == sizeof(segment), "write");
  for (;;) pause();
}

}  // namespace

void MustRsm(int code, const char* call) {
  if (code != RSM_SUCCESS) Fail(call, rsm_error());
}

Controller::Controller() {
  MustRsm(rsm_get_controller(nullptr, &controller_), "rsm_get_controller");
}
Controller::~Controller() {
  MustRsm(rsm_release_controller(controller_), "rsm_release_controller");
}

Export::Export(rsmapi_controller_handle_t controller, void* memory, size_t bytes) {
  MustRsm(rsm_memseg_export_create(controller, &segment_, memory, bytes, 0),
          "rsm_memseg_export_create");
}
Export::~Export() { MustRsm(rsm_memseg_export_destroy(segment_), "rsm_memseg_export_destroy"); }

rsm_memseg_id_t Export::Publish() const {
  rsm_memseg_id_t number = 0;
  rsmapi_access_entry_t access = {kThisNode, 0600};
  MustRsm(rsm_memseg_export_publish(segment_, &number, &access, 1), "rsm_memseg_export_publish");
  return number;
}
Sleeper::Sleeper(Kind kind, uint64_t pages) {
  int ends[2];
  Must(pipe(ends) == 0, "pipe");
  std::fflush(nullptr);
  process_ = fork();
  Must(process_ >= 0, "fork");
  if (process_ == 0) {
    Must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    Sleep(kind, pages, ends[1]);
  }
  close(ends[1]);
  const ssize_t received = read(ends[0], &segment_, sizeof(segment_));
  close(ends[0]);
  if (received == sizeof(segment_)) return;
  segment_ = 0;
  Wait();
  std::exit(1);  // the child has said why
}

Sleeper::~Sleeper() {
  if (process_ <= 0) return;
  Kill();
  Wait();
}

double Sleeper::CpuNs() const {
  clockid_t clock{};
  timespec used{};
  Must(clock_getcpuclockid(process_, &clock) == 0 && clock_gettime(clock, &used) == 0,
       "the CPU time of another process");
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

void Sleeper::Kill() const { Must(kill(process_, SIGKILL) == 0, "kill"); }

void Sleeper::Wait() {
  Must(waitpid(process_, nullptr, 0) == process_, "waitpid");
  process_ = -1;
  if (segment_ == 0) return;
  // Who connects to what is left of a killed process takes its name away.
  const Controller controller;
  rsm_memseg_import_handle_t import = nullptr;
  (void)rsm_memseg_import_connect(controller.get(), kThisNode, segment_, RSM_PERM_READ, &import);
}

Import::Import(rsm_memseg_id_t segment, size_t bytes) {
  MustRsm(
      rsm_memseg_import_connect(controller_.get(), kThisNode, segment, RSM_PERM_RDWR, &segment_),
      "rsm_memseg_import_connect");
  MustRsm(rsm_memseg_import_map(segment_, &map_, RSM_MAP_NONE, RSM_PERM_RDWR, 0, bytes),
          "rsm_memseg_import_map");
  MustRsm(rsm_memseg_import_init_barrier(segment_, RSM_BAR_DEFAULT, &barrier_),
          "rsm_memseg_import_init_barrier");
}

Import::~Import() {
  MustRsm(rsm_memseg_import_destroy_barrier(&barrier_), "rsm_memseg_import_destroy_barrier");
  MustRsm(rsm_memseg_import_unmap(segment_), "rsm_memseg_import_unmap");
  MustRsm(rsm_memseg_import_disconnect(segment_), "rsm_memseg_import_disconnect");
}

}  // namespace benchmarks
