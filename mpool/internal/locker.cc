#include "mpool/internal/locker.h"

#include "pinlock/mpin.h"

namespace mpool::internal {
namespace {

class MpinLocker final : public Locker {
 public:
  os::Errno Lock(std::span<std::byte> bytes) override {
    return mpin(bytes.data(), bytes.size()) == 0 ? os::kSuccess : os::Errno::Last();
  }
  os::Errno Unlock(std::span<std::byte> bytes) override {
    return munpin(bytes.data(), bytes.size()) == 0 ? os::kSuccess : os::Errno::Last();
  }
  const char* ErrorText() const override { return mpin_error(); }
};

}  // namespace

Locker& PinLocker() {
  static MpinLocker locker;
  return locker;
}

}  // namespace mpool::internal
