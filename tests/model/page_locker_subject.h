// PageLockerSubject: a PageLocker over FakeMemory, and its model, to which the same is done.

#ifndef TESTS_MODEL_PAGE_LOCKER_SUBJECT_H_
#define TESTS_MODEL_PAGE_LOCKER_SUBJECT_H_

#include <cstdint>
#include <string>

#include "os/fake_limits.h"
#include "os/fake_memory.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "pinlock/internal/page_locker.h"
#include "tests/model/page_locker_model.h"
#include "tests/model/page_locker_operation.h"
#include "tests/support/other_thread.h"
#include "tests/support/table_memory.h"

namespace test_model {

// Who makes an Unlock, IoBegin or IoEnd.
inline PageLockerModel::Thread ThreadOf(const LockerOperation& operation) {
  return operation.bit(6) ? PageLockerModel::Thread::kSecond : PageLockerModel::Thread::kFirst;
}

class PageLockerSubject {
 public:
  PageLockerSubject() { MapAs(kUniverse, PageLockerModel::Kind::kAnonymous); }

  // Does it to both. Returns the difference; `answer` is what the locker said, where it was asked.
  std::string Apply(const LockerOperation& operation, std::string& answer);

 private:
  std::string Lock(const LockerOperation& operation);
  std::string Unlock(const LockerOperation& operation);
  std::string Refresh(const LockerOperation& operation);
  std::string Forget(os::PageRange range);
  std::string Move(const LockerOperation& operation);
  std::string Replace(const LockerOperation& operation);
  std::string DoIo(const LockerOperation& operation);
  std::string ChangeMemory(const LockerOperation& operation);
  void ChangeLimits(const LockerOperation& operation);
  void Fill(os::PageRange range);
  template <typename Call>
  os::Errno InThreadOf(const LockerOperation& operation, Call call) {
    if (ThreadOf(operation) == PageLockerModel::Thread::kFirst) return call();
    os::Errno answer;
    second_.Run([&] { answer = call(); });
    return answer;
  }
  void Arm(const LockerOperation& operation);

  pinlock::internal::ByteRange BytesOf(const LockerOperation& operation) const;
  pinlock::internal::ByteRange BytesOf(os::PageRange range) const {
    return {range.begin().address(fake_.page_size()), range.bytes(fake_.page_size())};
  }
  void MapAs(os::PageRange range, PageLockerModel::Kind kind);
  void MoveMemory(os::PageRange from, os::PageRange to);
  // Of the pages at 0, or of those that have counts.
  enum class Of { kUncounted, kCounted };
  PageLockerModel::Demand DemandOf(os::PageRange range, Of of = Of::kUncounted);
  // Whether the call may answer so. Where a call of the kernel was made to fail, any error will do.
  std::string Judge(const PageLockerModel::Answers& expected, os::Errno answer);
  bool faulted() const { return armed_ && plan_.fired(); }
  // Whether a call tries to unlock all of the residual pages; it tries no more than 16 runs at a time.
  bool RetriesAll() const { return model_.ResidualRuns() < 16; }
  void Observe();
  std::string Compare(os::PageRange range);
  std::string CompareCounts();

  os::testing::FakeMemory fake_;
  test_support::TableMemory tables_{fake_};
  os::testing::FaultPlan plan_;
  bool armed_ = false, forever_ = false;
  os::testing::FaultyMemory faulty_{tables_, plan_};
  pinlock::internal::LockerState state_;
  os::testing::FakeLimits limits_;
  pinlock::internal::PageLocker locker_{state_, faulty_, limits_};
  pinlock::internal::Failure failure_;
  PageLockerModel model_;
  test_support::OtherThread second_;
  uint64_t pins_ = 0, unpins_ = 0;
  std::string answer_;
};

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_LOCKER_SUBJECT_H_
