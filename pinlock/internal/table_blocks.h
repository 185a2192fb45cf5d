// TableBlocks: where a process' LockTable has its memory from.
//
// Chunks of 256 KiB that a forked child finds wiped, cut into blocks. Blocks that are freed are
// used again; chunks are never unmapped, so a thread that comes too late to a block finds memory.
// They are not locked: what VmLck shows is what was pinned.

#ifndef PINLOCK_INTERNAL_TABLE_BLOCKS_H_
#define PINLOCK_INTERNAL_TABLE_BLOCKS_H_

#include <cstddef>

#include "os/memory.h"
#include "pinlock/internal/lock_table.h"

namespace pinlock::internal {

// Unused blocks, and the rest of the last chunk. Plain data; zero bytes hold nothing.
struct BlockPool {
  struct FreeBlock {
    FreeBlock* next;
  };
  FreeBlock* free_nodes = nullptr;
  FreeBlock* free_counts = nullptr;
  std::byte* chunk_next = nullptr;
  std::byte* chunk_end = nullptr;
};

// The owner of the pool guards it. `pool` and `memory` outlive it.
class TableBlocks final : public BlockSource {
 public:
  TableBlocks(BlockPool& pool, os::Memory& memory) : pool_(pool), memory_(memory) {}

  void* Allocate(size_t bytes) override;
  void Free(void* block, size_t bytes) override;
  // Makes sure that the next so many allocations succeed. False: no memory.
  bool Reserve(size_t nodes, size_t counts);

 private:
  BlockPool::FreeBlock*& ListOf(size_t bytes);
  void* Cut(size_t bytes);

  BlockPool& pool_;
  os::Memory& memory_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_TABLE_BLOCKS_H_
