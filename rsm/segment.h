// Exported segments, for C++: locked memory of one process that others read and write.
//
//   exporter:  auto segment = rsm::ExportedSegment::Create(bytes);      // absl::Span<std::byte>
//              auto number = segment->Publish();
//   importer:  auto remote = rsm::ImportedSegment<rsm::Access::kRead>::Connect(*number);
//              auto mapping = remote->Map();
//              Use(mapping->bytes());                                   // absl::Span<const std::byte>
//
// A segment is a right to memory, which can be handed around; a mapping is a view of it in this process,
// and lives by itself. What may be done is part of the type. The C interface (rsmapi(7)) does the work,
// and its rules hold: what fork(2) means, who may connect, what importers keep when the exporter ends.
//
// Thread-safety: as an int; what is const may be called from every thread at once. Move-only. Statuses
// name the RSMERR_ code and have rsm_error()'s text:
//   InvalidArgument     memory, offsets, lengths and lists that cannot be
//   PermissionDenied    the access list, or memory that is read-only
//   NotFound            nobody publishes the segment
//   AlreadyExists       the number is taken
//   ResourceExhausted   the lock limit, memory, descriptors
//   FailedPrecondition  not in this state, or not in this process
//   Aborted             the exporter has ended, or unpublished the segment
//   Unavailable         the exporter does not answer
//   DeadlineExceeded, Cancelled   no signal in that time; a signal(7) came first

#ifndef RSM_SEGMENT_H_
#define RSM_SEGMENT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace rsm {

using SegmentNumber = uint32_t;

namespace internal {
class Export;
class Connection;
class View;
}  // namespace internal

// The exporter's right to a segment of its own memory. Its end takes the segment away.
class ExportedSegment {
 public:
  struct Options {
    bool allow_rebind = false;
  };
  // `memory` is mapped for reading and writing, begins and ends at pages, and stays mapped as long as the
  // segment lives. It is locked, and keeps its contents and addresses; a forked child has a hole there.
  static absl::StatusOr<ExportedSegment> Create(absl::Span<std::byte> memory, Options options);
  static absl::StatusOr<ExportedSegment> Create(absl::Span<std::byte> memory);
  ExportedSegment(ExportedSegment&& other) noexcept;
  ExportedSegment& operator=(ExportedSegment&& other) noexcept;
  ~ExportedSegment();

  struct PublishOptions {
    std::optional<SegmentNumber> number = {};  // above 0x3FFFFF; without it, one that is free
    std::optional<uint32_t> mode = {};  // as of a file, at most 0666; without it, by the umask
  };
  // Lets importers in, and returns the number by which they find it.
  absl::StatusOr<SegmentNumber> Publish(PublishOptions options);
  absl::StatusOr<SegmentNumber> Publish();
  // For those who connect from now on.
  absl::Status Republish(uint32_t mode);
  // Parts importers from the memory; they keep a copy that nobody else sees.
  absl::Status Unpublish();

  // Other memory takes the place of this, for importers too, who have to do nothing. As long as it.
  absl::Status Rebind(absl::Span<std::byte> memory);

  // Signals every importer; waits for a signal of any. Each wait takes one.
  absl::Status Post() const;
  absl::Status Wait(std::optional<std::chrono::milliseconds> timeout) const;

 private:
  explicit ExportedSegment(std::unique_ptr<internal::Export> segment);
  std::unique_ptr<internal::Export> segment_;
};

enum class Access { kRead, kReadWrite };

// A view of a segment, or of a part of it. Holds the connection: it outlives the ImportedSegment. When
// the exporter has gone it goes on with memory that nobody else sees. One for each ImportedSegment.
template <Access kAccess>
class Mapping {
 public:
  using Byte = std::conditional_t<kAccess == Access::kRead, const std::byte, std::byte>;
  absl::Span<Byte> bytes() const { return bytes_; }

 private:
  template <Access>
  friend class ImportedSegment;
  Mapping(std::shared_ptr<internal::View> view, absl::Span<Byte> bytes)
      : view_(std::move(view)), bytes_(bytes) {}

  std::shared_ptr<internal::View> view_;
  absl::Span<Byte> bytes_;
};

// The importer's right to a segment.
template <Access kAccess>
class ImportedSegment {
 public:
  // Blocks until the exporter answers, 5 seconds at most.
  static absl::StatusOr<ImportedSegment> Connect(SegmentNumber number);

  size_t size() const;  // in bytes
  // Whether it is still exported. Does not enter the kernel.
  bool is_connected() const;

  // Copies bytes out of the segment, or into it. Aborted: the exporter has ended; what was copied is of
  // the memory that it left. Do not enter the kernel.
  absl::Status Get(size_t offset, absl::Span<std::byte> out) const;
  absl::Status Put(size_t offset, absl::Span<const std::byte> bytes) const
      requires(kAccess == Access::kReadWrite);

  // `offset` and `bytes` are multiples of the page size. Pages are read in.
  absl::StatusOr<Mapping<kAccess>> Map(size_t offset, size_t bytes) const;
  absl::StatusOr<Mapping<kAccess>> Map() const { return Map(0, size()); }

  // Signals the exporter; waits for his. Each wait takes one.
  absl::Status Post() const;
  absl::Status Wait(std::optional<std::chrono::milliseconds> timeout) const;

 private:
  explicit ImportedSegment(std::shared_ptr<internal::Connection> connection)
      : connection_(std::move(connection)) {}
  std::shared_ptr<internal::Connection> connection_;
};

extern template class ImportedSegment<Access::kRead>;
extern template class ImportedSegment<Access::kReadWrite>;

}  // namespace rsm

#endif  // RSM_SEGMENT_H_
