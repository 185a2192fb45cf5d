#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/huge_area.h"
#include "benchmarks/keys.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

// The file has so many times the pages of the pool.
constexpr uint64_t kFileToPool = 16;
constexpr size_t kPrefetchPages = 32;

// A pool whose frames are all in use, over a file with many more pages.
struct MissingPool {
  MissingPool(uint64_t frames, PageFile::Place place)
      : file(frames * kFileToPool, place), pool(OpenPool(file, frames)) {
    for (uint32_t page = 0; page < 2 * frames; ++page) (void)ReadPage(*pool, page);
  }

  const PageFile file;
  const Pool pool;
  uint64_t asked_for = 0;  // pages
};

// The cost for a page that was read, of a side that tells it for a page that was asked for: some
// were in the pool already.
Side ForPageRead(std::shared_ptr<MissingPool> pool, Side for_page_asked_for) {
  return [pool = std::move(pool), side = std::move(for_page_asked_for)] {
    const uint64_t asked_for = pool->asked_for;
    const uint64_t page_ins = Must(pool->pool->stats()).page_ins;
    const double ns = side();
    return ns * static_cast<double>(pool->asked_for - asked_for) /
           static_cast<double>(Must(pool->pool->stats()).page_ins - page_ins);
  };
}

Operation Misses(const std::shared_ptr<MissingPool>& pool) {
  return ReadInOrder(Keys::kIndependent, pool->file.pages(), 1, [pool](uint32_t page) {
    ++pool->asked_for;
    return ReadPage(*pool->pool, page);
  });
}

Operation Prefetches(const std::shared_ptr<MissingPool>& pool) {
  return [pool, random = RandomKeys(pool->file.pages())](uint64_t times) mutable {
    for (uint64_t i = 0; i < times; ++i) {
      mpool::PageNumber pages[kPrefetchPages];
      for (mpool::PageNumber& page : pages) page = random.Next();
      (void)Must(pool->pool->Prefetch(pages));
      pool->asked_for += kPrefetchPages;
    }
  };
}

// pread(2) of the same pages, into as many frames as the pool has, one after the other.
Operation BareReads(const std::shared_ptr<MissingPool>& pool, uint64_t frames) {
  const auto buffer = std::make_shared<HugeArea>(frames * kPageBytes);
  return ReadInOrder(Keys::kIndependent, pool->file.pages(), 1,
                     [pool, buffer, frames, frame = uint64_t{0}](uint32_t page) mutable {
                       std::byte* const bytes = buffer->begin() + frame * kPageBytes;
                       frame = (frame + 1) % frames;
                       const off_t offset = off_t{page} * kPageBytes;
                       Must(pread(pool->file.fd(), bytes, kPageBytes, offset) == kPageBytes,
                            "pread");
                       return FirstWord(bytes);
                     });
}

InTurn MissesInTurn(uint64_t frames, std::chrono::nanoseconds slice) {
  const auto pool = std::make_shared<MissingPool>(frames, PageFile::Place::kMemory);
  return InTurn(ForPageRead(pool, ForSlice(Misses(pool), slice)),
                ForSlice(BareReads(pool, frames), slice));
}

// By the wall clock: a prefetch is about waiting for the disk once instead of many times.
InTurn PrefetchesInTurn(uint64_t frames, std::chrono::nanoseconds slice) {
  const auto pool = std::make_shared<MissingPool>(frames, PageFile::Place::kDiskDirect);
  const Side prefetch = ForSlice(Prefetches(pool), slice, WallNs);
  return InTurn(ForPageRead(pool, [prefetch] { return prefetch() / kPrefetchPages; }),
                ForSlice(BareReads(pool, frames), slice, WallNs));
}

Figure MissFigure(const PoolScale& scale) {
  const uint64_t frames = scale.small_pages;
  Figure figure;
  figure.name = "miss/page_cache";
  figure.title = absl::StrCat("miss with a clean victim, file in the page cache, ",
                              FormatPages(frames), ", against one pread");
  figure.bounds = {{Bound::Of::kOursToBare, 1.30}};
  figure.locked_pages = 2 * frames + frames / 16;
  figure.other_pages = frames * kFileToPool;
  figure.prepare = [frames, slice = scale.slice] { return MissesInTurn(frames, slice); };
  return figure;
}

Figure PrefetchFigure(const PoolScale& scale) {
  const uint64_t frames = scale.small_pages;
  Figure figure;
  figure.name = "prefetch/direct";
  figure.title =
      absl::StrCat("prefetch of ", kPrefetchPages, " pages, O_DIRECT, each page against one pread");
  figure.bounds = {{Bound::Of::kOursToBare, 0.22}};
  figure.locked_pages = 2 * frames + frames / 16;
  figure.obstacle = [] { return ObstacleTo(PageFile::Place::kDiskDirect); };
  figure.prepare = [frames, slice = scale.slice] { return PrefetchesInTurn(frames, slice); };
  return figure;
}

}  // namespace

std::vector<Figure> MissFigures(const PoolScale& scale) {
  return {MissFigure(scale), PrefetchFigure(scale)};
}

}  // namespace benchmarks
