#include "tests/model/page_pool_operation.h"

#include <array>

namespace test_model {
namespace {

using Kind = PoolOperation::Kind;

// The same kind several times is more frequent.
constexpr std::array<Kind, 32> kKindOf = {
    Kind::kPin,       Kind::kPin,         Kind::kPin,     Kind::kPin,    Kind::kPinForWrite,
    Kind::kUnpin,     Kind::kUnpin,       Kind::kUnpin,   Kind::kUnpin,  Kind::kUnpin,
    Kind::kScribble,  Kind::kChange,      Kind::kChange,  Kind::kChange, Kind::kPeek,
    Kind::kPeek,      Kind::kDelete,      Kind::kDelete,  Kind::kDelete, Kind::kNext,
    Kind::kNext,      Kind::kRequest,     Kind::kRequest, Kind::kSync,   Kind::kSync,
    Kind::kPrefetch,  Kind::kPrefetch,    Kind::kFault,   Kind::kFault,  Kind::kReopen,
    Kind::kPowerLoss, Kind::kPinForWrite,
};

constexpr std::array<const char*, PoolOperation::kKinds> kNames = {
    "kPin",  "kPinForWrite", "kUnpin", "kScribble", "kChange", "kPeek",   "kDelete",
    "kNext", "kRequest",     "kSync",  "kPrefetch", "kFault",  "kReopen", "kPowerLoss"};

}  // namespace

std::optional<PoolSetup> TakePoolSetup(std::span<const uint8_t>& bytes) {
  if (bytes.size() < kPoolSetupBytes) return std::nullopt;
  constexpr std::array<uint32_t, 4> kSizes = {1, 7, 64, 1000};
  const auto bit = [choice = bytes[0]](int index) { return (choice >> index & 1) != 0; };
  PoolSetup setup;
  setup.config.page_size = kSizes[bytes[0] % kSizes.size()];
  setup.config.zero_past_end = bit(2);
  setup.filtered = bit(3);
  setup.accesses = bit(4);
  setup.config.latched_hits = bit(5) && bit(6);
  setup.config.least_recently_used = bit(6) && bit(7);
  setup.config.pages_max = 1 + bytes[1] % 6;
  for (uint8_t page = 0; page < bytes[2] % 8; ++page) {
    setup.values.push_back(static_cast<uint8_t>(bytes[2] + 31 * page));
  }
  bytes = bytes.subspan(kPoolSetupBytes);
  return setup;
}

std::optional<PoolOperation> TakePoolOperation(std::span<const uint8_t>& bytes) {
  if (bytes.size() < kPoolOperationBytes) return std::nullopt;
  const PoolOperation operation{kKindOf[bytes[0] % kKindOf.size()], (bytes[1] & 127) % kPoolPages,
                                bytes[2], bytes[1] >= 128};
  bytes = bytes.subspan(kPoolOperationBytes);
  return operation;
}

std::string ToString(const PoolSetup& setup) {
  std::string text = std::to_string(setup.config.pages_max) + " frames of " +
                     std::to_string(setup.config.page_size) + " bytes, the file has";
  for (const uint8_t value : setup.values) text += " " + std::to_string(value);
  if (setup.config.zero_past_end) text += ", zero past end";
  if (setup.config.latched_hits) text += ", latched hits";
  if (setup.config.least_recently_used) text += ", LRU";
  if (setup.filtered) text += ", filtered";
  if (setup.accesses) text += ", shared and exclusive accesses";
  return text;
}

std::string ToString(const PoolOperation& operation) {
  return std::string("{Kind::") + kNames[static_cast<size_t>(operation.kind)] + ", " +
         std::to_string(operation.page) + ", " + std::to_string(operation.value) +
         (operation.second_thread ? ", true}" : "}");
}

}  // namespace test_model
