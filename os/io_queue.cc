#include "os/io_queue.h"

#include <sys/stat.h>

#include <limits>
#include <new>
#include <utility>

#include "os/io_batch.h"
#include "os/positioned_io.h"

namespace os {
namespace {

// Buffers that one transfer takes; a request of more is made in several.
constexpr size_t kPartsMax = 64;

// Of others, a ring would ignore the offset that pread(2) refuses, or wait for ever.
bool IsPositioned(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
}

// A ring takes -1 for the file position.
bool IsOffset(uint64_t offset) { return offset <= std::numeric_limits<int64_t>::max(); }

bool MeansNeverHere(Errno error) {
  return error == Errno(ENOSYS) || error == Errno(EPERM) || error == Errno(EACCES);
}

// Answers about the ring, and not about the transfer: pread(2) and pwritev(2) give better ones.
// EAGAIN is what a descriptor with O_NONBLOCK gets.
bool IsNoAnswer(int code) {
  return code == EAGAIN || code == EINTR || code == ECANCELED || code == EOPNOTSUPP;
}

}  // namespace

// A ring, and what belongs to each transfer in it.
struct IoQueue::Lane {
  enum class State { kInFlight, kDone };

  struct Slot {
    bool busy = false;
    size_t index = 0;  // of the request
    size_t bytes = 0;  // done so far
    BufferCursor cursor;
    std::span<const std::byte> single;
    std::array<iovec, kPartsMax> parts;
  };

  // Takes a request into a slot that is not busy.
  State Begin(size_t slot, IoBatch& batch, size_t index);
  // Deals with what the ring says of the request in a slot.
  State Continue(size_t slot, IoBatch& batch, int result);
  void Push(size_t slot, const IoBatch& batch);
  // The ring is at its end: makes what is in the slots otherwise.
  void Abandon(IoBatch& batch);

  std::unique_ptr<Ring> ring;
  std::array<Slot, kDepth> slots;
};

IoQueue::Lane::State IoQueue::Lane::Begin(size_t number, IoBatch& batch, size_t index) {
  Slot& slot = slots[number];
  slot.index = index;
  slot.bytes = 0;
  slot.cursor = batch.buffers(index, slot.single);
  if (slot.cursor.AtEnd() || !IsOffset(batch.offset(index))) {
    batch.Make(index);
    return State::kDone;
  }
  slot.busy = true;
  Push(number, batch);
  return State::kInFlight;
}

IoQueue::Lane::State IoQueue::Lane::Continue(size_t number, IoBatch& batch, int result) {
  Slot& slot = slots[number];
  if (result > 0) {
    slot.bytes += static_cast<size_t>(result);
    slot.cursor.Advance(static_cast<size_t>(result));
    if (!slot.cursor.AtEnd() && IsOffset(batch.offset(slot.index) + slot.bytes)) {
      Push(number, batch);
      return State::kInFlight;
    }
  }
  slot.busy = false;
  if (slot.cursor.AtEnd() || (result == 0 && !batch.writes())) {
    batch.Finish(slot.index, slot.bytes);
  } else if (result > 0 || IsNoAnswer(-result)) {
    batch.Make(slot.index);
  } else {
    batch.Fail(slot.index, result == 0 ? Errno(EIO) : Errno(-result));
  }
  return State::kDone;
}

void IoQueue::Lane::Push(size_t number, const IoBatch& batch) {
  Slot& slot = slots[number];
  const size_t count = slot.cursor.Fill(slot.parts);
  ring->Push({.write = batch.writes(),
              .parts = std::span(slot.parts).first(count),
              .offset = batch.offset(slot.index) + slot.bytes,
              .tag = number});
}

void IoQueue::Lane::Abandon(IoBatch& batch) {
  ring->Drain();
  for (Slot& slot : slots) {
    if (std::exchange(slot.busy, false)) batch.Make(slot.index);
  }
}

IoQueue::~IoQueue() {
  for (std::atomic<Lane*>& idle : idle_) delete idle.load();
}

void IoQueue::Read(std::span<ReadRequest> requests) {
  ReadBatch batch(descriptor_, requests);
  Run(batch);
}

void IoQueue::Write(std::span<WriteRequest> requests) {
  WriteBatch batch(descriptor_, requests);
  Run(batch);
}

void IoQueue::Run(IoBatch& batch) {
  std::unique_ptr<Lane> lane;
  if (batch.size() > 1 && IsPositioned(descriptor_)) lane = Take();
  if (lane == nullptr) {
    for (size_t i = 0; i < batch.size(); ++i) batch.Make(i);
  } else if (RunIn(*lane, batch)) {
    Keep(std::move(lane));
  }
}

bool IoQueue::RunIn(Lane& lane, IoBatch& batch) {
  std::array<size_t, kDepth> free;
  size_t free_count = 0;
  while (free_count < lane.ring->depth()) {
    free[free_count] = free_count;
    ++free_count;
  }
  size_t next = 0;
  while (true) {
    while (next < batch.size() && free_count > 0) {
      if (lane.Begin(free[free_count - 1], batch, next++) == Lane::State::kInFlight) --free_count;
    }
    if (free_count == lane.ring->depth()) return true;
    if (!lane.ring->Wait().ok()) break;
    while (const std::optional<Ring::Completion> completion = lane.ring->Pop()) {
      const size_t slot = completion->tag;
      if (lane.Continue(slot, batch, completion->result) == Lane::State::kDone) {
        free[free_count++] = slot;
      }
    }
  }
  lane.Abandon(batch);
  for (; next < batch.size(); ++next) batch.Make(next);
  return false;
}

std::unique_ptr<IoQueue::Lane> IoQueue::Take() {
  for (std::atomic<Lane*>& idle : idle_) {
    std::unique_ptr<Lane> lane(idle.exchange(nullptr));
    if (lane != nullptr && lane->ring->Usable()) return lane;
  }
  if (refused_) return nullptr;
  Result<std::unique_ptr<Ring>> ring = open_ring_(descriptor_, kDepth);
  if (!ring.ok()) {
    if (MeansNeverHere(ring.error())) refused_ = true;
    return nullptr;
  }
  std::unique_ptr<Lane> lane(new (std::nothrow) Lane);
  if (lane != nullptr) lane->ring = *std::move(ring);
  return lane;
}

void IoQueue::Keep(std::unique_ptr<Lane> lane) {
  for (std::atomic<Lane*>& idle : idle_) {
    Lane* none = nullptr;
    if (idle.compare_exchange_strong(none, lane.get())) {
      (void)lane.release();
      return;
    }
  }
}

}  // namespace os
