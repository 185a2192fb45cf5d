#include "mpool/internal/shared_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "mpool/internal/error_text.h"
#include "mpool/internal/open_file.h"

namespace mpool::internal {
namespace {

void WriteDown(const os::FileOrigin& origin, FileRecord& record) {
  record.device = origin.device;
  record.inode = origin.inode;
  record.flags = origin.flags;
  const size_t length = std::min(origin.path.size(), sizeof(record.path) - 1);
  std::memcpy(record.path, origin.path.data(), length);
  record.path[length] = 0;
}

}  // namespace

os::Result<os::OwnedDescriptor> OpenSharedFile(SharedRegion& region, int descriptor) {
  FileRecord& record = region.superblock().file;
  if (region.is_new()) {
    if (const auto usable = OpenPoolFile(descriptor); !usable.ok()) return usable.error();
    const os::Result<os::FileOrigin> origin = os::OriginOf(descriptor);
    if (!origin.ok()) return Failed(origin.error(), "descriptor %d is not open", descriptor);
    WriteDown(*origin, record);
    os::Result<os::OwnedDescriptor> copy = os::Duplicate(descriptor);
    if (!copy.ok()) return Failed(copy.error(), "no descriptor for the pool's file");
    return copy;
  }
  const os::FileOrigin origin{record.device, record.inode, record.flags,
                              std::string(record.path, strnlen(record.path, sizeof(record.path)))};
  os::Result<os::OwnedDescriptor> opened = os::Reopen(origin, origin.path);
  if (opened.ok()) return opened;
  const os::Result<os::FileOrigin> own = os::OriginOf(descriptor);
  if (own.ok() && own->device == origin.device && own->inode == origin.inode) {
    opened = os::Duplicate(descriptor);
    if (opened.ok()) return opened;
  }
  for (uint32_t i = 0; i < region.superblock().participants_used; ++i) {
    if (!region.IsAlive(i)) continue;
    const Participant& other = region.superblock().participants[i];
    opened = os::Reopen(origin, "/proc/" + std::to_string(other.process.pid) + "/fd/" +
                                    std::to_string(other.file_descriptor));
    if (opened.ok()) return opened;
  }
  return Failed(os::Errno(ESTALE),
                "the pool's file is no longer at %s, and cannot be had from its other processes; "
                "pass a descriptor of it",
                origin.path.c_str());
}

}  // namespace mpool::internal
