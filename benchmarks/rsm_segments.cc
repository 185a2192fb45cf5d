// Making a segment, and being let into it.
//
// Each slice is a process of its own: who has published a segment has a second thread from then on,
// and making segments costs more beside other threads.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/bare.h"
#include "benchmarks/exporter.h"
#include "benchmarks/must.h"
#include "benchmarks/rsm_figures.h"

namespace benchmarks {
namespace {

constexpr double kCreateMax = 12;
constexpr double kPublishMaxNs = 150e3;

enum class Threads { kOne, kTwo };
// Of the memory that is exported: written to just now, or not since it was mapped, as it is new again since
// the last segment has gone.
enum class Memory { kUsed, kNew };

// A thread that sleeps while it exists.
class Bystander {
 public:
  explicit Bystander(Threads threads) {
    Must(pipe(ends_) == 0, "pipe");
    if (threads == Threads::kOne) return;
    thread_ = std::thread([this] {
      char byte;
      (void)!read(ends_[0], &byte, 1);
    });
  }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;
  ~Bystander() {
    close(ends_[1]);
    if (thread_.joinable()) thread_.join();
    close(ends_[0]);
  }

 private:
  int ends_[2];
  std::thread thread_;
};

// The median of what `measure` returns, which is called for ten times `slice`: one call takes long.
// The first one does not count. A call in which the thread had to wait for its CPU says nothing.
template <typename Measure>
double MedianNs(std::chrono::nanoseconds slice, Measure measure) {
  (void)measure();
  const double end = WallNs() + 10 * static_cast<double>(slice.count());
  std::vector<double> values;
  do {
    values.push_back(measure());
  } while (WallNs() < end);
  return Median(std::move(values));
}

double CreateNs(uint64_t bytes, Threads threads, Memory memory, std::chrono::nanoseconds slice) {
  const Controller controller;
  const Area area(bytes / PageSize(), Area::Fill::kResident);
  const Bystander bystander(threads);
  return MedianNs(slice, [&] {
    if (memory == Memory::kUsed) std::memset(area.page(0), 1, area.bytes());
    benchmark::ClobberMemory();
    const double begin = ThreadCpuNs();
    const Export segment(controller.get(), area.page(0), area.bytes());
    return ThreadCpuNs() - begin;
  });
}

double PublishNs(uint64_t bytes, std::chrono::nanoseconds slice) {
  const Controller controller;
  const Area area(bytes / PageSize(), Area::Fill::kResident);
  return MedianNs(slice, [&] {
    const Export segment(controller.get(), area.page(0), area.bytes());
    const double begin = WallNs();
    const rsm_memseg_id_t number = segment.Publish();
    rsm_memseg_import_handle_t import = nullptr;
    MustRsm(rsm_memseg_import_connect(controller.get(), 1, number, RSM_PERM_RDWR, &import),
            "rsm_memseg_import_connect");
    const double ns = WallNs() - begin;
    MustRsm(rsm_memseg_import_disconnect(import), "rsm_memseg_import_disconnect");
    return ns;
  });
}

// A thread that lets in who connects to one of its listeners, and answers a byte with a byte. It sleeps in
// between, as an exporter's does.
class Answerer {
 public:
  Answerer() : queue_(epoll_create1(0)) {
    Must(queue_ >= 0 && pipe(ends_) == 0, "epoll_create1");
    Listen(ends_[0]);
    thread_ = std::thread([this] { Run(); });
  }
  Answerer(const Answerer&) = delete;
  Answerer& operator=(const Answerer&) = delete;
  ~Answerer() {
    close(ends_[1]);
    thread_.join();
    close(ends_[0]);
    close(queue_);
  }

  void Listen(int listener) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = listener;
    Must(epoll_ctl(queue_, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
  }

 private:
  void Run() const {
    for (epoll_event event{};;) {
      Must(epoll_wait(queue_, &event, 1, -1) == 1, "epoll_wait");
      if (event.data.fd == ends_[0]) return;
      const int importer = accept(event.data.fd, nullptr, nullptr);
      char byte = 0;
      Must(recv(importer, &byte, 1, 0) == 1 && send(importer, &byte, 1, 0) == 1, "recv");
      close(importer);
    }
  }

  const int queue_;
  int ends_[2];
  std::thread thread_;
};

// The least that finding each other can take: a socket with a name, connected to, and a message each way.
double SocketNs(std::chrono::nanoseconds slice) {
  constexpr double kBetweenNs = 1e6;  // at work, as it takes to destroy a segment and make another
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/dev/shm/rsm_benchmark.", getpid());
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  const Answerer exporter;
  return MedianNs(slice, [&] {
    for (const double end = WallNs() + kBetweenNs; WallNs() < end;) continue;
    const double begin = WallNs();
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    Must(bind(listener, name, sizeof(address)) == 0 && listen(listener, 1) == 0, "bind");
    exporter.Listen(listener);
    const int importer = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    Must(connect(importer, name, sizeof(address)) == 0, "connect");
    char byte = 0;
    Must(send(importer, &byte, 1, 0) == 1 && recv(importer, &byte, 1, 0) == 1, "send");
    const double ns = WallNs() - begin;
    for (const int socket : {listener, importer}) close(socket);
    (void)unlink(path.c_str());
    return ns;
  });
}

// Why segments cannot be made beside a thread. "": they can.
std::string ObstacleOf(uint64_t bytes, Threads threads) {
  const double code = InChild([=] {
    const Controller controller;
    const Area area(bytes / PageSize(), Area::Fill::kResident);
    const Bystander bystander(threads);
    rsm_memseg_export_handle_t segment = nullptr;
    return static_cast<double>(
        rsm_memseg_export_create(controller.get(), &segment, area.page(0), area.bytes(), 0));
  });
  return code == RSMERR_INSUFFICIENT_RESOURCES ? "userfaultfd(2) is not to be had" : "";
}

// Copies from memory to memory that both are there already.
Side WarmCopies(uint64_t bytes, std::chrono::nanoseconds slice) {
  struct Areas {
    explicit Areas(uint64_t pages)
        : from(pages, Area::Fill::kResident), to(pages, Area::Fill::kResident) {}
    const Area from, to;
  };
  const auto areas = std::make_shared<const Areas>(bytes / PageSize());
  return ForSlice(
      [areas](uint64_t times) {
        for (uint64_t i = 0; i < times; ++i) {
          std::memcpy(areas->to.page(0), areas->from.page(0), areas->to.bytes());
          benchmark::ClobberMemory();
        }
      },
      slice);
}

// The same to memory that is mapped for it, as that of a segment is.
double FreshCopyNs(uint64_t bytes, std::chrono::nanoseconds slice) {
  const Area from(bytes / PageSize(), Area::Fill::kResident);
  return MedianNs(slice, [&] {
    const double begin = ThreadCpuNs();
    const Area to(bytes / PageSize(), Area::Fill::kCold);
    std::memcpy(to.page(0), from.page(0), to.bytes());
    benchmark::ClobberMemory();
    return ThreadCpuNs() - begin;
  });
}

Figure CreateFigure(const SegmentScale& scale, const char* name, const char* what,
                    Threads threads) {
  const uint64_t bytes = scale.segment_bytes;
  Figure figure;
  figure.name = name;
  figure.title = absl::StrCat("create of ", bytes >> 20, " MiB, ", what);
  figure.overhead = true;
  figure.locked_pages = 2 * bytes / PageSize();
  figure.other_pages = 4 * bytes / PageSize();
  figure.obstacle = [=] { return ObstacleOf(bytes, threads); };
  return figure;
}

Figure WarmCreateFigure(const SegmentScale& scale, const char* name, const char* what,
                        Threads threads, Memory memory = Memory::kUsed) {
  Figure figure = CreateFigure(scale, name, what, threads);
  figure.bounds = {{Bound::Of::kOursToBare, kCreateMax}};
  figure.prepare = [=, bytes = scale.segment_bytes, slice = scale.slice] {
    return InTurn([=] { return InChild([=] { return CreateNs(bytes, threads, memory, slice); }); },
                  WarmCopies(bytes, slice));
  };
  return figure;
}

// Nothing is promised of this one: it tells what new memory costs by itself.
Figure FreshCreateFigure(const SegmentScale& scale) {
  Figure figure = CreateFigure(scale, "create/new", "one thread, against memcpy into new memory",
                               Threads::kOne);
  figure.prepare = [bytes = scale.segment_bytes, slice = scale.slice] {
    return InTurn(
        [=] {
          return InChild([=] { return CreateNs(bytes, Threads::kOne, Memory::kUsed, slice); });
        },
        [=] { return InChild([=] { return FreshCopyNs(bytes, slice); }); });
  };
  return figure;
}

Figure PublishFigure(const char* name, const char* size, uint64_t bytes,
                     std::chrono::nanoseconds slice) {
  Figure figure;
  figure.name = name;
  figure.title =
      absl::StrCat("publish and connect of ", size, ", both in one process, against bare sockets");
  figure.bounds = {{Bound::Of::kOurs, kPublishMaxNs}};
  figure.overhead = true;
  figure.locked_pages = 2 * bytes / PageSize();
  figure.other_pages = 2 * bytes / PageSize();
  figure.prepare = [=] {
    return InTurn([=] { return InChild([=] { return PublishNs(bytes, slice); }); },
                  [=] { return InChild([=] { return SocketNs(slice); }); });
  };
  return figure;
}

}  // namespace

std::vector<Figure> SegmentFigures(const SegmentScale& scale) {
  const std::string size = absl::StrCat(scale.segment_bytes >> 20, " MiB");
  return {
      WarmCreateFigure(scale, "create/alone", "one thread, against memcpy", Threads::kOne),
      WarmCreateFigure(scale, "create/thread", "beside another thread, against memcpy",
                       Threads::kTwo),
      WarmCreateFigure(scale, "create/cold", "one thread, memory not touched since it was mapped",
                       Threads::kOne, Memory::kNew),
      FreshCreateFigure(scale),
      PublishFigure("publish/4KiB", "4 KiB", 4096, scale.slice),
      PublishFigure("publish/1MiB", size.c_str(), scale.segment_bytes, scale.slice),
  };
}

}  // namespace benchmarks
