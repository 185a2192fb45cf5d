#include "pinlock/internal/table_blocks.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace pinlock::internal {
namespace {

constexpr size_t kChunkBytes = 256 * 1024;

}  // namespace

BlockPool::FreeBlock*& TableBlocks::ListOf(size_t bytes) {
  return bytes == kNodeBytes ? pool_.free_nodes : pool_.free_counts;
}

void* TableBlocks::Allocate(size_t bytes) {
  BlockPool::FreeBlock*& list = ListOf(bytes);
  if (list == nullptr) return Cut(bytes);
  BlockPool::FreeBlock* block = list;
  list = block->next;
  return bytes == kNodeBytes ? std::memset(static_cast<void*>(block), 0, bytes) : block;
}

void TableBlocks::Free(void* block, size_t bytes) {
  BlockPool::FreeBlock*& list = ListOf(bytes);
  list = new (block) BlockPool::FreeBlock{list};
}

// A fresh block, all zeros, off the chunk; from a new one where the old one is too short.
void* TableBlocks::Cut(size_t bytes) {
  static_assert(kNodeBytes % 64 == 0 && kCountsBytes % 64 == 0);
  if (static_cast<size_t>(pool_.chunk_end - pool_.chunk_next) < bytes) {
    const size_t page_size = memory_.page_size();
    const os::PageCount pages(std::max(kChunkBytes, page_size) / page_size);
    const os::Result<os::PageRange> chunk =
        memory_.Map(pages, os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
    if (!chunk.ok()) return nullptr;
    pool_.chunk_next = static_cast<std::byte*>(chunk->address(page_size));
    pool_.chunk_end = pool_.chunk_next + chunk->bytes(page_size);
  }
  std::byte* block = pool_.chunk_next;
  pool_.chunk_next += bytes;
  return block;
}

bool TableBlocks::Reserve(size_t nodes, size_t counts) {
  bool enough = true;
  for (const auto& [bytes, wanted] : {std::pair(kNodeBytes, nodes), {kCountsBytes, counts}}) {
    BlockPool::FreeBlock* taken = nullptr;
    for (size_t i = 0; enough && i < wanted; ++i) {
      void* block = Allocate(bytes);
      enough = block != nullptr;
      if (enough) taken = new (block) BlockPool::FreeBlock{taken};
    }
    while (taken != nullptr) {
      BlockPool::FreeBlock* next = taken->next;
      Free(taken, bytes);
      taken = next;
    }
  }
  return enough;
}

}  // namespace pinlock::internal
