#include "rsm/segment.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rsm/internal/access.h"
#include "rsm/internal/error.h"
#include "rsm/internal/imports.h"
#include "rsm/rsmapi.h"

namespace rsm {
namespace internal {

class Export {
 public:
  explicit Export(rsm_memseg_export_handle_t handle) : handle_(handle) {}
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;
  // NOT_CREATOR: in a forked child, whose parent has it.
  ~Export() { (void)rsm_memseg_export_destroy(handle_); }
  rsm_memseg_export_handle_t handle() const { return handle_; }

 private:
  rsm_memseg_export_handle_t handle_;
};

class Connection {
 public:
  explicit Connection(rsm_memseg_import_handle_t handle) : handle_(handle) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { (void)rsm_memseg_import_disconnect(handle_); }
  rsm_memseg_import_handle_t handle() const { return handle_; }

 private:
  rsm_memseg_import_handle_t handle_;
};

class View {
 public:
  explicit View(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() { (void)rsm_memseg_import_unmap(connection_->handle()); }

 private:
  std::shared_ptr<Connection> connection_;
};

namespace {

absl::StatusCode StatusCodeOf(int code) {
  switch (code) {
    case RSMERR_PERM_DENIED:
    case RSMERR_SEG_NOT_PUBLISHED_TO_NODE:
      return absl::StatusCode::kPermissionDenied;
    case RSMERR_SEG_NOT_PUBLISHED:
      return absl::StatusCode::kNotFound;
    case RSMERR_SEGID_IN_USE:
      return absl::StatusCode::kAlreadyExists;
    case RSMERR_INSUFFICIENT_MEM:
    case RSMERR_INSUFFICIENT_RESOURCES:
    case RSMERR_MAP_FAILED:
      return absl::StatusCode::kResourceExhausted;
    case RSMERR_BAD_SEG_HNDL:
    case RSMERR_NOT_CREATOR:
    case RSMERR_REBIND_NOT_ALLOWED:
    case RSMERR_SEG_ALREADY_PUBLISHED:
    case RSMERR_SEG_ALREADY_MAPPED:
    case RSMERR_POLLFD_IN_USE:
      return absl::StatusCode::kFailedPrecondition;
    case RSMERR_CONN_ABORTED:
      return absl::StatusCode::kAborted;
    case RSMERR_REMOTE_NODE_UNREACHABLE:
      return absl::StatusCode::kUnavailable;
    case RSMERR_TIMEOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case RSMERR_INTERRUPTED:
      return absl::StatusCode::kCancelled;
    default:
      return absl::StatusCode::kInvalidArgument;
  }
}

absl::Status StatusOf(int code) {
  if (code == RSM_SUCCESS) return absl::OkStatus();
  return absl::Status(StatusCodeOf(code), absl::StrCat(ErrorName(code), ": ", rsm_error()));
}

// The one controller, got once.
absl::StatusOr<rsmapi_controller_handle_t> TheController() {
  static rsmapi_controller_handle_t controller = nullptr;
  static const int code = rsm_get_controller(nullptr, &controller);
  if (code != RSM_SUCCESS) {
    return absl::Status(StatusCodeOf(code), "no controller: there was no memory for it");
  }
  return controller;
}

int Milliseconds(std::optional<std::chrono::milliseconds> timeout) {
  if (!timeout) return -1;
  return static_cast<int>(
      std::clamp<int64_t>(timeout->count(), 0, std::numeric_limits<int>::max()));
}

rsmapi_access_entry_t EntryOf(uint32_t mode) { return {kLocalNode, mode}; }

}  // namespace
}  // namespace internal

using internal::StatusOf;

ExportedSegment::ExportedSegment(std::unique_ptr<internal::Export> segment)
    : segment_(std::move(segment)) {}
ExportedSegment::ExportedSegment(ExportedSegment&& other) noexcept = default;
ExportedSegment& ExportedSegment::operator=(ExportedSegment&& other) noexcept = default;
ExportedSegment::~ExportedSegment() = default;

absl::StatusOr<ExportedSegment> ExportedSegment::Create(absl::Span<std::byte> memory,
                                                        Options options) {
  const absl::StatusOr<rsmapi_controller_handle_t> controller = internal::TheController();
  if (!controller.ok()) return controller.status();
  rsm_memseg_export_handle_t handle = nullptr;
  const int code =
      rsm_memseg_export_create(*controller, &handle, memory.data(), memory.size(),
                               options.allow_rebind ? uint_t{RSM_ALLOW_REBIND} : uint_t{0});
  if (code != RSM_SUCCESS) return StatusOf(code);
  return ExportedSegment(std::make_unique<internal::Export>(handle));
}

absl::StatusOr<ExportedSegment> ExportedSegment::Create(absl::Span<std::byte> memory) {
  return Create(memory, Options());
}

absl::StatusOr<SegmentNumber> ExportedSegment::Publish(PublishOptions options) {
  SegmentNumber number = options.number.value_or(0);
  rsmapi_access_entry_t entry = internal::EntryOf(options.mode.value_or(0));
  const int code = rsm_memseg_export_publish(segment_->handle(), &number,
                                             options.mode ? &entry : nullptr, options.mode ? 1 : 0);
  if (code != RSM_SUCCESS) return StatusOf(code);
  return number;
}

absl::StatusOr<SegmentNumber> ExportedSegment::Publish() { return Publish(PublishOptions()); }

absl::Status ExportedSegment::Republish(uint32_t mode) {
  rsmapi_access_entry_t entry = internal::EntryOf(mode);
  return StatusOf(rsm_memseg_export_republish(segment_->handle(), &entry, 1));
}

absl::Status ExportedSegment::Unpublish() {
  return StatusOf(rsm_memseg_export_unpublish(segment_->handle()));
}

absl::Status ExportedSegment::Rebind(absl::Span<std::byte> memory) {
  return StatusOf(rsm_memseg_export_rebind(segment_->handle(), memory.data(), 0, memory.size()));
}

absl::Status ExportedSegment::Post() const {
  return StatusOf(rsm_intr_signal_post(segment_->handle(), 0));
}

absl::Status ExportedSegment::Wait(std::optional<std::chrono::milliseconds> timeout) const {
  return StatusOf(rsm_intr_signal_wait(segment_->handle(), internal::Milliseconds(timeout)));
}

template <Access kAccess>
absl::StatusOr<ImportedSegment<kAccess>> ImportedSegment<kAccess>::Connect(SegmentNumber number) {
  const absl::StatusOr<rsmapi_controller_handle_t> controller = internal::TheController();
  if (!controller.ok()) return controller.status();
  constexpr rsm_permission_t kPermission =
      kAccess == Access::kRead ? rsm_permission_t{RSM_PERM_READ} : rsm_permission_t{RSM_PERM_RDWR};
  rsm_memseg_import_handle_t handle = nullptr;
  const int code =
      rsm_memseg_import_connect(*controller, internal::kLocalNode, number, kPermission, &handle);
  if (code != RSM_SUCCESS) return StatusOf(code);
  auto connection = std::make_shared<internal::Connection>(handle);
  // Each call tells by itself whether the exporter is there.
  const int mode = rsm_memseg_import_set_mode(handle, RSM_BARRIER_MODE_EXPLICIT);
  if (mode != RSM_SUCCESS) return StatusOf(mode);
  return ImportedSegment(std::move(connection));
}

template <Access kAccess>
size_t ImportedSegment<kAccess>::size() const {
  const internal::ImportTable::Use segment = internal::FindImport(connection_->handle());
  return segment ? segment->bytes() : 0;
}

template <Access kAccess>
bool ImportedSegment<kAccess>::is_connected() const {
  const internal::ImportTable::Use segment = internal::FindImport(connection_->handle());
  return segment && segment->is_connected();
}

template <Access kAccess>
absl::Status ImportedSegment<kAccess>::Get(size_t offset, absl::Span<std::byte> out) const {
  return StatusOf(rsm_memseg_import_get(connection_->handle(), static_cast<off_t>(offset),
                                        out.data(), out.size()));
}

template <Access kAccess>
absl::Status ImportedSegment<kAccess>::Put(size_t offset, absl::Span<const std::byte> bytes) const
    requires(kAccess == Access::kReadWrite) {
  // C's put does not write to what it copies from.
  return StatusOf(rsm_memseg_import_put(connection_->handle(), static_cast<off_t>(offset),
                                        const_cast<std::byte*>(bytes.data()), bytes.size()));
}

template <Access kAccess>
absl::StatusOr<Mapping<kAccess>> ImportedSegment<kAccess>::Map(size_t offset, size_t bytes) const {
  constexpr rsm_permission_t kPermission =
      kAccess == Access::kRead ? rsm_permission_t{RSM_PERM_READ} : rsm_permission_t{RSM_PERM_RDWR};
  void* address = nullptr;
  const int code = rsm_memseg_import_map(connection_->handle(), &address, RSM_MAP_NONE, kPermission,
                                         static_cast<off_t>(offset), bytes);
  if (code != RSM_SUCCESS) return StatusOf(code);
  using Byte = typename Mapping<kAccess>::Byte;
  return Mapping<kAccess>(std::make_shared<internal::View>(connection_),
                          absl::Span<Byte>(static_cast<Byte*>(address), bytes));
}

template <Access kAccess>
absl::Status ImportedSegment<kAccess>::Post() const {
  return StatusOf(rsm_intr_signal_post(connection_->handle(), 0));
}

template <Access kAccess>
absl::Status ImportedSegment<kAccess>::Wait(
    std::optional<std::chrono::milliseconds> timeout) const {
  return StatusOf(rsm_intr_signal_wait(connection_->handle(), internal::Milliseconds(timeout)));
}

template class ImportedSegment<Access::kRead>;
template class ImportedSegment<Access::kReadWrite>;

}  // namespace rsm
