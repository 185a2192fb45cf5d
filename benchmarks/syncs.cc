#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/huge_area.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

constexpr uint64_t kBatchPages = 256;

double WallNsOf(const std::function<void()>& work) {
  const double begin = WallNs();
  work();
  return WallNs() - begin;
}

// Makes all pages dirty in random order, and syncs; only that is timed.
double Sync(mpool::PagePool& pool, const PageFile& file) {
  uint32_t page = 0;
  for (uint64_t i = 0; i < file.pages(); ++i) {
    mpool::PagePin pin = Must(pool.GetForWrite(page));
    pin.bytes().back() ^= std::byte{1};
    pin.MarkDirty();
    page = file.next(page);
  }
  return WallNsOf([&] { Must(pool.Sync()); });
}

// The same bytes in order and in large batches, as fast as a program can that knows what it writes.
double WriteBatches(const HugeArea& area, const PageFile& file) {
  for (uint64_t page = 0; page < file.pages(); ++page) {
    area.begin()[(page + 1) * kPageBytes - 1] ^= std::byte{1};
  }
  return WallNsOf([&] {
    iovec batch[kBatchPages];
    for (uint64_t begin = 0; begin < file.pages(); begin += kBatchPages) {
      const uint64_t count = std::min(kBatchPages, file.pages() - begin);
      for (uint64_t i = 0; i < count; ++i) {
        batch[i] = {area.begin() + (begin + i) * kPageBytes, kPageBytes};
      }
      Must(pwritev(file.fd(), batch, static_cast<int>(count),
                   static_cast<off_t>(begin * kPageBytes)) ==
               static_cast<ssize_t>(count * kPageBytes),
           "pwritev");
    }
    Must(fdatasync(file.fd()) == 0, "fdatasync");
  });
}

InTurn SyncsInTurn(uint64_t pages) {
  const auto file = std::make_shared<const PageFile>(pages, PageFile::Place::kDisk);
  // In a struct, so that the pool goes before its file.
  struct Ours {
    std::shared_ptr<const PageFile> file;
    Pool pool;
  };
  const auto ours = std::make_shared<Ours>(Ours{file, FilledPool(*file)});
  const auto area = std::make_shared<const HugeArea>(pages * kPageBytes);
  return InTurn([ours] { return Sync(*ours->pool, *ours->file); },
                [area, file] { return WriteBatches(*area, *file); });
}

}  // namespace

std::vector<Figure> SyncFigures(const PoolScale& scale) {
  const uint64_t pages = scale.middle_pages;
  Figure figure;
  figure.name = "sync/disk";
  figure.title = absl::StrCat("sync of ", FormatPages(pages),
                              " made dirty in random order, against pwritev in order");
  figure.bounds = {{Bound::Of::kOursToBare, 1.20}};
  figure.locked_pages = 2 * pages + pages / 16;
  figure.other_pages = pages;
  figure.obstacle = [] { return ObstacleTo(PageFile::Place::kDisk); };
  figure.prepare = [pages] { return SyncsInTurn(pages); };
  return {figure};
}

}  // namespace benchmarks
