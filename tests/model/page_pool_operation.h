// PoolSetup and PoolOperation: a pool, and something that happens to it, read off bytes.
//
// The randomised test makes the bytes from a seed, a fuzzer makes them by itself.

#ifndef TESTS_MODEL_PAGE_POOL_OPERATION_H_
#define TESTS_MODEL_PAGE_POOL_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpool/internal/pool_core.h"

namespace test_model {

struct PoolSetup {
  mpool::internal::PoolConfig config;
  bool filtered = false;        // pages are different in the file
  bool accesses = false;        // used as PagePool does: shared and exclusive; else as mpool.h does
  std::vector<uint8_t> values;  // of the file's pages
};

struct PoolOperation {
  enum class Kind : uint8_t {
    kPin,          // with accesses: shared, at once or not at all
    kPinForWrite,  // with accesses: exclusive, at once or not at all
    kUnpin,        // dirty where the page was scribbled on
    kScribble,     // change a pinned page, which is put later
    kChange,       // pin, change, put
    kPeek,         // without a pin
    kDelete,
    kNext,
    kRequest,
    kSync,
    kPrefetch,
    kFault,      // calls of the file fail from now on, or no longer
    kReopen,     // close the pool and open another one on the file
    kPowerLoss,  // the same, and some or all of what was not synced is gone
  };
  static constexpr size_t kKinds = static_cast<size_t>(Kind::kPowerLoss) + 1;

  Kind kind = Kind::kPin;
  mpool::internal::PageNumber page = 0;
  uint8_t value = 0;           // what the page holds afterwards, or what else there is to choose
  bool second_thread = false;  // who does it
};

inline constexpr size_t kPoolSetupBytes = 3;
inline constexpr size_t kPoolOperationBytes = 3;
inline constexpr mpool::internal::PageNumber kPoolPages = 12;  // operations are on these

// Take it off the front of `bytes`; nullopt where they are used up.
std::optional<PoolSetup> TakePoolSetup(std::span<const uint8_t>& bytes);
std::optional<PoolOperation> TakePoolOperation(std::span<const uint8_t>& bytes);

// On one line; the operation in C++, so that a failure can be repeated as a test.
std::string ToString(const PoolSetup& setup);
std::string ToString(const PoolOperation& operation);

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_POOL_OPERATION_H_
