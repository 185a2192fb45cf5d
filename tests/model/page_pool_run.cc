#include "tests/model/page_pool_run.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "os/faulty_file.h"

namespace test_model {
namespace {

using mpool::internal::PageNumber;
using mpool::internal::PoolCore;
using os::testing::FaultPlan;
using Kind = PoolOperation::Kind;

constexpr uint8_t kFilter = 0x55;

void Xor(void* cookie, PageNumber, void* bytes) {
  for (uint32_t i = 0; i < *static_cast<uint32_t*>(cookie); ++i) {
    static_cast<uint8_t*>(bytes)[i] ^= kFilter;
  }
}

// What a loss of power leaves: of the pages that differ from what was synced, those whose bit is set
// were written in time.
std::vector<std::byte> WhatIsLeft(const os::testing::FakeFile& file, size_t page_size,
                                  uint8_t written) {
  std::vector<std::byte> left = file.synced();
  const std::vector<std::byte> contents = file.contents();
  left.resize(left.size() / page_size * page_size);
  for (size_t page = 0; page < contents.size() / page_size; ++page) {
    if ((written >> (page % 8) & 1) == 0) continue;
    const size_t begin = page * page_size;
    left.resize(std::max(left.size(), begin + page_size));
    std::copy_n(contents.begin() + static_cast<ptrdiff_t>(begin), page_size,
                left.begin() + static_cast<ptrdiff_t>(begin));
  }
  return left;
}

}  // namespace

PagePoolRun::PagePoolRun(PagePoolSurroundings& surroundings, const PoolSetup& setup)
    : surroundings_(surroundings), setup_(setup), page_size_(setup.config.page_size) {
  std::vector<std::byte> contents;
  for (const uint8_t value : setup.values) {
    contents.insert(contents.end(), page_size_,
                    static_cast<std::byte>(setup.filtered ? value ^ kFilter : value));
  }
  file_.emplace(std::move(contents));
  StartModel();
  Open();
}

PagePoolRun::~PagePoolRun() {
  if (pool_ != nullptr) PoolCore::Close(pool_);
}

void PagePoolRun::StartModel() {
  model_.emplace(setup_, InFile(), setup_.filtered ? kFilter : uint8_t{0}, plan_);
}

// The whole pages of the file, as they read.
std::vector<PagePoolModel::Values> PagePoolRun::InFile() const {
  const std::vector<std::byte> contents = file_->contents();
  std::vector<PagePoolModel::Values> pages(contents.size() / page_size_);
  for (size_t i = 0; i < pages.size() * page_size_; ++i) {
    const auto byte = static_cast<uint8_t>(contents[i]);
    pages[i / page_size_].insert(setup_.filtered ? byte ^ kFilter : byte);
  }
  return pages;
}

void PagePoolRun::Open() {
  auto file = std::make_unique<os::testing::FaultyFile>(*file_, plan_);
  const os::Result<PoolCore*> pool =
      PoolCore::Open(surroundings_.memory, locker_, std::move(file), setup_.config);
  if (!pool.ok()) std::abort();
  pool_ = *pool;
  if (setup_.filtered) pool_->SetFilters({&Xor, &Xor, &page_size_});
}

std::string PagePoolRun::Close(bool sync) {
  Disarm();
  std::string error = model_->UnpinAll(*pool_);
  if (error.empty() && sync) error = model_->Apply(*pool_, {Kind::kSync});
  if (!error.empty()) return error;
  PoolCore::Close(std::exchange(pool_, nullptr));
  if (locker_.bytes() != 0) return "memory is still locked";
  return model_->Closed(InFile());
}

// The power goes while the pool is in use; only the test puts the pins first.
std::string PagePoolRun::LosePower(uint8_t choice) {
  Disarm();
  if (std::string error = model_->UnpinAll(*pool_); !error.empty()) return error;
  PoolCore::Close(std::exchange(pool_, nullptr));
  file_.emplace(WhatIsLeft(*file_, page_size_, choice));
  if (std::string error = model_->LostPower(InFile()); !error.empty()) return error;
  StartModel();
  Open();
  return "";
}

std::string PagePoolRun::PinAll() {
  Disarm();
  std::string error = model_->UnpinAll(*pool_);
  for (PageNumber page = 0; page < model_->page_count() && error.empty(); ++page) {
    error = model_->Apply(*pool_, {Kind::kPin, page});
  }
  return error.empty() ? model_->UnpinAll(*pool_) : error;
}

void PagePoolRun::Arm(uint8_t choice) {
  Disarm();
  if (choice % 4 == 0) return;
  constexpr std::array<FaultPlan::Kind, 4> kKinds = {FaultPlan::Kind::kRead, FaultPlan::Kind::kRead,
                                                     FaultPlan::Kind::kWrite,
                                                     FaultPlan::Kind::kSync};
  fault_ = FaultPlan::Fault{.nth = 1u + (choice >> 2) % 4u,
                            .forever = (choice >> 4) % 2 == 1,
                            .half_done = (choice >> 5) % 2 == 1,
                            .kind = kKinds[choice % 4]};
  plan_.Arm(*fault_);
  model_->set_failing(true);
}

void PagePoolRun::Disarm() {
  plan_.Disarm();
  fault_.reset();
  model_->set_failing(false);
}

// After an operation: what has failed once fails no more.
void PagePoolRun::SettleFault() {
  if (!fault_ || !plan_.fired()) return;
  fault_fired_ = true;
  if (fault_->half_done && fault_->kind == FaultPlan::Kind::kWrite) model_->Tear();
  if (!fault_->forever) Disarm();
}

std::string PagePoolRun::Apply(const PoolOperation& operation) {
  std::string error;
  switch (operation.kind) {
    case Kind::kFault:
      Arm(operation.value);
      return "";
    case Kind::kPowerLoss:
      return LosePower(operation.value);
    case Kind::kReopen:
      error = Close(operation.value % 2 == 0);
      if (error.empty()) Open();
      return error;
    default:
      break;
  }
  const auto apply = [&] { error = model_->Apply(*pool_, operation); };
  if (operation.second_thread) {
    surroundings_.second_thread.Run(apply);
  } else {
    apply();
  }
  SettleFault();
  return error;
}

std::string RunPagePool(PagePoolSurroundings& surroundings, std::span<const uint8_t> bytes,
                        PoolCoverage& coverage) {
  const std::optional<PoolSetup> setup = TakePoolSetup(bytes);
  if (!setup) return "";
  PagePoolRun run(surroundings, *setup);
  std::string error;
  std::vector<PoolOperation> done;
  while (error.empty()) {
    const std::optional<PoolOperation> operation = TakePoolOperation(bytes);
    if (!operation) break;
    done.push_back(*operation);
    ++coverage.operations[static_cast<size_t>(operation->kind)];
    if (operation->second_thread) ++coverage.of_second_thread;
    error = run.Apply(*operation);
  }
  if (error.empty()) error = run.Close(/*sync=*/done.size() % 2 == 0);
  if (error.empty()) {
    run.Open();
    error = run.PinAll();
  }
  if (run.fault_fired()) ++coverage.faults_fired;
  if (error.empty()) return "";
  std::string text = ToString(*setup) + ": ";
  for (const PoolOperation& operation : done) text += ToString(operation) + ", ";
  return text + error;
}

}  // namespace test_model
