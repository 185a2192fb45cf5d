// rsm_get_controller(3), rsm_get_interconnect_topology(3), rsm_get_segmentid_range(3) and rsm_error(3),
// sentence by sentence.
//
// Codes of rsmapi(7) that no function returns: RSMERR_BAD_LIBRARY_VERSION, as there is one version;
// RSMERR_LOCKS_NOT_SUPPORTED and RSMERR_LOCKS_NOT_ENABLED, as words are always atomic;
// RSMERR_SEG_NOT_CONNECTED, as a handle is always of a connection.

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

extern "C" int ShareAPageFromC(void* page, size_t bytes);

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::Get;
using test_support::Import;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;

using RsmController = test_support::RsmTest;

TEST_F(RsmController, IsLoopbackWhichNullMeansToo) {
  rsmapi_controller_handle_t handle = nullptr;
  char name[] = "loopback";
  ASSERT_TRUE(Succeeds(rsm_get_controller(name, &handle)));
  EXPECT_NE(handle, nullptr);
  EXPECT_TRUE(Succeeds(rsm_release_controller(handle)));
  ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &handle)));
  EXPECT_TRUE(Succeeds(rsm_release_controller(handle)));
}

TEST_F(RsmController, FailsWithCtlrNotPresentForAnyOtherName) {
  rsmapi_controller_handle_t handle = nullptr;
  for (const std::string name : {"", "loop", "loopback0", "wrsmd0"}) {
    EXPECT_TRUE(FailsWith(RSMERR_CTLR_NOT_PRESENT,
                          rsm_get_controller(const_cast<char*>(name.c_str()), &handle),
                          "no controller \"" + name + "\"; this machine has \"loopback\" alone"));
  }
  EXPECT_EQ(handle, nullptr);
}

TEST_F(RsmController, FailsWithBadAddrWhereThereIsNoPlaceForTheHandle) {
  char name[] = "none";
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_get_controller(nullptr, nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_get_controller(name, nullptr)));
}

TEST_F(RsmController, IsReleasedOnceForEachGet) {
  rsmapi_controller_handle_t one = nullptr, two = nullptr;
  ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &one)));
  ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &two)));
  ASSERT_TRUE(Succeeds(rsm_release_controller(one)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_release_controller(one)));
  rsmapi_controller_attr_t attributes = {};
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_get_controller_attr(one, &attributes)));
  EXPECT_TRUE(Succeeds(rsm_get_controller_attr(two, &attributes)));
  ASSERT_TRUE(Succeeds(rsm_release_controller(two)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_release_controller(two)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_release_controller(nullptr)));
}

TEST_F(RsmController, IsNotNeededByWhoHasASegment) {
  const TestMapping mapping(1);
  rsmapi_controller_handle_t other = nullptr;
  ASSERT_TRUE(Succeeds(rsm_get_controller(nullptr, &other)));
  rsm_memseg_export_handle_t exported = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_export_create(other, &exported, mapping.page(0), PageSize(), 0)));
  const Export segment(exported);
  const rsm_memseg_id_t number = Publish(segment);
  rsm_memseg_import_handle_t imported = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_connect(other, 1, number, RSM_PERM_READ, &imported)));
  const Import remote(imported);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(imported, RSM_BARRIER_MODE_EXPLICIT)));
  ASSERT_TRUE(Succeeds(rsm_release_controller(other)));
  mapping.page(0)[0] = std::byte{'x'};
  EXPECT_EQ(Get(remote, 0, 1), "x");
}

TEST_F(RsmController, TellsItsAttributes) {
  rsmapi_controller_attr_t attributes = {};
  ASSERT_TRUE(Succeeds(rsm_get_controller_attr(controller(), &attributes)));
  constexpr uint_t kAllSizes = RSM_DAS8 | RSM_DAS16 | RSM_DAS32 | RSM_DAS64;
  EXPECT_EQ(attributes.attr_direct_access_sizes, kAllSizes);
  EXPECT_EQ(attributes.attr_atomic_sizes, kAllSizes);
  EXPECT_EQ(attributes.attr_page_size, PageSize());
  EXPECT_GE(attributes.attr_max_export_segment_size, size_t{1} << 30);
  EXPECT_GE(attributes.attr_tot_export_segment_size, attributes.attr_max_export_segment_size);
  EXPECT_GT(attributes.attr_max_export_segments, 0u);
  EXPECT_GE(attributes.attr_max_import_map_size, attributes.attr_max_export_segment_size);
  EXPECT_GE(attributes.attr_tot_import_map_size, attributes.attr_max_import_map_size);
  EXPECT_GT(attributes.attr_max_import_segments, 0u);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_get_controller_attr(controller(), nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_get_controller_attr(nullptr, nullptr)))
      << "which comes first";
}

// --- Topology -----------------------------------------------------------------------------------

TEST_F(RsmController, IsTheTopologyConnectedWithItself) {
  rsm_topology_t* topology = nullptr;
  ASSERT_TRUE(Succeeds(rsm_get_interconnect_topology(&topology)));
  EXPECT_EQ(topology->topology_hdr.local_nodeid, 1u);
  ASSERT_EQ(topology->topology_hdr.local_cntlr_count, 1u);
  const rsm_connections_t& connection = *topology->connections[0];
  EXPECT_STREQ(connection.hdr.cntlr_name, "loopback");
  ASSERT_EQ(connection.hdr.remote_cntlr_count, 1);
  const rsm_remote_cntlr_t& remote = connection.remote_cntlr[0];
  EXPECT_EQ(remote.remote_nodeid, topology->topology_hdr.local_nodeid);
  EXPECT_STREQ(remote.remote_cntlrname, "loopback");
  EXPECT_EQ(remote.remote_hwaddr, connection.hdr.local_hwaddr);
  EXPECT_EQ(remote.connection_state, uint_t{RSM_CONNECTION_ACTIVE});
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  rsm_memseg_import_handle_t handle = nullptr;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_connect(controller(), remote.remote_nodeid,
                                                 Publish(segment), RSM_PERM_READ, &handle)));
  const Import disconnected(handle);
  rsm_free_interconnect_topology(topology);
}

TEST_F(RsmController, TopologyFailsWithBadTopologyPtrAtNull) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_TOPOLOGY_PTR, rsm_get_interconnect_topology(nullptr)));
  rsm_free_interconnect_topology(nullptr);
}

// --- Ranges of numbers --------------------------------------------------------------------------

class RsmSegmentidRange : public test_support::RsmTest {
 protected:
  RsmSegmentidRange() { EXPECT_EQ(setenv("RSM_SEGMENTID_FILE", path_.c_str(), 1), 0); }
  ~RsmSegmentidRange() override {
    (void)unsetenv("RSM_SEGMENTID_FILE");
    (void)unlink(path_.c_str());
  }
  void Write(const std::string& text) const { std::ofstream(path_) << text; }
  int Read(const char* application) {
    return rsm_get_segmentid_range(application, &base_, &length_);
  }

  const std::string path_ = folder().path() + "/.segmentid";
  rsm_memseg_id_t base_ = 7;
  uint32_t length_ = 7;
};

TEST_F(RsmSegmentidRange, IsThatOfTheFile) {
  Write("#keyword appid baseid length\nreserved SUNWfoo 0x600000 1000\nreserved\tbar\t500000\t1\n");
  ASSERT_TRUE(Succeeds(Read("SUNWfoo")));
  EXPECT_EQ(base_, 0x600000u);
  EXPECT_EQ(length_, 1000u);
  ASSERT_TRUE(Succeeds(Read("bar")));
  EXPECT_EQ(base_, 0x500000u);
  EXPECT_EQ(length_, 1u);
}

TEST_F(RsmSegmentidRange, FailsWithBadAppidWhereTheApplicationIsNotThere) {
  Write("reserved SUNWfoo 0x600000 1000\n");
  for (const char* const application : {"SUNWfo", "SUNWfooo", "sunwfoo", ""}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_APPID, Read(application), path_));
  }
  EXPECT_EQ(base_, 7u);
  EXPECT_EQ(length_, 7u);
}

TEST_F(RsmSegmentidRange, FailsWithBadConfWhereTheFileIsNoneOrNotOfThatForm) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CONF, Read("SUNWfoo"), "No such file"));
  Write("# a comment\nreserved SUNWfoo 600000\n");
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CONF, Read("SUNWfoo"), path_ + ":2: four columns"));
  EXPECT_EQ(base_, 7u);
}

TEST_F(RsmSegmentidRange, FailsWithBadAddrAtNull) {
  Write("reserved SUNWfoo 0x600000 1000\n");
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Read(nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_get_segmentid_range("SUNWfoo", nullptr, &length_)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_get_segmentid_range("SUNWfoo", &base_, nullptr)));
}

// --- rsm_error ----------------------------------------------------------------------------------

TEST_F(RsmController, HasItsErrorsInWordsForEachThread) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_release_controller(nullptr)));
  const std::string text = rsm_error();
  std::thread([] {
    EXPECT_STREQ(rsm_error(), "") << "before the first failure";
    EXPECT_TRUE(FailsWith(RSMERR_BAD_TOPOLOGY_PTR, rsm_get_interconnect_topology(nullptr)));
  }).join();
  EXPECT_EQ(rsm_error(), text);
  rsmapi_controller_handle_t handle = nullptr;
  ASSERT_EQ(rsm_get_controller(nullptr, &handle), RSM_SUCCESS);
  ASSERT_EQ(rsm_release_controller(handle), RSM_SUCCESS);
  EXPECT_EQ(rsm_error(), text) << "a success leaves it";
}

TEST_F(RsmController, ServesAProgramInC) {
  const TestMapping mapping(1);
  EXPECT_EQ(ShareAPageFromC(mapping.page(0), PageSize()), 0) << rsm_error();
}

}  // namespace
