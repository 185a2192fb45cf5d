// Helpers for tests of rsmapi(7): segments that give themselves back, and what must not change.

#ifndef TESTS_SUPPORT_TEST_SEGMENT_H_
#define TESTS_SUPPORT_TEST_SEGMENT_H_

#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "os/page_range.h"
#include "rsm/rsmapi.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/test_mapping.h"

namespace test_support {

// Whether a call that returned `result` has failed with the code, and rsm_error() is one line that has
// these words.
testing::AssertionResult FailsWith(int code, int result, std::string_view words = "");
// With rsm_error()'s text where it has not.
testing::AssertionResult Succeeds(int result);

struct Destroyer {
  void operator()(rsm_memseg_export_handle_t segment) const;
};
using Export = std::unique_ptr<rsm_export_segment, Destroyer>;
// Unmaps it too.
struct Disconnecter {
  void operator()(rsm_memseg_import_handle_t segment) const;
};
using Import = std::unique_ptr<rsm_import_segment, Disconnecter>;

// What a call that fails leaves as it was, and what shows that a segment is bound. Compares and prints.
struct MemoryState {
  std::string contents;
  KernelEvidence locks;
  uint64_t pins_min = 0, pins_max = 0;  // mpin_query's
  bool is_shared = false;               // its first page

  static MemoryState Of(const TestMapping& mapping, size_t first, size_t pages);
  friend bool operator==(const MemoryState&, const MemoryState&) = default;
  friend std::ostream& operator<<(std::ostream& out, const MemoryState& state);
};

// Descriptors that this process has open.
size_t CountDescriptors();
// While one lives the process gets no more descriptors than that (RLIMIT_NOFILE). One at a time.
// Meanwhile no member of a test is called: UndefinedBehaviorSanitizer checks its class by a descriptor.
class DescriptorHog {
 public:
  explicit DescriptorHog(size_t left);
  DescriptorHog(const DescriptorHog&) = delete;
  DescriptorHog& operator=(const DescriptorHog&) = delete;
  ~DescriptorHog();

 private:
  rlimit before_ = {};
  std::vector<int> taken_;
};

// Each page of it holds Filled("<text><page>.").
void FillPages(const TestMapping& mapping, size_t pages, std::string_view text);
std::string TextOf(const void* address, size_t bytes);

// A controller, and a folder.
class RsmTest : public testing::Test {
 protected:
  // The folder is made below `parent`.
  explicit RsmTest(const std::string& parent = testing::TempDir());
  ~RsmTest() override;

  rsmapi_controller_handle_t controller() const { return controller_; }
  const RsmFolder& folder() const { return folder_; }

  // Where they cannot the test fails, and what they return is null, or 0.
  Export Create(const TestMapping& mapping, size_t pages, uint_t flags = 0) const;
  Export CreateAt(void* address, size_t bytes, uint_t flags = 0) const;
  // The number, chosen where none is given.
  rsm_memseg_id_t Publish(const Export& segment, rsm_memseg_id_t number = 0) const;
  // With one entry, for this node.
  rsm_memseg_id_t PublishFor(const Export& segment, rsm_permission_t mode) const;
  // In explicit mode: it needs no barrier.
  Import Connect(rsm_memseg_id_t number, rsm_permission_t permission = RSM_PERM_RDWR) const;
  // What connecting returns; a connection that comes about is ended.
  int TryToConnect(rsm_memseg_id_t number, rsm_permission_t permission = RSM_PERM_RDWR) const;

 private:
  const RsmFolder folder_;
  rsmapi_controller_handle_t controller_ = nullptr;
};

// Where the mapping is; null, and the test fails: it cannot be made.
std::byte* MapAll(const Import& segment, size_t pages, rsm_permission_t permission = RSM_PERM_RDWR);
// What get reads.
std::string Get(const Import& segment, off_t offset, size_t bytes);
int Put(const Import& segment, off_t offset, std::string_view bytes);

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEST_SEGMENT_H_
