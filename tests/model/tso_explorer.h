// A search of all that the threads of a TSO machine can do.

#ifndef TESTS_MODEL_TSO_EXPLORER_H_
#define TESTS_MODEL_TSO_EXPLORER_H_

#include <cstddef>
#include <set>
#include <string>

#include "tests/model/tso_machine.h"

namespace test_model {

struct Exploration {
  size_t states = 0;
  std::string violation;  // with a shortest list of steps that leads there; empty: none
  // The steps of programs as "name: text": those that some order makes, and the others.
  std::set<std::string> made, unmade;
};

// Makes all steps of all programs in every order. It is a violation that a Check fails, that
// threads are left that can never make a step, or that `at_end` finds words for the state where all
// are at their end. Aborts where a program makes two accesses in a step.
Exploration Explore(const TsoModel& model);

}  // namespace test_model

#endif  // TESTS_MODEL_TSO_EXPLORER_H_
