// DeathWords: words in shared memory that the kernel changes when this process ends.
//
// However it ends: by exit(3), by a signal, by execve(2); and no matter what forked children go on
// with. A robust futex (set_robust_list(2)) with a list of its own, whose links lie in memory that
// no other process has: who shares a word can spoil what that word tells, and no more.
//
// The words are of the thread that calls Begin, which must live until the end of the process: it is
// its end that the kernel tells of, and other threads of the process may run on for a moment. It
// may use no robust pthread mutex (a shared os::Latch). Unless it is the main thread it may not
// call execve(2) itself, for which it would take the number of that one; other threads may.
//
// The words do not end with the object. A forked child has none of them, nor their pages: all it
// may do with its copy of the object is Begin, for words of its own.
//
// Thread-safety: Begin, Add and Remove belong to that thread. IsAlive is safe everywhere, and does
// not enter the kernel.

#ifndef OS_DEATH_WORDS_H_
#define OS_DEATH_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "os/errno.h"
#include "os/result.h"

namespace os {

class DeathWords {
 public:
  // What the kernel follows, less some.
  static constexpr size_t kCountMax = 2000;

  DeathWords() = default;
  DeathWords(const DeathWords&) = delete;
  DeathWords& operator=(const DeathWords&) = delete;

  // Reserves the address space and tells the kernel of the list. Once, and for good. ENOMEM: no
  // address space. ENOSYS: no robust futexes. After an error all is as before.
  Errno Begin();

  // Maps the first page of the object, shared and not inherited (but by a fork of another thread
  // at that very moment), and makes its first 32-bit word the next: it is alive from now on.
  // Returns the page, which is valid until Remove. ENFILE: kCountMax are there already. EINVAL: no
  // memory object (memory_object.h), or empty, or not sealed against shrinking: if its page were
  // gone, the kernel would stop there, before other words. Else the error of mmap(2).
  Result<void*> Add(int descriptor);
  // The word is no longer touched. It says what it said last; unmaps the page.
  void Remove(void* page);

  // Of a word that another process has added, as this one sees it. A waiter on it (futex(2),
  // FUTEX_WAIT) is woken at the end; of several one, who should wake the others.
  static bool IsAlive(const std::atomic<uint32_t>& word);

 private:
  struct Link;
  struct Head;
  Link* LinkAt(size_t index) const;
  std::byte* PageAt(size_t index) const;  // where its word is mapped

  std::byte* links_ = nullptr;  // kCountMax pages of links, then as many for words
  Head* head_ = nullptr;        // in the page before them
};

}  // namespace os

#endif  // OS_DEATH_WORDS_H_
