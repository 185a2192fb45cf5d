// The pool against the reference model: random lists of operations, and all short ones.

#include "tests/model/page_pool_model.h"

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "os/fake_file.h"
#include "os/fault_plan.h"
#include "os/faulty_file.h"
#include "os/forwarding_memory.h"
#include "os/memory.h"
#include "tests/support/counting_locker.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"

namespace test_support {
namespace {

using mpool::internal::PoolConfig;
using mpool::internal::PoolCore;
using os::testing::FakeFile;
using Kind = PoolOperation::Kind;

// RealMemory whose mappings are kept for the next pool: most of the cost of opening one.
class ReusedMemory final : public os::ForwardingMemory {
 public:
  ReusedMemory() : ForwardingMemory(os::RealMemory()) {}
  ~ReusedMemory() override {
    for (const Kept& kept : kept_) (void)memory().Unmap(kept.pages);
  }
  os::Result<os::PageRange> Map(os::PageCount count, Access access, Fork fork,
                                os::PageCount alignment) override {
    for (Kept& kept : kept_) {
      if (kept.used || kept.pages.count() != count || kept.access != access) continue;
      kept.used = true;
      for (const os::PageRange& dirty : kept.committed) {
        std::memset(dirty.address(page_size()), 0, dirty.bytes(page_size()));
      }
      return kept.pages;
    }
    const os::Result<os::PageRange> mapped = memory().Map(count, access, fork, alignment);
    if (!mapped.ok()) return mapped.error();
    kept_.push_back({*mapped, access, true, {}});
    if (access == Access::kReadWrite) kept_.back().committed.push_back(*mapped);
    return mapped;
  }
  os::Errno Commit(os::PageRange pages) override {
    Kept& kept = Holding(pages);
    for (const os::PageRange& committed : kept.committed) {
      if (committed.Intersection(pages) == pages) return os::kSuccess;
    }
    kept.committed.push_back(pages);
    return memory().Commit(pages);
  }
  os::Errno Decommit(os::PageRange) override { return os::kSuccess; }
  os::Errno Unmap(os::PageRange pages) override {
    if (!pages.empty()) Holding(pages).used = false;
    return os::kSuccess;
  }
  os::Errno Lock(os::PageRange) override { return os::kSuccess; }
  os::Errno Unlock(os::PageRange) override { return os::kSuccess; }

 private:
  struct Kept {
    os::PageRange pages;
    Access access;
    bool used;
    std::vector<os::PageRange> committed;
  };
  Kept& Holding(os::PageRange pages) {
    for (Kept& kept : kept_) {
      if (kept.pages.contains(pages.begin())) return kept;
    }
    std::abort();
  }

  std::vector<Kept> kept_;
};

void Xor(void* cookie, PageNumber, void* bytes) {
  for (uint32_t i = 0; i < *static_cast<uint32_t*>(cookie); ++i) {
    static_cast<uint8_t*>(bytes)[i] ^= 0x55;
  }
}

// A file, a pool over it, and the model.
class Subject {
 public:
  Subject(os::Memory& memory, const PoolConfig& config, bool filtered, std::vector<uint8_t> values)
      : memory_(memory),
        config_(config),
        filtered_(filtered),
        file_(Contents(values)),
        model_(values, filtered ? 0x55 : 0, config.zero_past_end) {
    Open();
  }
  ~Subject() {
    if (pool_ != nullptr) PoolCore::Close(pool_);
  }

  std::string Apply(const PoolOperation& operation) { return model_.Apply(*pool_, operation); }
  PagePoolModel& model() { return model_; }

  // Ends the pool; the file must hold one of the values that it may.
  std::string Close(bool sync) {
    std::string error = model_.UnpinAll(*pool_);
    if (error.empty() && sync) error = Apply({Kind::kSync});
    if (!error.empty()) return error;
    PoolCore::Close(std::exchange(pool_, nullptr));
    const std::vector<std::byte> contents = file_.contents();
    for (PageNumber page = 0; page < contents.size() / config_.page_size; ++page) {
      uint8_t value = static_cast<uint8_t>(contents[page * config_.page_size]);
      if (filtered_) value ^= 0x55;
      if (!model_.InFile(page).contains(value)) {
        return "the file's page " + std::to_string(page) + " holds " + std::to_string(value);
      }
    }
    return model_.Closed(static_cast<PageNumber>(contents.size() / config_.page_size));
  }
  void Open() {
    auto file = std::make_unique<os::testing::FaultyFile>(file_, no_faults_);
    const os::Result<PoolCore*> pool = PoolCore::Open(memory_, locker_, std::move(file), config_);
    if (!pool.ok()) std::abort();
    pool_ = *pool;
    if (filtered_) pool_->SetFilters({&Xor, &Xor, &config_.page_size});
  }
  // Whether every page can be had at once: no frame is lost.
  std::string PinAll() {
    std::string error = model_.UnpinAll(*pool_);
    for (PageNumber page = 0; page < model_.page_count() && error.empty(); ++page) {
      error = Apply({Kind::kPin, page});
    }
    return error.empty() ? model_.UnpinAll(*pool_) : error;
  }

 private:
  std::vector<std::byte> Contents(const std::vector<uint8_t>& values) const {
    std::vector<std::byte> contents;
    for (const uint8_t value : values) {
      contents.insert(contents.end(), config_.page_size,
                      static_cast<std::byte>(filtered_ ? value ^ 0x55 : value));
    }
    return contents;
  }

  os::Memory& memory_;
  PoolConfig config_;
  const bool filtered_;
  CountingLocker locker_;
  os::testing::FaultPlan no_faults_;
  FakeFile file_;
  PagePoolModel model_;
  PoolCore* pool_ = nullptr;
};

class PagePoolModelTest : public testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  bool zero_past_end() const { return std::get<0>(GetParam()); }
  bool filtered() const { return std::get<1>(GetParam()); }
  ReusedMemory memory_;
};

TEST_P(PagePoolModelTest, AgreesOnRandomLists) {
  std::mt19937_64 random(TestSeed());
  for (int list = 0; list < 400; ++list) {
    constexpr std::array<uint32_t, 4> kSizes = {1, 7, 64, 1000};
    PoolConfig config;
    config.page_size = kSizes[random() % kSizes.size()];
    config.pages_max = 1 + random() % 6;
    config.zero_past_end = zero_past_end();
    std::vector<uint8_t> values(random() % 8);
    for (uint8_t& value : values) value = static_cast<uint8_t>(random());
    Subject subject(memory_, config, filtered(), values);
    std::vector<uint8_t> bytes(3 * 120);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    std::span<const uint8_t> rest(bytes);
    std::string done;
    while (const std::optional<PoolOperation> operation = DecodeOperation(rest, 12)) {
      done += ToString(*operation) + ", ";
      const std::string error = subject.Apply(*operation);
      ASSERT_EQ(error, "") << "list " << list << ", " << config.pages_max << " frames: " << done;
    }
    ASSERT_EQ(subject.Close(list % 2 == 0), "") << "list " << list << ": " << done;
    subject.Open();
    ASSERT_EQ(subject.PinAll(), "") << "list " << list << ": " << done;
  }
}

// Eleven operations on three pages, of which the file has two.
PoolOperation ShortOperation(size_t index, const PagePoolModel& model, uint8_t value) {
  const auto page = static_cast<PageNumber>(index % 3);
  if (index < 3) return {model.pins(page) == 0 ? Kind::kPin : Kind::kUnpin, page, 0};
  if (index < 6) return {Kind::kChange, page, value};
  if (index < 9) return {Kind::kDelete, page, 0};
  return index == 9 ? PoolOperation{Kind::kNext, 0, value} : PoolOperation{Kind::kSync, 0, 0};
}
constexpr size_t kShortOperations = 11;
constexpr size_t kShortLength = kThreadSanitizer ? 4 : 5;

// Pages 0 and 1 are alike: of two lists that differ by their exchange, the one that uses 0 first.
bool IsFirstOfItsKind(size_t list) {
  for (size_t step = 0; step < kShortLength; ++step, list /= kShortOperations) {
    const size_t index = list % kShortOperations;
    if (index < 9 && index % 3 == 1) return false;
    if (index < 9 && index % 3 == 0) return true;
  }
  return true;
}

void RunShort(os::Memory& memory, uint64_t pages_max, size_t list) {
  PoolConfig config;
  config.page_size = 16;
  config.pages_max = pages_max;
  Subject subject(memory, config, /*filtered=*/false, {101, 102});
  std::string done;
  size_t rest = list;
  for (size_t step = 0; step < kShortLength; ++step, rest /= kShortOperations) {
    const PoolOperation operation =
        ShortOperation(rest % kShortOperations, subject.model(), static_cast<uint8_t>(200 + step));
    const std::string error = subject.Apply(operation);
    if (!error.empty()) done += ToString(operation) + ", ";
    ASSERT_EQ(error, "") << "list " << list << ", " << pages_max << " frames, step " << step << ": "
                         << done;
  }
  ASSERT_EQ(subject.Close(list % 2 == 0), "") << "list " << list << ", " << pages_max << " frames";
}

TEST(PagePoolExhaustive, AgreesOnEveryShortList) {
  size_t lists = 1;
  for (size_t i = 0; i < kShortLength; ++i) lists *= kShortOperations;
  ReusedMemory memory;
  for (const uint64_t pages_max : {1u, 2u}) {
    for (size_t list = 0; list < lists && !testing::Test::HasFatalFailure(); ++list) {
      if (IsFirstOfItsKind(list)) RunShort(memory, pages_max, list);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, PagePoolModelTest, testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param) ? "ZeroPastEnd"
                                                                      : "ErrorPastEnd") +
                                  (std::get<1>(each.param) ? "Filtered" : "Plain");
                         });

}  // namespace
}  // namespace test_support
