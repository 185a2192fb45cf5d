// PagePoolRun: a pool on a file in memory, and its model, doing the same.

#ifndef TESTS_MODEL_PAGE_POOL_RUN_H_
#define TESTS_MODEL_PAGE_POOL_RUN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "mpool/internal/pool_core.h"
#include "os/fake_file.h"
#include "os/fault_plan.h"
#include "tests/model/page_pool_model.h"
#include "tests/model/page_pool_operation.h"
#include "tests/model/reused_memory.h"
#include "tests/support/counting_locker.h"
#include "tests/support/other_thread.h"

namespace test_model {

// What several runs one after another share, as to make it takes longer than a run.
struct PagePoolSurroundings {
  ReusedMemory memory;
  test_support::OtherThread second_thread;
};

class PagePoolRun {
 public:
  PagePoolRun(PagePoolSurroundings& surroundings, const PoolSetup& setup);
  ~PagePoolRun();
  PagePoolRun(const PagePoolRun&) = delete;
  PagePoolRun& operator=(const PagePoolRun&) = delete;

  // Does it to both. "" where they agree, else what is wrong.
  std::string Apply(const PoolOperation& operation);
  // Puts all pins, ends the pool and looks at the file. `sync`: before that.
  std::string Close(bool sync);
  void Open();
  // Whether every page can be had at once: no frame is lost.
  std::string PinAll();

  const PagePoolModel& model() const { return *model_; }
  bool fault_fired() const { return fault_fired_; }

 private:
  void Arm(uint8_t choice);
  void Disarm();
  void SettleFault();
  std::string LosePower(uint8_t choice);
  std::vector<PagePoolModel::Values> InFile() const;
  void StartModel();

  PagePoolSurroundings& surroundings_;
  const PoolSetup setup_;
  uint32_t page_size_;  // the filter's cookie
  test_support::CountingLocker locker_;
  os::testing::FaultPlan plan_;
  std::optional<os::testing::FaultPlan::Fault> fault_;
  bool fault_fired_ = false;
  std::optional<os::testing::FakeFile> file_;
  std::optional<PagePoolModel> model_;
  mpool::internal::PoolCore* pool_ = nullptr;
};

// What has happened in some runs: operations of each kind, those of the second thread, and faults.
struct PoolCoverage {
  std::array<uint64_t, PoolOperation::kKinds> operations = {};
  uint64_t of_second_thread = 0;
  uint64_t faults_fired = 0;
};

// Runs the operations in `bytes`, and closes the pool and opens it again at the end. Returns them in
// words up to the first difference, and that; empty where there is none.
std::string RunPagePool(PagePoolSurroundings& surroundings, std::span<const uint8_t> bytes,
                        PoolCoverage& coverage);

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_POOL_RUN_H_
