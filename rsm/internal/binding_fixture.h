// Bindings for tests, and an importer of them.

#ifndef RSM_INTERNAL_BINDING_FIXTURE_H_
#define RSM_INTERNAL_BINDING_FIXTURE_H_

#include <cstddef>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/latch.h"
#include "os/memory_object.h"
#include "os/shared_mapping.h"
#include "rsm/internal/binding.h"
#include "rsm/internal/error.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {

inline testing::AssertionResult Fails(int code, int result, const std::string& words = "") {
  const std::string text = ErrorText();
  if (result == code && text.find(words) != text.npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << ErrorName(result) << ": " << text;
}
inline testing::AssertionResult Succeeds(int result) {
  if (result == RSM_SUCCESS) return testing::AssertionSuccess();
  return testing::AssertionFailure() << ErrorName(result) << ": " << ErrorText();
}

inline int BindAt(void* address, size_t pages, BoundRange& bound) {
  const os::LatchHolder holder(MemoryLatch());
  return Bind(address, pages * test_support::PageSize(), bound);
}
inline void UnbindIt(BoundRange& bound) {
  const os::LatchHolder holder(MemoryLatch());
  Unbind(bound);
}
inline int RenewIt(BoundRange& bound) {
  const os::LatchHolder holder(MemoryLatch());
  return Renew(bound);
}
inline void GiveUpIt(BoundRange& bound) {
  const os::LatchHolder holder(MemoryLatch());
  GiveUp(bound);
}
inline int RebindTo(BoundRange& bound, void* address) {
  const os::LatchHolder holder(MemoryLatch());
  return Rebind(bound, address);
}

// What an importer maps.
class Importer {
 public:
  explicit Importer(const BoundRange& bound) : bytes_(bound.bytes) {
    const Source source = bound.source();
    const os::Result<void*> view =
        os::MapShared(source.descriptor, source.offset, bytes_, os::View::kReadWrite);
    EXPECT_TRUE(view.ok()) << std::strerror(view.error().code());
    view_ = view.ok() ? *view : nullptr;
  }
  Importer(const Importer&) = delete;
  Importer& operator=(const Importer&) = delete;
  ~Importer() { EXPECT_TRUE(os::UnmapShared(view_, bytes_).ok()); }

  std::string text() const { return test_support::TextOf(view_, bytes_); }
  // Whether writes of each side reach the other.
  bool Shares(std::byte* memory) {
    auto* const view = static_cast<std::byte*>(view_);
    memory[1] = std::byte{'e'};
    view[2] = std::byte{'i'};
    const bool both = view[1] == std::byte{'e'} && memory[2] == std::byte{'i'};
    memory[1] = std::byte{'E'};
    view[2] = std::byte{'I'};
    const bool both_again = view[1] == std::byte{'E'} && memory[2] == std::byte{'I'};
    return both && both_again;
  }

 private:
  size_t bytes_;
  void* view_;
};

inline os::FileNumber ObjectOf(const BoundRange& bound) {
  return os::FileNumberOf(bound.source().descriptor).value();
}

class BindingTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 4;
  const size_t kBytes = kPages * test_support::PageSize();

  BindingTest() { test_support::FillPages(mapping_, kPages, "page "); }

  std::string Text() const { return test_support::TextOf(mapping_.page(0), kBytes); }
  test_support::MemoryState State() const {
    return test_support::MemoryState::Of(mapping_, 0, kPages);
  }

  test_support::TestMapping mapping_{kPages};
  BoundRange bound_;
};

// And memory that could take the place of that.
class RebindTest : public BindingTest {
 protected:
  RebindTest() { test_support::FillPages(other_, kPages, "other "); }
  test_support::MemoryState Other() const {
    return test_support::MemoryState::Of(other_, 0, kPages);
  }

  const test_support::TestMapping other_{kPages};
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_BINDING_FIXTURE_H_
