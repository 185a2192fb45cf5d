#include "tests/process/kill_worker.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <thread>
#include <utility>

#include "mpool/internal/kill_point.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"

namespace test_support {
namespace {

// Of the process that may be killed; null in all others.
KillControl* armed = nullptr;
std::string_view armed_place;
uint64_t armed_nth = 0;
std::atomic<uint64_t> reached{0};

}  // namespace
}  // namespace test_support

void mpool::internal::ReachKillPoint(const char* name) {
  using test_support::armed;
  if (armed == nullptr) return;
  if (test_support::armed_nth == 0) {  // only looked at
    const uint32_t count = armed->place_count.load();
    for (uint32_t i = 0; i < count; ++i) {
      if (std::strcmp(armed->places[i].data(), name) == 0) return;
    }
    std::snprintf(armed->places[count].data(), armed->places[count].size(), "%s", name);
    armed->place_count.store(count + 1);
    return;
  }
  if (!test_support::armed_place.empty() && test_support::armed_place != name) return;
  if (test_support::reached.fetch_add(1) + 1 == test_support::armed_nth) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
}

namespace test_support {
namespace {

uint64_t WordOf(uint32_t page, uint64_t version) { return version << 16 | page; }

[[noreturn]] void Complain(const char* what, uint32_t page) {
  std::fprintf(stderr, "worker: %s, page %u: %s\n", what, page, mpool_error());
  _exit(1);
}

class Worker {
 public:
  Worker(KillControl& control, const KillTask& task)
      : control_(control), task_(task), random_(task.seed) {}

  void Run() {
    Open();
    for (uint32_t step = 0; step < task_.steps; ++step) Step();
    pool_.reset();
    if (mpool_ != nullptr) mpool_close(mpool_);
  }

 private:
  bool Alone() const { return task_.workers == 1; }
  uint32_t Below(uint32_t end) { return static_cast<uint32_t>(random_() % end); }
  uint32_t AnyPage() { return Below(kKillPages); }
  uint32_t OwnPage() { return Below(kKillPages / task_.workers) * task_.workers + task_.index; }

  void Open() {
    mpool::Options options{.key = task_.key, .page_size = kKillPageSize, .pages_max = kKillCache};
    options.pages_max += 8 * Below(3);
    auto pool = mpool::PagePool::Open(task_.fd, options);
    if (!pool.ok()) {
      std::fprintf(stderr, "worker: %s\n", pool.status().ToString().c_str());
      _exit(1);
    }
    pool_ = std::move(*pool);
    if (!Alone()) return;
    std::string key = task_.key;
    DBT dbt{key.data(), key.size()};
    mpool_ = mpool_open(&dbt, task_.fd, kKillPageSize, kKillCache);
    if (mpool_ == nullptr) Complain("open", 0);
  }

  void Step() {
    switch (Below(16)) {
      case 0:
        return Sync();
      case 1:
        return Prefetch();
      case 2:
        return PinMany();
      case 3:
        return Alone() ? New() : Read(AnyPage());
      case 4:
        return Alone() ? Delete() : Read(AnyPage());
      case 5:
        return WaitInVain();
      case 6:
      case 7:
      case 8:
        return Write(OwnPage());
      case 9:
      case 10:
        return Alone() ? WriteByC(OwnPage()) : Write(OwnPage());
      case 11:
        return Alone() ? ReadByC(AnyPage()) : Read(AnyPage());
      default:
        return Read(AnyPage());
    }
  }

  // A page that another worker died on is told once; then it may be anything until it is written.
  absl::StatusOr<mpool::PagePin> Get(uint32_t page, bool* suspect = nullptr) {
    auto pin = pool_->Get(page);
    if (pin.status().code() == absl::StatusCode::kDataLoss) {
      if (suspect != nullptr) *suspect = true;
      pin = pool_->Get(page);
    }
    return pin;
  }

  void Check(absl::Span<const std::byte> bytes, uint32_t page) {
    uint64_t version = 0;
    // Other workers may change it before and after.
    const bool own = page % task_.workers == task_.index;
    const uint64_t committed = control_.committed[page].load();
    const uint64_t begun = control_.begun[page].load();
    if (!own || committed != begun) return;
    if (!ReadPage(bytes, page, version)) Complain("a torn page", page);
    if (version != committed) Complain("a lost update", page);
  }

  void Read(uint32_t page) {
    bool suspect = false;
    const auto pin = Get(page, &suspect);
    if (!pin.ok()) {
      std::fprintf(stderr, "worker: page %u: %s\n", page, pin.status().ToString().c_str());
      _exit(1);
    }
    if (!suspect) Check(pin->bytes(), page);
  }

  void Write(uint32_t page) {
    auto pin = pool_->GetForWrite(page);
    if (pin.status().code() == absl::StatusCode::kDataLoss) pin = pool_->GetForWrite(page);
    if (!pin.ok()) {
      std::fprintf(stderr, "worker: page %u: %s\n", page, pin.status().ToString().c_str());
      _exit(1);
    }
    const uint64_t version = control_.begun[page].load() + 1;
    control_.begun[page].store(version);
    FillPage(pin->bytes(), page, version);
    pin->MarkDirty();
    pin->Release();
    control_.committed[page].store(version);
  }

  void* GetByC(uint32_t page) {
    void* bytes = mpool_get(mpool_, page, 0);
    if (bytes == nullptr && errno == EIO) bytes = mpool_get(mpool_, page, 0);
    if (bytes == nullptr) Complain("get", page);
    return bytes;
  }

  void ReadByC(uint32_t page) {
    void* const bytes = GetByC(page);
    Check({static_cast<std::byte*>(bytes), kKillPageSize}, page);
    if (mpool_put(mpool_, bytes, 0) != 0) Complain("put", page);
  }

  void WriteByC(uint32_t page) {
    void* const bytes = GetByC(page);
    const uint64_t version = control_.begun[page].load() + 1;
    control_.begun[page].store(version);
    FillPage({static_cast<std::byte*>(bytes), kKillPageSize}, page, version);
    // By this thread, or by another one: the pool then owes this one a slot.
    bool is_put = false;
    const auto put = [&] { is_put = mpool_put(mpool_, bytes, MPOOL_DIRTY) == 0; };
    if (Below(4) == 0) {
      std::thread(put).join();
    } else {
      put();
    }
    if (!is_put) Complain("put", page);
    control_.committed[page].store(version);
  }

  void Sync() {
    std::array<uint64_t, kKillPagesMax> versions;
    for (uint32_t i = 0; i < kKillPagesMax; ++i) versions[i] = control_.committed[i].load();
    const absl::Status status = pool_->Sync();
    if (status.code() == absl::StatusCode::kDataLoss) return;  // a page that nobody has got since
    if (!status.ok()) {
      std::fprintf(stderr, "worker: %s\n", status.ToString().c_str());
      _exit(1);
    }
    if (!Alone()) return;
    for (uint32_t i = 0; i < kKillPagesMax; ++i) control_.synced[i].store(versions[i]);
  }

  void Prefetch() {
    std::array<mpool::PageNumber, 8> pages;
    for (mpool::PageNumber& page : pages) page = AnyPage();
    (void)pool_->Prefetch(pages);
  }

  // More than the pool has frames, at times.
  void PinMany() {
    std::vector<absl::StatusOr<mpool::PagePin>> pins;
    const uint32_t count = Alone() ? 44 : 8;
    for (uint32_t i = 0; i < count; ++i) {
      pins.push_back(Get((i * 5) % kKillPages));
      if (!pins.back().ok()) {
        std::fprintf(stderr, "worker: %s\n", pins.back().status().ToString().c_str());
        _exit(1);
      }
    }
  }

  void New() {
    if (made_ == kKillPagesMax - kKillPages) return;
    auto pin = pool_->New();
    if (!pin.ok()) {
      std::fprintf(stderr, "worker: new: %s\n", pin.status().ToString().c_str());
      _exit(1);
    }
    ++made_;
    const uint32_t page = pin->page_number();
    if (page >= kKillPagesMax) return;
    const uint64_t version = control_.begun[page].load() + 1;
    control_.begun[page].store(version);
    FillPage(pin->bytes(), page, version);
    pin->MarkDirty();
    pin->Release();
    control_.committed[page].store(version);
  }

  // Of a page that is as in the file, so that nothing is lost.
  void Delete() {
    const uint32_t page = AnyPage();
    (void)Get(page);
    if (!pool_->Sync().ok()) return;
    for (uint32_t i = 0; i < kKillPagesMax; ++i) {
      control_.synced[i].store(control_.committed[i].load());
    }
    auto pin = Get(page);
    if (pin.ok()) (void)pool_->Delete(*pin);
  }

  // For a page that this thread has itself.
  void WaitInVain() {
    const uint32_t page = OwnPage();
    const auto pin = Get(page);
    const auto second = pool_->GetForWrite(page, std::chrono::microseconds(100));
    if (pin.ok() && second.ok()) Complain("two have a page for themselves", page);
  }

  KillControl& control_;
  const KillTask& task_;
  std::mt19937_64 random_;
  std::unique_ptr<mpool::PagePool> pool_;
  MPOOL* mpool_ = nullptr;
  uint32_t made_ = 0;
};

}  // namespace

void FillPage(absl::Span<std::byte> bytes, uint32_t page, uint64_t version) {
  const uint64_t word = WordOf(page, version);
  for (size_t at = 0; at + sizeof(word) <= bytes.size(); at += sizeof(word)) {
    std::memcpy(bytes.data() + at, &word, sizeof(word));
  }
}

bool ReadPage(absl::Span<const std::byte> bytes, uint32_t page, uint64_t& version) {
  uint64_t first = 0;
  std::memcpy(&first, bytes.data(), sizeof(first));
  version = first >> 16;
  for (size_t at = 0; at + sizeof(first) <= bytes.size(); at += sizeof(first)) {
    if (std::memcmp(bytes.data() + at, &first, sizeof(first)) != 0) return false;
  }
  return (first & 0xffff) == page;
}

KillControl* KillControl::Make() {
  void* const memory =
      mmap(nullptr, sizeof(KillControl), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::abort();
  }
  return new (memory) KillControl();
}

void KillControl::Clear() {
  for (uint32_t i = 0; i < kKillPagesMax; ++i) {
    begun[i].store(0);
    committed[i].store(0);
    synced[i].store(0);
  }
}

std::vector<std::string> KillControl::ReachedPlaces() const {
  std::vector<std::string> all;
  for (uint32_t i = 0; i < place_count.load(); ++i) all.emplace_back(places[i].data());
  return all;
}

pid_t StartWorker(KillControl& control, const KillTask& task) {
  const pid_t worker = fork();
  if (worker != 0) return worker;
  armed = &control;
  armed_place = task.place;
  armed_nth = task.nth;
  Worker(control, task).Run();
  _exit(0);
}

int AwaitWorker(pid_t worker) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  int status = 0;
  while (waitpid(worker, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      std::fprintf(stderr, "worker %d is stuck\n", worker);
      kill(worker, SIGKILL);
      waitpid(worker, &status, 0);
      return 2;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace test_support
