// FaultyFile: another File whose calls fail as a FaultPlan says.
//
// What a caller makes of an I/O error, a full device or a failed sync is tested with it.

#ifndef OS_FAULTY_FILE_H_
#define OS_FAULTY_FILE_H_

#include "os/fault_plan.h"
#include "os/file.h"

namespace os::testing {

// A call that fails by the plan does not reach `file`, but for a half done WriteAt: that one writes
// the first half of its bytes, rounded down, before it fails. (The answer to that is ignored.)
//
// Thread-safety: as the File beneath. The caller keeps `file` and `plan` alive.
class FaultyFile final : public File {
 public:
  FaultyFile(File& file, FaultPlan& plan) : file_(file), plan_(plan) {}

  Result<uint64_t> Size() const override;
  Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override;
  Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override;
  Errno Sync() override;

 private:
  File& file_;
  FaultPlan& plan_;
};

}  // namespace os::testing

#endif  // OS_FAULTY_FILE_H_
