// TestSeed: the seed of a randomised test, printed so that a failure can be repeated.

#ifndef TESTS_SUPPORT_SEED_H_
#define TESTS_SUPPORT_SEED_H_

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace test_support {

// The number in the environment variable TEST_SEED, else a fresh one. Prints it.
inline uint64_t TestSeed() {
  const char* given = std::getenv("TEST_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "seed " << seed << " (TEST_SEED=" << seed << " repeats this run)" << std::endl;
  return seed;
}

}  // namespace test_support

#endif  // TESTS_SUPPORT_SEED_H_
