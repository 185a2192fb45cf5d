// Pools that processes share: what a hit costs there, and what it takes to join one.

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/keys.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

constexpr double kSharedMax = 1.10;
constexpr double kAttachMaxNs = 5e6;
constexpr double kRecoveryMaxNs = 50e6;

std::string MakeKey() {
  // Another run may be under way, in a pid namespace of its own.
  return absl::StrCat("mpool_benchmark ", std::random_device()());
}

Pool OpenShared(const PageFile& file, const std::string& key, bool prelock) {
  return Must(mpool::PagePool::Open(file.fd(), {.key = key,
                                                .page_size = kPageBytes,
                                                .pages_max = static_cast<uint32_t>(file.pages()),
                                                .prelock = prelock}));
}

Operation HitsOf(const Pool& pool, Keys keys, uint64_t pages) {
  return ReadInOrder(keys, pages, 1, [pool](uint32_t page) { return ReadPage(*pool, page); });
}

// Another process, which hits the shared pool or one of its own while it is told to.
class Neighbour {
 public:
  enum class Work : uint32_t { kStarting, kNone, kShared, kOwn, kEnd };

  Neighbour(const PageFile& file, const std::string& key, Keys keys) {
    void* const memory = mmap(nullptr, sizeof(std::atomic<Work>), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Must(memory != MAP_FAILED, "mmap");
    work_ = new (memory) std::atomic<Work>(Work::kStarting);
    process_ = fork();
    Must(process_ >= 0, "fork");
    if (process_ == 0) {
      Run(file, key, keys);
      _exit(0);
    }
    while (work_->load() == Work::kStarting) {
      Must(waitpid(process_, nullptr, WNOHANG) == 0, "the other process");
      std::this_thread::yield();
    }
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  ~Neighbour() {
    work_->store(Work::kEnd);
    (void)waitpid(process_, nullptr, 0);
    (void)munmap(work_, sizeof(std::atomic<Work>));
  }

  double While(Work work, const Side& side) {
    work_->store(work);
    const double ns = side();
    work_->store(Work::kNone);
    return ns;
  }

 private:
  void Run(const PageFile& file, const std::string& key, Keys keys) {
    const Pool shared = OpenShared(file, key, /*prelock=*/true);
    const Operation shared_hits = HitsOf(shared, keys, file.pages());
    const Pool own = FilledPool(file);
    const Operation own_hits = HitsOf(own, keys, file.pages());
    work_->store(Work::kNone);
    constexpr uint64_t kTimes = 1000;
    for (;;) {
      switch (work_->load(std::memory_order_relaxed)) {
        case Work::kShared:
          shared_hits(kTimes);
          break;
        case Work::kOwn:
          own_hits(kTimes);
          break;
        case Work::kEnd:
          return;
        default:
          std::this_thread::yield();
      }
    }
  }

  std::atomic<Work>* work_ = nullptr;
  pid_t process_ = -1;
};

InTurn SharedAgainstPrivate(uint64_t pages, Keys keys, std::chrono::nanoseconds slice) {
  struct Both {
    Both(uint64_t page_count, Keys order)
        : file(page_count, PageFile::Place::kMemory),
          shared(OpenShared(file, key, /*prelock=*/true)) {
      Fill(*shared, page_count);
      own = FilledPool(file);
      other.emplace(file, key, order);
    }
    const std::string key = MakeKey();
    const PageFile file;
    const Pool shared;
    Pool own;
    std::optional<Neighbour> other;
  };
  const auto both = std::make_shared<Both>(pages, keys);
  const Side shared = ForSlice(HitsOf(both->shared, keys, pages), slice);
  const Side own = ForSlice(HitsOf(both->own, keys, pages), slice);
  return InTurn([=] { return both->other->While(Neighbour::Work::kShared, shared); },
                [=] { return both->other->While(Neighbour::Work::kOwn, own); });
}

// A shared pool with all its pages, to be joined.
struct FullPool {
  explicit FullPool(uint64_t pages)
      : file(pages, PageFile::Place::kMemory), pool(OpenShared(file, key, /*prelock=*/true)) {
    Fill(*pool, pages);
  }
  double AttachNs(bool prelock) const {
    const double begin = WallNs();
    const Pool joined = OpenShared(file, key, prelock);
    return WallNs() - begin;
  }
  double OpenNs() const {
    const double begin = WallNs();
    const Pool alone = OpenPool(file, file.pages());
    return WallNs() - begin;
  }
  // Leaves the pool as kill -9 does, with a page pinned for writing.
  void LoseParticipant() const {
    const pid_t process = fork();
    Must(process >= 0, "fork");
    if (process == 0) {
      const Pool joined = OpenShared(file, key, /*prelock=*/false);
      const auto pin = joined->GetForWrite(0);
      (void)kill(getpid(), SIGKILL);
      _exit(0);
    }
    (void)waitpid(process, nullptr, 0);
  }

  const std::string key = MakeKey();
  const PageFile file;
  const Pool pool;
};

// Of what is done to a full shared pool, against something else.
Figure JoinFigure(const PoolScale& scale, std::string name, std::string title, double max_ns,
                  double (*ours)(const FullPool&), double (*bare)(const FullPool&)) {
  Figure figure;
  figure.name = std::move(name);
  figure.title = std::move(title);
  figure.overhead = true;
  if (max_ns > 0) figure.bounds = {{Bound::Of::kOurs, max_ns}};
  figure.locked_pages = 2 * (scale.large_pages + scale.large_pages / 16);
  figure.other_pages = scale.large_pages;
  figure.prepare = [pages = scale.large_pages, ours, bare] {
    const auto full = std::make_shared<const FullPool>(pages);
    return InTurn([=] { return ours(*full); }, [=] { return bare(*full); });
  };
  return figure;
}

}  // namespace

std::vector<Figure> SharedPoolFigures(const PoolScale& scale) {
  std::vector<Figure> figures;
  for (const Keys keys : {Keys::kIndependent, Keys::kDependent}) {
    const char* const name = keys == Keys::kIndependent ? "independent" : "dependent";
    Figure figure;
    figure.name = absl::StrCat("shared/hits/", name);
    figure.title =
        absl::StrCat("hits of two processes, ", name, " keys, ", FormatPages(scale.large_pages),
                     ": a shared pool against private ones");
    figure.bounds = {{Bound::Of::kOursToBare, kSharedMax}};
    figure.cpus = 2;
    // Each has the shared pool and one of its own.
    figure.locked_pages = 4 * (scale.large_pages + scale.large_pages / 16);
    figure.other_pages = scale.large_pages;
    figure.prepare = [pages = scale.large_pages, slice = scale.slice, keys] {
      return SharedAgainstPrivate(pages, keys, slice);
    };
    figures.push_back(std::move(figure));
  }
  const std::string pages = FormatPages(scale.large_pages);
  const auto attach = [](const FullPool& full) { return full.AttachNs(/*prelock=*/false); };
  figures.push_back(JoinFigure(
      scale, "shared/attach",
      absl::StrCat("joining a shared pool of ", pages, ", against opening an empty private one"),
      kAttachMaxNs, attach, [](const FullPool& full) { return full.OpenNs(); }));
  figures.push_back(JoinFigure(
      scale, "shared/prelock",
      absl::StrCat("joining one of ", pages, " and locking all of it, against joining it"),
      /*max_ns=*/0, [](const FullPool& full) { return full.AttachNs(/*prelock=*/true); }, attach));
  figures.push_back(JoinFigure(
      scale, "shared/recovery",
      absl::StrCat("joining one of ", pages,
                   " and cleaning up after a killed process, against joining it"),
      kRecoveryMaxNs,
      [](const FullPool& full) {
        full.LoseParticipant();
        return full.AttachNs(/*prelock=*/false);
      },
      attach));
  return figures;
}

}  // namespace benchmarks
