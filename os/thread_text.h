// ThreadText: a line of text of the calling thread, in memory that is allocated at its first use.
//
// For use as a thread_local. Not an array there: what a shared library has of those must fit, as a
// whole, into some hundred bytes that are left for libraries that a program loads later (dlopen(3)),
// if one variable of it is to be quick to reach.

#ifndef OS_THREAD_TEXT_H_
#define OS_THREAD_TEXT_H_

#include <cstddef>
#include <cstdlib>
#include <span>

namespace os {

template <size_t kBytes>
class ThreadText {
 public:
  constexpr ThreadText() = default;
  ThreadText(const ThreadText&) = delete;
  ThreadText& operator=(const ThreadText&) = delete;
  ~ThreadText() {
    std::free(bytes_);
    bytes_ = nullptr;
  }

  // To be written to. Empty where there is no memory; text() then says that instead.
  std::span<char> buffer() {
    if (bytes_ == nullptr) bytes_ = static_cast<char*>(std::calloc(kBytes, 1));
    used_ = true;
    return {bytes_, bytes_ == nullptr ? 0 : kBytes};
  }
  // "" before the first buffer().
  const char* text() const {
    if (bytes_ != nullptr) return bytes_;
    return used_ ? "there is no memory for the text of this error" : "";
  }

 private:
  char* bytes_ = nullptr;
  bool used_ = false;
};

}  // namespace os

#endif  // OS_THREAD_TEXT_H_
