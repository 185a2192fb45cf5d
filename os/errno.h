// Errno: the error value that every layer below the public interfaces returns.
//
// It exists because the answers of this project are errno values by contract (mpin(2) and mpool(3)
// tell ENOMEM from EAGAIN from ENOSPC), and absl::Status merges several of them. It costs no
// memory, so an out-of-memory error can be reported without any. Each public interface translates
// it once, at its boundary.

#ifndef OS_ERRNO_H_
#define OS_ERRNO_H_

#include <cerrno>
#include <ostream>
#include <string>

namespace os {

// An errno value; 0 is success. Cheap to copy, safe from every thread.
class [[nodiscard]] Errno {
 public:
  constexpr Errno() = default;
  constexpr explicit Errno(int code) : code_(code) {}

  // The calling thread's errno, right after a failed call.
  static Errno Last() { return Errno(errno); }

  constexpr bool ok() const { return code_ == 0; }
  constexpr int code() const { return code_; }

  // The symbolic name, as in "ENOMEM"; "0" for success; "errno N" for a value without a name.
  std::string Name() const;

  friend constexpr bool operator==(Errno a, Errno b) { return a.code_ == b.code_; }

 private:
  int code_ = 0;
};

inline constexpr Errno kSuccess{};

// Lets a failed expectation of GoogleTest print the name.
inline void PrintTo(Errno error, std::ostream* out) { *out << error.Name(); }

}  // namespace os

#endif  // OS_ERRNO_H_
