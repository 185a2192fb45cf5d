// The shared library is loaded at run time (dlopen(3)), because this program contains the same
// functions already, for the C++ interface. A call through a pointer costs what one through the
// linkage table does.

#include <dlfcn.h>

#include <filesystem>
#include <memory>
#include <string>

#include "benchmarks/hits.h"
#include "benchmarks/must.h"
#include "mpool/mpool.h"

namespace benchmarks {
namespace {

// The library of the same build, as it lies beside this program. Never unloaded.
void* Load(const std::string& path) {
  const auto root = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  void* library = dlopen((root / path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) Fail("dlopen", dlerror());
  return library;
}

template <typename Function>
Function* Find(void* library, const char* name) {
  void* const symbol = dlsym(library, name);
  if (symbol == nullptr) Fail("dlsym", dlerror());
  return reinterpret_cast<Function*>(symbol);
}

struct Library {
  Library() {
    Load("pinlock/libpinlock.so.0");  // which the other one then finds
    void* const library = Load("mpool/libmpool.so.0");
    open = Find<decltype(mpool_open)>(library, "mpool_open");
    get = Find<decltype(mpool_get)>(library, "mpool_get");
    put = Find<decltype(mpool_put)>(library, "mpool_put");
    close = Find<decltype(mpool_close)>(library, "mpool_close");
    error = Find<decltype(mpool_error)>(library, "mpool_error");
  }

  decltype(mpool_open)* open;
  decltype(mpool_get)* get;
  decltype(mpool_put)* put;
  decltype(mpool_close)* close;
  decltype(mpool_error)* error;
};

class LibraryPool {
 public:
  explicit LibraryPool(const PageFile& file) {
    const auto pages = static_cast<pgno_t>(file.pages());
    pool_ = library_.open(nullptr, file.fd(), kPageBytes, pages);
    if (pool_ == nullptr) Fail("libmpool", library_.error());
    constexpr int kPasses = 4;  // as Fill() does
    for (int pass = 0; pass < kPasses; ++pass) {
      for (pgno_t page = 0; page < pages; ++page) (void)Read(page);
    }
    if (pool_->curcache != pages) Fail("libmpool", "the pool did not keep all pages");
  }
  LibraryPool(const LibraryPool&) = delete;
  LibraryPool& operator=(const LibraryPool&) = delete;
  ~LibraryPool() { (void)library_.close(pool_); }

  uint64_t Read(pgno_t page) const {
    void* const bytes = library_.get(pool_, page, 0);
    if (bytes == nullptr) [[unlikely]]
      Fail("libmpool", library_.error());
    const uint64_t word = FirstWord(bytes);
    if (library_.put(pool_, bytes, 0) != 0) [[unlikely]]
      Fail("libmpool", library_.error());
    return word;
  }

 private:
  const Library library_;
  MPOOL* pool_;
};

}  // namespace

std::vector<Operation> LibraryHits(const PageFile& file, Keys keys, size_t threads) {
  const auto pool = std::make_shared<const LibraryPool>(file);
  return ReadByThreads(keys, file.pages(), threads,
                       [pool](uint32_t page) { return pool->Read(page); });
}

}  // namespace benchmarks
