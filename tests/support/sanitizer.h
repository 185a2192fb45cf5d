// Which sanitizer this build runs under: for what its runtime cannot bear.

#ifndef TESTS_SUPPORT_SANITIZER_H_
#define TESTS_SUPPORT_SANITIZER_H_

namespace test_support {

#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define TEST_SUPPORT_ADDRESS_SANITIZER
#endif
#if __has_feature(thread_sanitizer)
#define TEST_SUPPORT_THREAD_SANITIZER
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(TEST_SUPPORT_ADDRESS_SANITIZER)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

#if defined(__SANITIZE_THREAD__) || defined(TEST_SUPPORT_THREAD_SANITIZER)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

}  // namespace test_support

#endif  // TESTS_SUPPORT_SANITIZER_H_
