#include "tests/support/test_segment.h"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "os/memory.h"
#include "pinlock/mpin.h"
#include "tests/support/test_file.h"

namespace test_support {

testing::AssertionResult FailsWith(int code, int result, std::string_view words) {
  const std::string_view text = rsm_error();
  if (result == RSM_SUCCESS) return testing::AssertionFailure() << "it succeeded";
  if (result != code) {
    return testing::AssertionFailure()
           << "it is code " << result << ", not " << code << ": " << text;
  }
  if (text.empty() || text.find('\n') != text.npos || text.find(words) == text.npos) {
    return testing::AssertionFailure()
           << "rsm_error() is no line with \"" << words << "\": \"" << text << "\"";
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult Succeeds(int result) {
  if (result == RSM_SUCCESS) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "code " << result << ": " << rsm_error();
}

void Destroyer::operator()(rsm_memseg_export_handle_t segment) const {
  EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
}

void Disconnecter::operator()(rsm_memseg_import_handle_t segment) const {
  (void)rsm_memseg_import_unmap(segment);
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(segment)));
}

MemoryState MemoryState::Of(const TestMapping& mapping, size_t first, size_t pages) {
  MemoryState state;
  const os::PageRange range = mapping.range(first, pages);
  const auto found = os::RealMemory().MappingAt(range.begin());
  if (!found.ok() || !found->has_value() || (*found)->pages.begin() > range.begin()) {
    ADD_FAILURE() << "it is not mapped";
    return state;
  }
  state.is_shared = (*found)->shared;
  state.contents = TextOf(mapping.page(first), pages * PageSize());
  state.locks = KernelEvidence::Of(range);
  mpin_info info = {};
  EXPECT_EQ(mpin_query(mapping.page(first), pages * PageSize(), &info), 0) << mpin_error();
  state.pins_min = info.count_min;
  state.pins_max = info.count_max;
  return state;
}

std::ostream& operator<<(std::ostream& out, const MemoryState& state) {
  return out << (state.is_shared ? "shared" : "private") << " memory, pinned " << state.pins_min
             << " to " << state.pins_max << " times, with \"" << state.contents.substr(0, 16)
             << "\"; " << state.locks;
}

size_t CountDescriptors() {
  size_t count = 0;
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  while (const dirent* const entry = readdir(folder)) count += entry->d_name[0] != '.';
  (void)closedir(folder);
  return count - 1;  // the folder's own
}

DescriptorHog::DescriptorHog(size_t left) {
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
  const rlimit limit = {500, before_.rlim_max};
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0) << std::strerror(errno);
  for (int taken = dup(STDERR_FILENO); taken >= 0; taken = dup(STDERR_FILENO)) {
    taken_.push_back(taken);
  }
  EXPECT_EQ(errno, EMFILE);
  for (; left > 0; --left, taken_.pop_back()) (void)close(taken_.back());
}

DescriptorHog::~DescriptorHog() {
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0) << std::strerror(errno);
  for (const int taken : taken_) (void)close(taken);
}

void FillPages(const TestMapping& mapping, size_t pages, std::string_view text) {
  for (size_t page = 0; page < pages; ++page) {
    const std::string bytes = Filled(std::string(text) + std::to_string(page) + ".", PageSize());
    std::memcpy(mapping.page(page), bytes.data(), bytes.size());
  }
}

std::string TextOf(const void* address, size_t bytes) {
  return std::string(static_cast<const char*>(address), bytes);
}

RsmTest::RsmTest(const std::string& parent) : folder_(parent) {
  EXPECT_TRUE(Succeeds(rsm_get_controller(nullptr, &controller_)));
}

RsmTest::~RsmTest() {
  EXPECT_TRUE(Succeeds(rsm_release_controller(controller_)));
  EXPECT_EQ(folder_.CountNames(), 0u) << "a segment's name was left behind";
}

Export RsmTest::CreateAt(void* address, size_t bytes, uint_t flags) const {
  rsm_memseg_export_handle_t segment = nullptr;
  EXPECT_TRUE(Succeeds(rsm_memseg_export_create(controller_, &segment, address, bytes, flags)));
  return Export(segment);
}

Export RsmTest::Create(const TestMapping& mapping, size_t pages, uint_t flags) const {
  return CreateAt(mapping.page(0), pages * PageSize(), flags);
}

rsm_memseg_id_t RsmTest::Publish(const Export& segment, rsm_memseg_id_t number) const {
  EXPECT_TRUE(Succeeds(rsm_memseg_export_publish(segment.get(), &number, nullptr, 0)));
  return number;
}

rsm_memseg_id_t RsmTest::PublishFor(const Export& segment, rsm_permission_t mode) const {
  rsm_memseg_id_t number = 0;
  rsmapi_access_entry_t entry = {1, mode};
  EXPECT_TRUE(Succeeds(rsm_memseg_export_publish(segment.get(), &number, &entry, 1)));
  return number;
}

Import RsmTest::Connect(rsm_memseg_id_t number, rsm_permission_t permission) const {
  rsm_memseg_import_handle_t segment = nullptr;
  EXPECT_TRUE(Succeeds(rsm_memseg_import_connect(controller_, 1, number, permission, &segment)));
  Import import(segment);
  EXPECT_TRUE(Succeeds(rsm_memseg_import_set_mode(segment, RSM_BARRIER_MODE_EXPLICIT)));
  return import;
}

int RsmTest::TryToConnect(rsm_memseg_id_t number, rsm_permission_t permission) const {
  rsm_memseg_import_handle_t segment = nullptr;
  const int result = rsm_memseg_import_connect(controller_, 1, number, permission, &segment);
  if (result != RSM_SUCCESS) return result;
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(segment)));
  return result;
}

std::byte* MapAll(const Import& segment, size_t pages, rsm_permission_t permission) {
  void* address = nullptr;
  EXPECT_TRUE(Succeeds(rsm_memseg_import_map(segment.get(), &address, RSM_MAP_NONE, permission, 0,
                                             pages * PageSize())));
  return static_cast<std::byte*>(address);
}

std::string Get(const Import& segment, off_t offset, size_t bytes) {
  std::string text(bytes, '?');
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get(segment.get(), offset, text.data(), bytes)));
  return text;
}

int Put(const Import& segment, off_t offset, std::string_view bytes) {
  return rsm_memseg_import_put(segment.get(), offset, const_cast<char*>(bytes.data()),
                               bytes.size());
}

}  // namespace test_support
