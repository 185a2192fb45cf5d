// SharedRegion: the memory that the processes of a shared pool have in common, and who they are.
//
// One object in memory (os/shared_object.h) for each key, laid out when it is made for as many
// frames as the machine could hold; what is not used takes no memory:
//
//   [ superblock: what it is, its file, participants, PoolState | pin lines | page tables | ghosts |
//     headers | ledgers, one for each participant | frames: ordinary ones, growth frames ]
//
// A participant is one open pool of one process. It holds a lock on its own byte of the object,
// which the kernel takes away when the process ends, however that comes; where a forked child still
// has the descriptor, the process' number and start tell. A process that holds byte 0 may come or
// go: there is one such at a time.
//
// An object that no participant has any more is stale: whoever comes next makes it anew. The last
// to leave takes its name away.
//
// Not thread-safe, but for what is const.

#ifndef MPOOL_INTERNAL_SHARED_REGION_H_
#define MPOOL_INTERNAL_SHARED_REGION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mpool/internal/frame.h"
#include "mpool/internal/pin_lines.h"
#include "mpool/internal/pool_report.h"
#include "mpool/internal/pool_state.h"
#include "os/process_identity.h"
#include "os/result.h"
#include "os/shared_object.h"

namespace mpool::internal {

// What one participant has to do with one frame, in one word, so that whoever dies while he changes
// it leaves it either as it was or as it should be: counted pins, readers among them, owed pins
// (frame.h), and whether one of the pins is for writing.
using LedgerWord = std::atomic<uint64_t>;
inline constexpr uint64_t kLedgerPin = 1;
inline constexpr uint64_t kLedgerReader = uint64_t{1} << 16;
inline constexpr uint64_t kLedgerOwed = uint64_t{1} << 32;
inline constexpr uint64_t kLedgerWriter = uint64_t{1} << 48;
inline constexpr uint16_t PinsIn(uint64_t word) { return static_cast<uint16_t>(word); }
inline constexpr uint16_t ReadersIn(uint64_t word) { return static_cast<uint16_t>(word >> 16); }
inline constexpr uint16_t OwedIn(uint64_t word) { return static_cast<uint16_t>(word >> 32); }
inline constexpr bool IsWriterIn(uint64_t word) { return (word & kLedgerWriter) != 0; }

struct Participant {
  uint32_t in_use = 0;
  uint32_t pins_may_write = 0;  // the C interface: nobody knows what a pin is for
  os::ProcessIdentity process;
  int32_t file_descriptor = -1;  // of the pool's file, in that process
  uint32_t waiting_writers = 0;  // of PoolState::waiting_writers
};

// The file of a shared pool, for those who come later.
struct FileRecord {
  uint64_t device = 0;
  uint64_t inode = 0;
  int32_t flags = 0;  // of open(2): the access mode, O_DIRECT, O_SYNC, O_DSYNC
  char path[4096] = {};
};

struct Superblock {
  static constexpr uint32_t kParticipantsMax = 64;
  static constexpr size_t kLinesPerParticipant = 32;
  static constexpr size_t kKeyBytesMax = 1024;

  uint64_t magic = 0;
  uint64_t layout = 0;  // of all that is in the region
  uint32_t page_size = 0;
  uint32_t key_bytes = 0;
  uint64_t ordinary_max = 0;  // frames that there is address space for; growth frames too
  uint64_t blocks = 0;        // of 512 bytes, that the object has at least
  std::byte key[kKeyBytesMax] = {};
  FileRecord file;
  uint32_t participants_used = 0;  // those below this number are, or were, in use
  Participant participants[kParticipantsMax];
  PinLinesState lines[kParticipantsMax];
  uint32_t ready = 0;  // what follows is filled in
  PoolState state;
};

class SharedRegion {
 public:
  static constexpr char kFolder[] = "/dev/shm";

  struct Request {
    std::span<const std::byte> key;
    uint32_t page_size = 0;
    std::string folder = kFolder;
  };
  // Joins the pool of that key, or makes it. The caller is alone with it, but for pools that are
  // open already, until Ready(). It is no participant yet. EINVAL: a key of no or too many bytes;
  // another page size. EPROTO: a pool of another version of this library, or a damaged one. EACCES:
  // what is there is not this user's. ENOSPC, ENOMEM: no room. The text is in ErrorText().
  static os::Result<std::unique_ptr<SharedRegion>> Attach(const Request& request);
  // Leaves the pool. Precondition: the participant has no pins any more, or will not be asked.
  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  // Whether this participant has made it, and has to fill in the state.
  bool is_new() const { return is_new_; }
  // Becomes a participant. Those that are dead are to be cleaned up after first. EAGAIN: there are
  // too many. ENOSPC: no room for its lines and
  // ledger. The caller has the latch.
  os::Errno TakePlace(bool pins_may_write);
  // Others may come.
  void Ready();
  // Others may neither come nor go until the end of this object.
  void PrepareToLeave();
  // It is no participant any more, though it keeps its number. It has no pins; the caller has the
  // latch.
  void GiveUpPlace();

  // The pool's file, which this participant reads and writes.
  void KeepFile(os::OwnedDescriptor file) { file_ = std::move(file); }
  int file() const { return file_.get(); }

  Superblock& superblock() const { return *superblock_; }
  PoolState& state() const { return superblock_->state; }
  uint32_t self() const { return self_; }
  uint16_t owner() const { return static_cast<uint16_t>(self_ + 1); }
  // False: it has left, or its process is no more.
  bool IsAlive(uint32_t participant) const;
  // Of this participant it is known to be true, so it is not asked.
  bool IsAnyoneDead() const;
  bool IsAnyoneAlive() const;

  std::span<std::byte> superblock_bytes() const;
  PinLine* lines() const { return reinterpret_cast<PinLine*>(base_ + layout_.lines); }
  std::byte* tables() const { return base_ + layout_.tables; }
  std::byte* ghosts() const { return base_ + layout_.ghosts; }
  FrameHeader* headers() const { return reinterpret_cast<FrameHeader*>(base_ + layout_.headers); }
  std::byte* frames() const { return base_ + layout_.frames; }
  LedgerWord* ledger(uint32_t participant) const {
    return reinterpret_cast<LedgerWord*>(base_ + layout_.ledgers) +
           participant * layout_.frames_max;
  }
  uint64_t ordinary_max() const { return layout_.frames_max / 2; }
  uint64_t frames_max() const { return layout_.frames_max; }

  // Gives part of the region memory. ENOSPC: there is no more.
  os::Errno Allocate(std::span<const std::byte> bytes);

  // What an object says that it is, which may be anything, and who has it. For those who list
  // pools.
  struct Description {
    std::string name;
    std::string key;
    std::string file;
    uint64_t file_device = 0, file_inode = 0;
    uint32_t page_size = 0;
    uint64_t bytes = 0;  // of memory
    uint32_t participants = 0;
    bool valid = false;  // made by this version of the library, and whole
    std::string pids;
  };
  static os::Result<std::vector<Description>> List(const std::string& folder = kFolder);
  // Takes the name away. EBUSY: it is in use, and `force` is not set. ENOENT: no such name. EAGAIN:
  // a process is just coming or going, for a second or more.
  static os::Errno Remove(const std::string& name, bool force, const std::string& folder = kFolder);
  // The byte of the object that a participant has locked.
  static constexpr uint64_t PlaceByte(uint32_t participant) { return 1 + uint64_t{participant}; }
  // Bytes from one frame to the next.
  static constexpr uint64_t StrideOf(uint32_t page_size) {
    constexpr uint64_t kUnit = alignof(std::max_align_t);
    return (page_size + kUnit - 1) / kUnit * kUnit;
  }
  // The beginning of the names of all objects of this user.
  static std::string NamePrefix();

  // What is in the pool, without its processes' noticing and without its latch: numbers that change
  // meanwhile need not fit each other. ENOENT: no such name. EACCES: it is not this user's. EPROTO:
  // it is damaged, or of another version of this library. Throws std::bad_alloc.
  static os::Result<PoolReport> Observe(const std::string& name,
                                        const std::string& folder = kFolder);

 private:
  static Description Describe(const os::SharedObject& object);
  // As it is in an object that may be anything; null: it has none, or there is no memory.
  static std::unique_ptr<const Superblock> CopySuperblock(const os::SharedObject& object);
  static bool IsOfThisVersion(const Superblock& there);
  static bool IsInBounds(const Superblock& there);
  static bool IsComplete(const Superblock& there, const os::SharedObject& object);

  struct Layout {
    uint64_t frames_max = 0;
    uint64_t lines = 0, tables = 0, ghosts = 0, headers = 0, ledgers = 0, frames = 0;
    uint64_t bytes = 0;  // in all
    static Layout For(uint32_t page_size, uint64_t ordinary_max);
  };
  explicit SharedRegion(os::SharedObject object) : object_(std::move(object)) {}
  os::Errno Enter(const Request& request);
  os::Errno Make(const Request& request);
  os::Errno Join(const Request& request);
  os::Errno CheckHeader(const Request& request, uint64_t& ordinary_max) const;
  os::Errno Map(const Layout& layout);
  os::Errno AllocatePlace(uint32_t place);

  os::SharedObject object_;
  os::OwnedDescriptor file_;
  bool is_new_ = false;
  bool holds_door_ = false;
  Layout layout_;
  std::byte* base_ = nullptr;
  Superblock* superblock_ = nullptr;
  uint32_t self_ = Superblock::kParticipantsMax;  // none yet
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_SHARED_REGION_H_
