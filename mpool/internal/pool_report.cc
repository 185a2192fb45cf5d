#include "mpool/internal/pool_report.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace mpool::internal {
namespace {

// What is variable comes after its size in bytes. A struct that is larger than the reader's is cut,
// one that is smaller is filled up with zeros.
constexpr uint64_t kMagic = 0x74726f70'65720001;  // version, "report"

class Encoder {
 public:
  explicit Encoder(std::vector<std::byte>& out) : out_(out) {}

  void Add(uint64_t number) { AddRaw(&number, sizeof(number)); }
  void AddBytes(const void* data, size_t bytes) {
    Add(bytes);
    AddRaw(data, bytes);
  }
  template <typename T>
  void AddAll(const std::vector<T>& items) {
    static_assert(std::is_trivially_copyable_v<T>);
    AddBytes(items.data(), items.size() * sizeof(T));
  }

 private:
  void AddRaw(const void* data, size_t bytes) {
    const auto* first = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), first, first + bytes);
  }

  std::vector<std::byte>& out_;
};

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  std::span<const std::byte> rest() const { return rest_; }

  uint64_t Number() {
    uint64_t number = 0;
    const std::span<const std::byte> bytes = Take(sizeof(number));
    if (ok_) std::memcpy(&number, bytes.data(), sizeof(number));
    return number;
  }
  std::span<const std::byte> Bytes() { return Take(Number()); }
  std::string Text() {
    const std::span<const std::byte> bytes = Bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  template <typename T>
  void Fill(T& object) {
    const std::span<const std::byte> bytes = Bytes();
    if (bytes.empty()) return;
    std::memcpy(&object, bytes.data(), std::min(bytes.size(), sizeof(T)));
  }
  template <typename T>
  std::vector<T> All() {
    const std::span<const std::byte> bytes = Bytes();
    if (bytes.size() % sizeof(T) != 0) ok_ = false;
    std::vector<T> items(bytes.size() / sizeof(T));
    if (!items.empty()) std::memcpy(items.data(), bytes.data(), items.size() * sizeof(T));
    return items;
  }

 private:
  std::span<const std::byte> Take(uint64_t bytes) {
    if (!ok_ || bytes > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::span<const std::byte> taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

// So that what is worked out from them, addresses above all, does not overflow.
bool HasPlausibleSizes(const PoolReport& report) {
  constexpr uint64_t kAddressesEnd = uint64_t{1} << 57;
  return report.frames.size() <= kFramesMax && report.ordinary <= report.frames.size() &&
         report.first_growth_frame >= report.ordinary && report.first_growth_frame <= kFramesMax &&
         report.page_size <= report.frame_stride && report.frame_stride <= uint64_t{1} << 33 &&
         (report.page_size > 0 || report.frames.empty()) && report.frames_at < kAddressesEnd &&
         (report.frames.empty() || report.OffsetOf(report.frames.size() - 1) < kAddressesEnd);
}

}  // namespace

FrameMarks MarksOf(const FrameHeader& header) {
  FrameMarks marks = static_cast<FrameMarks>(header.state) & kFrameStateMask;
  if (header.dirty.load(std::memory_order_relaxed)) marks |= kFrameDirty;
  if (header.pins > 0) marks |= kFramePinned;
  if (header.suspect) marks |= kFrameSuspect;
  if (header.unlocked) marks |= kFrameUnlocked;
  return marks;
}

void Encode(const PoolReport& report, std::vector<std::byte>& out) {
  Encoder encoder(out);
  for (const std::string* text : {&report.key, &report.name, &report.file}) {
    encoder.AddBytes(text->data(), text->size());
  }
  for (const uint64_t number :
       {report.page_size, report.pages_max, report.page_count, report.frames_at,
        report.frame_stride, report.first_growth_frame, report.ordinary}) {
    encoder.Add(number);
  }
  encoder.AddBytes(&report.stats, sizeof(report.stats));
  encoder.AddAll(report.frames);
  encoder.AddAll(report.pins);
  encoder.AddAll(report.participants);
}

std::optional<PoolReport> Decode(std::span<const std::byte>& bytes) {
  Decoder decoder(bytes);
  PoolReport report;
  for (std::string* text : {&report.key, &report.name, &report.file}) *text = decoder.Text();
  for (uint64_t* number :
       {&report.page_size, &report.pages_max, &report.page_count, &report.frames_at,
        &report.frame_stride, &report.first_growth_frame, &report.ordinary}) {
    *number = decoder.Number();
  }
  decoder.Fill(report.stats);
  report.frames = decoder.All<FrameMarks>();
  report.pins = decoder.All<PinReport>();
  report.participants = decoder.All<ParticipantReport>();
  const auto is_frame = [&](const PinReport& pin) { return pin.frame < report.frames.size(); };
  if (!decoder.ok() || !HasPlausibleSizes(report) || !std::ranges::all_of(report.pins, is_frame)) {
    return std::nullopt;
  }
  bytes = decoder.rest();
  return report;
}

void Encode(const ProcessReport& report, std::vector<std::byte>& out) {
  Encoder encoder(out);
  encoder.Add(kMagic);
  // What a pool's part is made of. A newer version of the library may know more.
  encoder.Add(sizeof(PinReport));
  encoder.Add(static_cast<uint64_t>(report.pid));
  encoder.Add(report.pid_namespace);
  encoder.AddBytes(&report.pins, sizeof(report.pins));
  encoder.Add(report.pools.size());
  for (const PoolReport& pool : report.pools) Encode(pool, out);
}

std::optional<ProcessReport> DecodeProcess(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  if (decoder.Number() != kMagic || decoder.Number() != sizeof(PinReport)) return std::nullopt;
  ProcessReport report;
  report.pid = static_cast<int32_t>(decoder.Number());
  report.pid_namespace = decoder.Number();
  decoder.Fill(report.pins);
  const uint64_t pools = decoder.Number();
  if (!decoder.ok()) return std::nullopt;
  std::span<const std::byte> rest = decoder.rest();
  for (uint64_t i = 0; i < pools; ++i) {
    std::optional<PoolReport> pool = Decode(rest);
    if (!pool) return std::nullopt;
    report.pools.push_back(std::move(*pool));
  }
  return report;
}

}  // namespace mpool::internal
