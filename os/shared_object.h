// SharedObject: memory with a name, for the processes of one user.
//
// A file in a folder of memory (/dev/shm) that only its owner may open. As shm_open(3), but it
// follows no links, tells whose an object is before it is used, and has locks by which processes
// tell each other that they are there.
//
// A locked byte is locked by the object it was locked through (an open file description,
// F_OFD_SETLK), and is free when that has gone: with its process, however that ends. A forked child
// keeps it too, until it closes its copy or executes another program.
//
// Thread-safety: what is const may be called from every thread. All calls enter the kernel.

#ifndef OS_SHARED_OBJECT_H_
#define OS_SHARED_OBJECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

// The effective user and group of this process.
uint32_t CurrentUser();
uint32_t CurrentGroup();

class SharedObject {
 public:
  // The object of that name in the folder, which must be a regular file of this user's that nobody
  // else may open. ENOENT: there is none. EACCES: there is something, but not that.
  static Result<SharedObject> Open(const std::string& folder, const std::string& name);
  // Makes it, empty. EEXIST: the name is taken.
  static Result<SharedObject> Create(const std::string& folder, const std::string& name);
  // The names in the folder that begin with `prefix`. EACCES and the like: it cannot be read.
  static Result<std::vector<std::string>> List(const std::string& folder,
                                               const std::string& prefix);

  int descriptor() const { return descriptor_.get(); }
  const std::string& name() const { return name_; }

  // Whether the name still leads here.
  bool IsLinked() const;
  // Takes the name away, if it leads here. Who has the object keeps it.
  Errno Unlink() const;

  // In bytes.
  Result<uint64_t> Size() const;
  // Memory that it has, in blocks of 512 bytes.
  uint64_t Blocks() const;
  // What is new reads as zeros, and has no memory yet. To 0: what was there is gone.
  // EFBIG: beyond RLIMIT_FSIZE.
  Errno Resize(uint64_t bytes) const;
  // Gives the bytes memory, so that touching them never fails. ENOSPC: the folder has no more.
  Errno Allocate(uint64_t offset, uint64_t bytes) const;

  // Copies bytes out without mapping them: of an object that may be anything. Fewer: its end.
  Result<size_t> Read(uint64_t offset, void* buffer, size_t bytes) const;

  // Maps the object from its beginning, shared, readable and writable, not inherited by a forked
  // child, at a multiple of `alignment` bytes, which is a power of 2. ENOMEM: no address space.
  Result<void*> Map(uint64_t bytes, uint64_t alignment) const;
  static void Unmap(void* address, uint64_t bytes);

  // Waits for it.
  Errno LockByte(uint64_t byte) const;
  // EAGAIN: another object has it.
  Errno TryLockByte(uint64_t byte) const;
  void UnlockByte(uint64_t byte) const;
  // Whether a byte of the range is locked through another object; false where it cannot be told.
  bool IsLockedElsewhere(uint64_t first, uint64_t bytes) const;

 private:
  SharedObject(OwnedDescriptor descriptor, std::string folder, std::string name)
      : descriptor_(std::move(descriptor)), folder_(std::move(folder)), name_(std::move(name)) {}
  std::string path() const { return folder_ + "/" + name_; }

  OwnedDescriptor descriptor_;
  std::string folder_;
  std::string name_;
};

}  // namespace os

#endif  // OS_SHARED_OBJECT_H_
