#include "rsm/internal/names.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <random>

#include "os/poll.h"
#include "os/shared_object.h"
#include "rsm/internal/access.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

constexpr const char* kAdministratorsFolder = "/run/rsm";
constexpr auto kNoDescriptors = os::PacketListener::Descriptors::kRefused;
constexpr int kTriesMax = 100;
constexpr std::chrono::milliseconds kTimeBetweenTries{2};

std::string NameOf(rsm_memseg_id_t segment) {
  char name[16];
  (void)std::snprintf(name, sizeof(name), "%08x", segment);
  return name;
}

std::string LockFileOf(uint32_t user) { return ".lock." + std::to_string(user); }

std::optional<rsm_memseg_id_t> SegmentOf(const std::string& name) {
  rsm_memseg_id_t segment = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data(), end, segment, 16);
  if (error != std::errc() || rest != end || NameOf(segment) != name) return std::nullopt;
  return segment;
}

// Whether nobody but its owner, who is root or this user, can take another's names away.
bool IsTrusted(const os::Folder& folder, uint32_t user) {
  constexpr uint32_t kWritableForOthers = 0022, kSticky = 01000;
  const bool is_owned = folder.owner() == 0 || folder.owner() == user;
  return is_owned && ((folder.mode() & kWritableForOthers) == 0 || (folder.mode() & kSticky) != 0);
}

int FailToOpen(const std::string& path, os::Errno error) {
  const bool denied = error == os::Errno(EACCES) || error == os::Errno(EPERM);
  return Fail(denied ? RSMERR_PERM_DENIED : RSMERR_INSUFFICIENT_RESOURCES,
              "the folder %s, where segments are found: %s%s", path.c_str(),
              std::strerror(error.code()),
              denied ? "; it must be this user's alone, or root's and sticky" : "");
}

}  // namespace

int Names::Open(std::optional<Names>& names) {
  const uint32_t user = os::CurrentUser();
  std::string path = os::EnvironmentOf("RSM_FOLDER");
  const bool is_given = !path.empty();
  if (!is_given) path = kAdministratorsFolder;
  os::Result<os::Folder> folder = os::Folder::Open(path);
  const bool is_closed_to_us =
      folder.error() == os::Errno(ENOENT) || folder.error() == os::Errno(EACCES);
  if (!is_given && is_closed_to_us) {
    path = "/dev/shm/rsm." + std::to_string(user);
    folder = os::Folder::OpenPrivate(path);
  }
  if (folder.ok() && !IsTrusted(*folder, user)) folder = os::Errno(EACCES);
  if (!folder.ok()) return FailToOpen(path, folder.error());
  names = Names(std::move(*folder), std::move(path), user);
  return RSM_SUCCESS;
}

// Held by who takes a name, or takes away what is left of one, so that nobody takes a socket that is not
// listened at yet for a dead one. A folder of several users has a lock for each, which others cannot hold.
os::Result<os::FolderLock> Names::Lock() const {
  constexpr uint32_t kForOthers = 0077;
  if (folder_.owner() == user_ && (folder_.mode() & kForOthers) == 0) return folder_.Lock();
  return folder_.LockFile(LockFileOf(user_));
}

int Names::FailToLock(os::Errno error) const {
  const std::string name = LockFileOf(user_);
  const os::Result<uint32_t> owner = folder_.OwnerOf(name);
  if (error != os::Errno(EACCES) || !owner.ok()) return FailToOpen(path_, error);
  return Fail(
      RSMERR_PERM_DENIED,
      "%s/%s, which this user's processes lock, is user %u's, or no file; that user or root "
      "must remove it, or set RSM_FOLDER to another folder",
      path_.c_str(), name.c_str(), *owner);
}

bool Names::RemoveLeftOver(const std::string& name) const {
  const os::Result<uint32_t> owner = folder_.OwnerOf(name);
  if (!owner.ok()) return owner.error() == os::Errno(ENOENT);
  if (*owner != user_) return false;
  const os::Result<os::PacketConnection> probe =
      os::PacketConnection::Connect(folder_.PathOf(name));
  if (probe.ok()) return false;
  if (probe.error() == os::Errno(ENOENT)) return true;
  return probe.error() == os::Errno(ECONNREFUSED) && folder_.Unlink(name).ok();
}

int Names::TakeThis(rsm_memseg_id_t segment, os::PacketListener& listener) const {
  const os::Result<os::FolderLock> lock = Lock();
  if (!lock.ok()) return FailToLock(lock.error());
  const std::string name = NameOf(segment);
  const std::string path = folder_.PathOf(name);
  os::Result<os::PacketListener> made = os::PacketListener::Listen(path, kNoDescriptors);
  if (made.error() == os::Errno(EADDRINUSE) && RemoveLeftOver(name)) {
    made = os::PacketListener::Listen(path, kNoDescriptors);
  }
  if (made.ok()) {
    listener = std::move(*made);
    return RSM_SUCCESS;
  }
  const os::Errno error = made.error();
  if (error == os::Errno(EADDRINUSE)) {
    return Fail(RSMERR_SEGID_IN_USE,
                "segment 0x%x is published already, or its name %s/%s is left of another user's "
                "process",
                segment, path_.c_str(), name.c_str());
  }
  const bool denied = error == os::Errno(EACCES) || error == os::Errno(EROFS);
  return Fail(denied ? RSMERR_PERM_DENIED : RSMERR_INSUFFICIENT_RESOURCES, "the socket %s/%s: %s",
              path_.c_str(), name.c_str(), std::strerror(error.code()));
}

int Names::Take(rsm_memseg_id_t& segment, os::PacketListener& listener) const {
  if (segment != 0) return TakeThis(segment, listener);
  std::random_device random;
  int error = RSM_SUCCESS;
  for (int i = 0; i < kTriesMax; ++i) {
    const rsm_memseg_id_t chosen = kChosenIdMin | random();
    error = TakeThis(chosen, listener);
    if (error == RSM_SUCCESS) segment = chosen;
    if (error != RSMERR_SEGID_IN_USE) return error;
  }
  return error;
}

void Names::Release(rsm_memseg_id_t segment) const { (void)folder_.Unlink(NameOf(segment)); }

int Names::Connect(rsm_memseg_id_t segment, os::PacketConnection& connection,
                   std::chrono::steady_clock::time_point deadline) const {
  const std::string name = NameOf(segment);
  const std::string path = folder_.PathOf(name);
  os::Result<os::PacketConnection> made = os::PacketConnection::Connect(path);
  // The kernel does not tell when there is room again.
  while (made.error() == os::Errno(EAGAIN) && std::chrono::steady_clock::now() < deadline) {
    const auto next = std::chrono::steady_clock::now() + kTimeBetweenTries;
    if (os::WaitForDescriptors({}, std::min(next, deadline)) == os::Errno(EINTR)) {
      return Fail(RSMERR_INTERRUPTED, "a signal came before the exporter of segment 0x%x answered",
                  segment);
    }
    made = os::PacketConnection::Connect(path);
  }
  if (made.ok()) {
    connection = std::move(*made);
    return RSM_SUCCESS;
  }
  const os::Errno error = made.error();
  if (error == os::Errno(ECONNREFUSED)) {
    if (const os::Result<os::FolderLock> lock = Lock(); lock.ok()) (void)RemoveLeftOver(name);
  }
  if (error == os::Errno(ECONNREFUSED) || error == os::Errno(ENOENT)) {
    return Fail(RSMERR_SEG_NOT_PUBLISHED, "segment 0x%x is not published: nobody listens at %s/%s",
                segment, path_.c_str(), name.c_str());
  }
  if (error == os::Errno(EACCES)) {
    return Fail(RSMERR_PERM_DENIED, "%s/%s: %s", path_.c_str(), name.c_str(),
                std::strerror(error.code()));
  }
  if (error == os::Errno(EAGAIN)) {
    return Fail(RSMERR_REMOTE_NODE_UNREACHABLE,
                "the exporter of segment 0x%x does not answer; many wait for it already", segment);
  }
  return Fail(RSMERR_INSUFFICIENT_RESOURCES, "%s/%s: %s", path_.c_str(), name.c_str(),
              std::strerror(error.code()));
}

int Names::List(std::vector<rsm_memseg_id_t>& segments) const {
  const os::Result<std::vector<std::string>> names = folder_.List();
  if (!names.ok()) return FailToOpen(path_, names.error());
  segments.clear();
  for (const std::string& name : *names) {
    if (const std::optional<rsm_memseg_id_t> segment = SegmentOf(name))
      segments.push_back(*segment);
  }
  std::ranges::sort(segments);
  return RSM_SUCCESS;
}

}  // namespace rsm::internal
