// Result<T>: a value, or the Errno that says why there is none.

#ifndef OS_RESULT_H_
#define OS_RESULT_H_

#include <cstdlib>
#include <utility>
#include <variant>

#include "os/errno.h"

namespace os {

// Holds either a T or an Errno other than 0. Not thread-safe; as movable and copyable as T.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that a function can return either.
  Result(T value) : state_(std::move(value)) {}
  Result(Errno error) : state_(error) {
    if (error.ok()) std::abort();  // success needs a value
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  // 0 where there is a value.
  Errno error() const { return ok() ? kSuccess : std::get<Errno>(state_); }

  // Precondition: ok().
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Errno> state_;
};

}  // namespace os

#endif  // OS_RESULT_H_
