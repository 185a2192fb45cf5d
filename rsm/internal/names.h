// Names: where exporters are found, by the numbers of their segments.
//
// Each published segment has a socket in a folder, named by its number. The folder is /run/rsm where an
// administrator has made it, for processes of several users; else one for this user alone,
// /dev/shm/rsm.UID; the variable RSM_FOLDER names another. A process that is killed leaves its sockets
// there; whoever comes by next takes them away.
//
// Functions return RSMERR_ codes with Fail's text. Thread-safe.

#ifndef RSM_INTERNAL_NAMES_H_
#define RSM_INTERNAL_NAMES_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "os/folder.h"
#include "os/packet_socket.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {

class Names {
 public:
  // PERM_DENIED: the folder cannot be entered, or others could take its names away.
  // INSUFFICIENT_RESOURCES: it cannot be made, or there are no descriptors.
  static int Open(std::optional<Names>& names);

  // Listens at a name that nobody has; 0: at one that it chooses, from kChosenIdMin. SEGID_IN_USE: a
  // process listens there, or another user's has left it. INSUFFICIENT_RESOURCES: no descriptors.
  int Take(rsm_memseg_id_t& segment, os::PacketListener& listener) const;
  // Of one's own, while it is listened there still: else somebody may have taken it away, and another one
  // be there.
  void Release(rsm_memseg_id_t segment) const;

  // SEG_NOT_PUBLISHED: nobody listens there. PERM_DENIED: this user may not connect. Where too many wait
  // there already it waits until `deadline` for its turn; REMOTE_NODE_UNREACHABLE: it has not come.
  // INTERRUPTED: a signal came.
  int Connect(rsm_memseg_id_t segment, os::PacketConnection& connection,
              std::chrono::steady_clock::time_point deadline =
                  std::chrono::steady_clock::time_point::min()) const;

  // Of all that are there, live or not, in ascending order. INSUFFICIENT_RESOURCES, PERM_DENIED: the
  // folder cannot be read.
  int List(std::vector<rsm_memseg_id_t>& segments) const;
  const std::string& path() const { return path_; }

 private:
  Names(os::Folder folder, std::string path, uint32_t user)
      : folder_(std::move(folder)), path_(std::move(path)), user_(user) {}
  int TakeThis(rsm_memseg_id_t segment, os::PacketListener& listener) const;
  os::Result<os::FolderLock> Lock() const;
  int FailToLock(os::Errno error) const;
  // With the lock held: takes the name away if its process is gone. Whether it is free now.
  bool RemoveLeftOver(const std::string& name) const;

  os::Folder folder_;
  std::string path_;
  uint32_t user_;  // this process' when it was opened
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_NAMES_H_
