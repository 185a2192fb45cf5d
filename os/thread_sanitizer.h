// OS_THREAD_SANITIZER: whether this is compiled for ThreadSanitizer, by gcc or by clang.

#ifndef OS_THREAD_SANITIZER_H_
#define OS_THREAD_SANITIZER_H_

#if defined(__SANITIZE_THREAD__)
#define OS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OS_THREAD_SANITIZER 1
#endif
#endif

#if !defined(OS_THREAD_SANITIZER)
#define OS_THREAD_SANITIZER 0
#endif

#endif  // OS_THREAD_SANITIZER_H_
