#include <db.h>

#include <cstdlib>
#include <memory>

#include "benchmarks/hits.h"
#include "benchmarks/must.h"

namespace benchmarks {
namespace {

void MustDb(int error, const char* call) {
  if (error != 0) [[unlikely]]
    Fail(call, db_strerror(error));
}

// Pages of a temporary file that is never written, as the cache has room for all of them.
class BerkeleyDbPool {
 public:
  explicit BerkeleyDbPool(const PageFile& file) {
    MustDb(db_env_create(&environment_, 0), "db_env_create");
    // A quarter more than the pages, for its own data.
    const uint64_t bytes = file.pages() * kPageBytes * 5 / 4 + (uint64_t{4} << 20);
    constexpr uint64_t kGiB = uint64_t{1} << 30;
    MustDb(environment_->set_cachesize(environment_, static_cast<u_int32_t>(bytes / kGiB),
                                       static_cast<u_int32_t>(bytes % kGiB), 1),
           "DB_ENV->set_cachesize");
    constexpr u_int32_t kFlags = DB_CREATE | DB_INIT_MPOOL | DB_PRIVATE | DB_THREAD;
    MustDb(environment_->open(environment_, nullptr, kFlags, 0), "DB_ENV->open");
    MustDb(environment_->memp_fcreate(environment_, &pool_, 0), "DB_ENV->memp_fcreate");
    MustDb(pool_->open(pool_, nullptr, 0, 0, kPageBytes), "DB_MPOOLFILE->open");
    for (uint32_t page = 0; page < file.pages(); ++page) Make(page, file.next(page));
    if (StatOf().st_page_out != 0) Fail("Berkeley DB", "the pool did not keep all pages");
  }
  BerkeleyDbPool(const BerkeleyDbPool&) = delete;
  BerkeleyDbPool& operator=(const BerkeleyDbPool&) = delete;
  ~BerkeleyDbPool() {
    (void)pool_->close(pool_, 0);
    (void)environment_->close(environment_, 0);
  }

  uint64_t Read(db_pgno_t page) const {
    void* const bytes = Get(page, 0);
    const uint64_t word = FirstWord(bytes);
    Put(bytes);
    return word;
  }

 private:
  void* Get(db_pgno_t page, u_int32_t flags) const {
    void* bytes = nullptr;
    MustDb(pool_->get(pool_, &page, nullptr, flags, &bytes), "DB_MPOOLFILE->get");
    return bytes;
  }
  void Put(void* bytes) const {
    MustDb(pool_->put(pool_, bytes, DB_PRIORITY_UNCHANGED, 0), "DB_MPOOLFILE->put");
  }
  void Make(db_pgno_t page, uint64_t word) const {
    void* const bytes = Get(page, DB_MPOOL_CREATE | DB_MPOOL_DIRTY);
    *static_cast<uint64_t*>(bytes) = word;
    Put(bytes);
  }
  DB_MPOOL_STAT StatOf() const {
    DB_MPOOL_STAT* stat = nullptr;
    MustDb(environment_->memp_stat(environment_, &stat, nullptr, 0), "DB_ENV->memp_stat");
    const DB_MPOOL_STAT copy = *stat;
    std::free(stat);
    return copy;
  }

  DB_ENV* environment_ = nullptr;
  DB_MPOOLFILE* pool_ = nullptr;
};

}  // namespace

std::vector<Operation> BerkeleyDbHits(const PageFile& file, Keys keys, size_t threads) {
  const auto pool = std::make_shared<const BerkeleyDbPool>(file);
  return ReadByThreads(keys, file.pages(), threads,
                       [pool](uint32_t page) { return pool->Read(page); });
}

}  // namespace benchmarks
