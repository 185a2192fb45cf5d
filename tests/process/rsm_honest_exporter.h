// Where hostile processes meet, and an exporter that plays by the rules: what they do to it, or to each
// other, must not change it.

#ifndef TESTS_PROCESS_RSM_HONEST_EXPORTER_H_
#define TESTS_PROCESS_RSM_HONEST_EXPORTER_H_

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/test_mapping.h"

namespace hostile {

// Of the segment, whose number is test_support::kSegment.
inline constexpr size_t kPages = 2;
inline constexpr uint32_t kTag = 5;
inline constexpr char kSocket[] = "00500001";
inline size_t Bytes() { return kPages * test_support::PageSize(); }

// Where segments are found, which is the working directory besides: paths of sockets must be short.
class Folder : public test_support::RsmFolder {
 public:
  explicit Folder(const std::string& parent = testing::TempDir()) : RsmFolder(parent) {
    EXPECT_EQ(chdir(path().c_str()), 0);
  }
  ~Folder() { EXPECT_EQ(chdir("/"), 0); }
};

// What an exporter is asked.
enum Order : uint64_t { kEnd, kCountDescriptors, kLook, kPost, kWait };

// A process with a segment of TaggedMemory.
class Exporter {
 public:
  explicit Exporter(int mode);
  // `publish` is called there.
  explicit Exporter(const std::function<void(rsm_memseg_export_handle_t)>& publish);

  uint64_t Ask(Order order) const;
  // All importers have gone, whatever they have done: nothing of them is left, and all goes on.
  void ExpectAsBefore(bool is_intact = true) const;
  // Others are served.
  static void ExpectServes();
  void End() const { (void)Ask(kEnd); }
  test_support::OtherProcess& process() { return process_; }
  const test_support::OtherProcess& process() const { return process_; }

 private:
  test_support::OtherProcess process_;
  uint64_t descriptors_ = 0;
};

}  // namespace hostile

#endif  // TESTS_PROCESS_RSM_HONEST_EXPORTER_H_
