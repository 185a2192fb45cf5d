// TaggedMemory: memory of which every word tells whose it is.
//
// For memory that is copied, moved and shared while others look: what they see is told from what it was
// before, and from what never was.

#ifndef TESTS_SUPPORT_TAGGED_MEMORY_H_
#define TESTS_SUPPORT_TAGGED_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "tests/support/test_mapping.h"

namespace test_support {

class TaggedMemory {
 public:
  // In each page, a word that is for the test to use; 0 at first.
  static constexpr size_t kFreeWord = 1;

  TaggedMemory(size_t pages, uint32_t tag) : pages_(pages), mapping_(pages) { Fill(tag); }

  void* address() const { return mapping_.page(0); }
  uint64_t* words() const { return reinterpret_cast<uint64_t*>(mapping_.page(0)); }
  uint64_t* FreeWord(size_t page) const { return words() + page * WordsOfPage() + kFreeWord; }
  size_t pages() const { return pages_; }
  size_t bytes() const { return pages_ * PageSize(); }
  uint32_t tag() const { return tag_; }
  const TestMapping& mapping() const { return mapping_; }

  void Fill(uint32_t tag) {
    tag_ = tag;
    for (size_t i = 0; i < pages_ * WordsOfPage(); ++i) words()[i] = IsFree(i) ? 0 : Word(tag, i);
  }
  testing::AssertionResult IsIntact() const { return Holds(words(), pages_, tag_); }

  // Whether the pages at `words`, a copy or another view, hold what `tag` stands for.
  static testing::AssertionResult Holds(const uint64_t* words, size_t pages, uint32_t tag) {
    for (size_t i = 0; i < pages * WordsOfPage(); ++i) {
      if (IsFree(i) || words[i] == Word(tag, i)) continue;
      return testing::AssertionFailure()
             << "word " << i << " is number " << static_cast<uint32_t>(words[i]) << " of tag "
             << (words[i] >> 32) << ", not of " << tag;
    }
    return testing::AssertionSuccess();
  }
  static size_t WordsOfPage() { return PageSize() / sizeof(uint64_t); }
  static uint64_t Word(uint32_t tag, size_t i) { return uint64_t{tag} << 32 | i; }

 private:
  static bool IsFree(size_t i) { return i % WordsOfPage() == kFreeWord; }

  size_t pages_;
  uint32_t tag_ = 0;
  TestMapping mapping_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TAGGED_MEMORY_H_
