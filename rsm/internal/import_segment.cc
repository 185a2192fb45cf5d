#include "rsm/internal/import_segment.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "os/memory.h"
#include "os/memory_object.h"
#include "os/shared_object.h"
#include "os/wait_words.h"
#include "rsm/internal/access.h"
#include "rsm/internal/error.h"
#include "rsm/internal/names.h"

namespace rsm::internal {
namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr std::chrono::seconds kTimeToAnswer{5};
Time TimeOfTheAnswer() { return std::chrono::steady_clock::now() + kTimeToAnswer; }

constinit ImportTable imports;

// All that are connected, for fork and for barriers of a node.
std::vector<ImportSegment*>& Connected() {
  static auto* const connected = new std::vector<ImportSegment*>();
  return *connected;
}
constinit uint64_t aborted_count ABSL_GUARDED_BY(import_latch) = 0;

// Sends a request and waits for the reply.
int AskExporter(const Request& request, const os::PacketConnection& connection, Time deadline,
                Reply& reply, std::vector<os::OwnedDescriptor>& files) {
  os::Errno error = connection.Send(std::as_bytes(std::span(&request, 1)), {});
  if (error.ok()) {
    const os::Result<size_t> got =
        connection.Receive(std::as_writable_bytes(std::span(&reply, 1)), files, deadline);
    error = got.error();
    if (got.ok() && (*got != sizeof(reply) || reply.magic != kMagic)) error = os::Errno(EPROTO);
    // It ends the connection where the segment was unpublished meanwhile.
    if (got.ok() && *got == 0) error = os::Errno(ECONNRESET);
  }
  switch (error.code()) {
    case 0:
      return RSM_SUCCESS;
    case EINTR:
      return Fail(RSMERR_INTERRUPTED, "a signal came before the exporter of segment 0x%x answered",
                  request.segment);
    case ETIMEDOUT:
      return Fail(RSMERR_REMOTE_NODE_UNREACHABLE,
                  "the exporter of segment 0x%x does not answer; is its process stopped?",
                  request.segment);
    case ECONNRESET:
    case EPIPE:
      return Fail(RSMERR_CONN_ABORTED, "the exporter of segment 0x%x ended the connection",
                  request.segment);
    case EPROTO:
    case EMSGSIZE:
      return Fail(RSMERR_CONN_ABORTED,
                  "the exporter of segment 0x%x speaks another version of this library",
                  request.segment);
    default:
      return Fail(RSMERR_INSUFFICIENT_RESOURCES, "segment 0x%x: %s", request.segment,
                  std::strerror(error.code()));
  }
}

int FailAsRefused(rsm_memseg_id_t segment, int error) {
  switch (error) {
    case RSMERR_SEG_NOT_PUBLISHED_TO_NODE:
      return Fail(error, "the access list of segment 0x%x does not have this node", segment);
    case RSMERR_PERM_DENIED:
      return Fail(error, "the access list of segment 0x%x does not allow that to this user",
                  segment);
    case RSMERR_SEG_NOT_PUBLISHED:
      return Fail(error, "segment 0x%x is being unpublished", segment);
    case RSMERR_INSUFFICIENT_RESOURCES:
      return Fail(error, "the exporter of segment 0x%x has no descriptors or connections left",
                  segment);
    default:
      return Fail(RSMERR_CONN_ABORTED, "the exporter of segment 0x%x refused with code %d", segment,
                  error);
  }
}

// The page of the connection, and what is mapped.
size_t CountFiles(const Reply& reply) { return reply.sysv < 0 ? 2 : 1; }

}  // namespace

ImportTable& Imports() { return imports; }

int ImportSegment::Connect(rsm_memseg_id_t segment, rsm_permission_t permission,
                           std::shared_ptr<ImportSegment>& out) {
  auto made = std::make_shared<ImportSegment>();
  made->segment_ = segment;
  made->permission_ = permission;
  std::optional<Names> names;
  if (const int error = Names::Open(names); error != RSM_SUCCESS) return error;
  const Time deadline = TimeOfTheAnswer();
  os::PacketConnection connection;
  int error = names->Connect(segment, connection, deadline);
  if (error == RSM_SUCCESS) error = made->Ask(segment, connection, deadline);
  if (error != RSM_SUCCESS) return error;
  const os::LatchHolder holder(import_latch);
  Connected().push_back(made.get());
  out = std::move(made);
  return RSM_SUCCESS;
}

int ImportSegment::Ask(rsm_memseg_id_t segment, os::PacketConnection& connection, Time deadline) {
  Request request;
  request.node = kLocalNode;
  request.segment = segment;
  request.permission = permission_;
  Reply reply;
  std::vector<os::OwnedDescriptor> files;
  if (const int error = AskExporter(request, connection, deadline, reply, files);
      error != RSM_SUCCESS) {
    return error;
  }
  if (reply.error != RSM_SUCCESS) return FailAsRefused(segment, reply.error);
  if (files.size() < CountFiles(reply)) {
    // Those for which there was no room were dropped.
    const os::Result<os::OwnedDescriptor> one_more = os::Duplicate(connection.descriptor());
    if (!one_more.ok()) {
      return Fail(RSMERR_INSUFFICIENT_RESOURCES, "descriptors of segment 0x%x: %s", segment,
                  std::strerror(one_more.error().code()));
    }
  }
  const os::Result<os::PacketConnection::Peer> exporter = connection.OtherSide();
  if (!exporter.ok()) return FailAsAborted();
  const bool is_trusted = exporter->user == 0 || exporter->user == os::CurrentUser();
  const int error = TakeReply(reply, files, {exporter->user, exporter->group}, is_trusted);
  if (error != RSM_SUCCESS) return error;
  socket_ = std::move(connection);
  return CheckConnected();
}

// An object that can shrink under us would have us killed by SIGBUS, and the number of a segment of
// shmget(2) may be that of one which the exporter cannot attach, but we can. A process of this user, or
// root, could kill us anyway.
int ImportSegment::TakeReply(const Reply& reply, std::vector<os::OwnedDescriptor>& files,
                             const os::SysVUser& exporter, bool exporter_is_trusted) {
  const bool has_file = reply.sysv < 0;
  const size_t page_size = os::RealMemory().page_size();
  const bool is_sane = files.size() == CountFiles(reply) && reply.bytes > 0 &&
                       reply.bytes <= SIZE_MAX / 2 && reply.offset <= SIZE_MAX / 2 &&
                       reply.bytes % page_size == 0 && reply.offset % page_size == 0;
  const uint64_t end = is_sane ? reply.offset + reply.bytes : 0;
  if (!is_sane || !os::IsFixedObject(files[0].get(), kConnectionPageBytes) ||
      (has_file && !exporter_is_trusted && !os::IsFixedObject(files[1].get(), end))) {
    return Fail(RSMERR_CONN_ABORTED,
                "the exporter of segment 0x%x answers what it should not, or its memory can shrink",
                segment_);
  }
  if (!has_file && reply.sysv_namespace != os::SysVNamespace()) {
    return Fail(RSMERR_PERM_DENIED,
                "segment 0x%x is memory of shmget(2) in another IPC namespace, where it cannot be "
                "attached; its exporter must use other memory",
                segment_);
  }
  const os::Result<void*> page =
      os::MapUntouched(files[0].get(), 0, kConnectionPageBytes, os::View::kReadWrite);
  if (!page.ok()) return FailToMap(page.error());
  page_ = static_cast<ConnectionPage*>(*page);
  offset_ = reply.offset;
  bytes_ = reply.bytes;
  window_end_.store(bytes_, std::memory_order_relaxed);
  sysv_ = reply.sysv;
  if (has_file) file_ = std::move(files[1]);
  const os::View view =
      (permission_ & RSM_PERM_WRITE) != 0 ? os::View::kReadWrite : os::View::kReadOnly;
  const os::Result<void*> mapped =
      has_file ? os::MapShared(file_.get(), offset_, bytes_, view)
               : os::MapSysV(sysv_, offset_, bytes_, view, os::Place::kAnywhere, nullptr,
                             exporter_is_trusted ? nullptr : &exporter);
  if (!mapped.ok()) return FailToMap(mapped.error());
  view_ = static_cast<std::byte*>(*mapped);
  return RSM_SUCCESS;
}

ImportSegment::~ImportSegment() {
  if (view_ != nullptr) (void)os::UnmapShared(view_, bytes_);
  if (page_ != nullptr) (void)os::UnmapShared(page_, kConnectionPageBytes);
}

os::PacketConnection ImportSegment::Close() {
  is_gone_.store(1, std::memory_order_release);
  std::erase(Connected(), this);
  os::WakeAll(is_gone_);
  return std::move(socket_);
}

int ImportSegment::FailAsAborted() const {
  return Fail(
      RSMERR_CONN_ABORTED,
      "the exporter of segment 0x%x has ended, or does not publish it any more; disconnect, "
      "and connect again once it is published",
      segment_);
}

int ImportSegment::FailToMap(os::Errno error) const {
  const char* const reason = std::strerror(error.code());
  if (error == os::Errno(EACCES) || error == os::Errno(EPERM)) {
    return Fail(RSMERR_PERM_DENIED, "segment 0x%x cannot be mapped%s: %s", segment_,
                sysv_ < 0 ? ""
                          : ", as the mode of its memory (shmget(2)) does not allow it, to this "
                            "user or to the exporter",
                reason);
  }
  return Fail(RSMERR_INSUFFICIENT_MEM, "segment 0x%x cannot be mapped: %s", segment_, reason);
}

int ImportSegment::Map(void*& address, rsm_attribute_t attribute, rsm_permission_t permission,
                       uint64_t offset, size_t bytes) {
  const os::View view =
      (permission & RSM_PERM_WRITE) != 0 ? os::View::kReadWrite : os::View::kReadOnly;
  os::Place place = os::Place::kAnywhere;
  if (attribute == RSM_MAP_FIXED) place = os::Place::kFree;
  if (attribute == RSM_MAP_RESERVED) place = os::Place::kReplace;
  const os::Result<void*> mapped =
      sysv_ < 0 ? os::MapShared(file_.get(), offset_ + offset, bytes, view, place, address)
                : os::MapSysV(sysv_, offset_ + offset, bytes, view, place, address);
  if (!mapped.ok()) {
    if (mapped.error() == os::Errno(EEXIST)) {
      return Fail(
          RSMERR_BAD_ADDR,
          "something is mapped at %p already; RSM_MAP_RESERVED replaces what the caller has "
          "mapped there",
          address);
    }
    return Fail(RSMERR_MAP_FAILED, "%zu bytes of segment 0x%x: %s", bytes, segment_,
                std::strerror(mapped.error().code()));
  }
  map_ = address = *mapped;
  map_bytes_ = bytes;
  map_is_reserved_ = attribute == RSM_MAP_RESERVED;
  window_begin_.store(offset, std::memory_order_relaxed);
  window_end_.store(offset + bytes, std::memory_order_relaxed);
  return RSM_SUCCESS;
}

void ImportSegment::Unmap() {
  // What was reserved by the caller stays so.
  if (map_is_reserved_) {
    (void)os::ReserveAgain(map_, map_bytes_);
  } else {
    (void)os::UnmapShared(map_, map_bytes_);
  }
  map_ = nullptr;
  window_begin_.store(0, std::memory_order_relaxed);
  window_end_.store(bytes_, std::memory_order_relaxed);
}

int ImportSegment::Post(bool accumulate) const {
  if (const int error = CheckConnected(); error != RSM_SUCCESS) return error;
  const uint32_t pending = page_->posted_to_exporter.load(std::memory_order_relaxed) -
                           page_->taken_by_exporter.load(std::memory_order_relaxed);
  if (!accumulate && pending != 0) return RSM_SUCCESS;
  page_->posted_to_exporter.fetch_add(1, std::memory_order_release);
  os::WakeAll(page_->posted_to_exporter);
  return RSM_SUCCESS;
}

bool ImportSegment::AppendWords(size_t count_max, std::vector<os::WaitWord>& words,
                                WordOwners& /*owners*/) const {
  if (count_max < 4) return false;
  const std::atomic<uint32_t>* const all[] = {&page_->posted_to_importer, &page_->ended,
                                              &page_->life, &is_gone_};
  for (const std::atomic<uint32_t>* const word : all) {
    words.push_back({word, word->load(std::memory_order_acquire)});
  }
  return true;
}

bool ImportSegment::HasSignal() const {
  return page_->posted_to_importer.load(std::memory_order_acquire) !=
         page_->taken_by_importer.load(std::memory_order_relaxed);
}

bool ImportSegment::TakeSignal() {
  uint32_t taken = page_->taken_by_importer.load(std::memory_order_relaxed);
  while (page_->posted_to_importer.load(std::memory_order_acquire) != taken) {
    if (page_->taken_by_importer.compare_exchange_weak(taken, taken + 1)) return true;
  }
  return false;
}

int ImportSegment::State() const {
  if (is_gone_.load(std::memory_order_acquire) != 0) return RSMERR_BAD_SEG_HNDL;
  if (is_connected()) return RSM_SUCCESS;
  // The kernel wakes one of those who wait for the process' end.
  os::WakeAll(page_->life);
  return RSMERR_CONN_ABORTED;
}

uint64_t ImportSegment::CountAborted(const ImportSegment& except) {
  const os::LatchHolder holder(import_latch);
  for (const ImportSegment* const import : Connected()) {
    if (import == &except || import->is_counted_ || import->is_connected()) continue;
    import->is_counted_ = true;
    ++aborted_count;
  }
  return aborted_count;
}

int Describe(rsm_memseg_id_t segment, Reply& reply) {
  std::optional<Names> names;
  if (const int error = Names::Open(names); error != RSM_SUCCESS) return error;
  const Time deadline = TimeOfTheAnswer();
  os::PacketConnection connection;
  int error = names->Connect(segment, connection, deadline);
  if (error != RSM_SUCCESS) return error;
  Request request;
  request.question = Question::kDescribe;
  request.segment = segment;
  std::vector<os::OwnedDescriptor> none;
  error = AskExporter(request, connection, deadline, reply, none);
  if (error != RSM_SUCCESS) return error;
  // Whose it is, the kernel knows better than the exporter says.
  const os::Result<os::PacketConnection::Peer> exporter = connection.OtherSide();
  if (exporter.ok()) {
    reply.pid = exporter->pid;
    reply.user = exporter->user;
  }
  return RSM_SUCCESS;
}

void ForgetImports() {
  for (ImportSegment* const import : Connected()) {
    import->socket_ = os::PacketConnection();
    import->file_ = os::OwnedDescriptor();
  }
  Connected().clear();
}

}  // namespace rsm::internal
