// An exporter that is another process: how soon its death is noticed, and what it costs when idle.

#include <memory>
#include <thread>
#include <utility>

#include "benchmarks/bare.h"
#include "benchmarks/exporter.h"
#include "benchmarks/must.h"
#include "benchmarks/rsm_figures.h"

namespace benchmarks {
namespace {

constexpr double kDeathMaxNs = 5e6;
constexpr double kIdleMaxPercent = 0.5;
constexpr int kPatienceMs = 60'000;

void MustBeAborted(int code, const char* call) {
  if (code != RSMERR_CONN_ABORTED) Fail(call, code == RSM_SUCCESS ? "succeeded" : rsm_error());
}

// From the kill to when an importer that waits for a signal is told.
double NoticedByWaitNs(uint64_t pages) {
  const Sleeper exporter(Sleeper::Kind::kExporter, pages);
  const Import import(exporter.segment(), pages * PageSize());
  const double begin = WallNs();
  exporter.Kill();
  const int code = rsm_intr_signal_wait(import.get(), kPatienceMs);
  const double ns = WallNs() - begin;
  MustBeAborted(code, "rsm_intr_signal_wait");
  return ns;
}

// The same for one that gets a word again and again.
double NoticedByGetNs(uint64_t pages) {
  const Sleeper exporter(Sleeper::Kind::kExporter, pages);
  const Import import(exporter.segment(), pages * PageSize());
  uint64_t word = 0;
  int code = rsm_memseg_import_get64(import.get(), 0, &word, 1);
  MustRsm(code, "rsm_memseg_import_get64");
  const double begin = WallNs();
  exporter.Kill();
  while (code == RSM_SUCCESS && WallNs() - begin < kPatienceMs * 1e6) {
    code = rsm_memseg_import_get64(import.get(), 0, &word, 1);
  }
  const double ns = WallNs() - begin;
  MustBeAborted(code, "rsm_memseg_import_get64");
  return ns;
}

// From the kill of a process that exports nothing to when its parent is told.
double BareDeathNs(uint64_t pages) {
  Sleeper sleeper(Sleeper::Kind::kBare, pages);
  const double begin = WallNs();
  sleeper.Kill();
  sleeper.Wait();
  return WallNs() - begin;
}

Figure DeathFigure(const SegmentScale& scale, const char* name, const char* title,
                   double (*ours)(uint64_t)) {
  Figure figure;
  figure.name = name;
  figure.title = title;
  figure.bounds = {{Bound::Of::kOurs, kDeathMaxNs}};
  figure.overhead = true;
  const uint64_t pages = scale.segment_bytes / PageSize();
  figure.locked_pages = pages;
  figure.other_pages = pages;
  figure.prepare = [=] {
    return InTurn([=] { return ours(pages); }, [=] { return BareDeathNs(pages); });
  };
  return figure;
}

// Of one CPU, while an importer is connected and nothing happens.
Figure IdleFigure(const SegmentScale& scale) {
  Figure figure;
  figure.name = "idle";
  figure.title = "CPU time of an idle exporter with an importer";
  figure.unit = Unit::kPercent;
  figure.bounds = {{Bound::Of::kOurs, kIdleMaxPercent}};
  const uint64_t pages = scale.segment_bytes / PageSize();
  figure.locked_pages = pages;
  figure.prepare = [pages, slice = scale.slice] {
    struct Pair {
      explicit Pair(uint64_t count)
          : exporter(Sleeper::Kind::kExporter, count),
            import(exporter.segment(), count * PageSize()) {}
      const Sleeper exporter;
      const Import import;
    };
    const auto pair = std::make_shared<const Pair>(pages);
    const auto percent = [pair, slice] {
      const double begin = WallNs(), cpu_begin = pair->exporter.CpuNs();
      std::this_thread::sleep_for(100 * slice);
      return 100 * (pair->exporter.CpuNs() - cpu_begin) / (WallNs() - begin);
    };
    return InTurn(percent, nullptr);
  };
  return figure;
}

}  // namespace

std::vector<Figure> ExporterFigures(const SegmentScale& scale) {
  Figure by_get = DeathFigure(
      scale, "death/get", "exporter's death noticed by who gets, against waitpid of a bare process",
      NoticedByGetNs);
  by_get.cpus = 2;  // else it has to wait for the getter's CPU
  return {DeathFigure(scale, "death/wait",
                      "exporter's death noticed by who waits, against waitpid of a bare process",
                      NoticedByWaitNs),
          std::move(by_get), IdleFigure(scale)};
}

}  // namespace benchmarks
