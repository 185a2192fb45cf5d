#include "tests/model/page_locker_run.h"

#include "tests/model/page_locker_operation.h"
#include "tests/model/page_locker_subject.h"

namespace test_model {

std::string RunPageLocker(std::span<const uint8_t> bytes) {
  PageLockerSubject subject;
  std::vector<std::pair<LockerOperation, std::string>> done;
  std::string difference;
  while (difference.empty()) {
    const std::optional<LockerOperation> operation = TakeLockerOperation(bytes);
    if (!operation) return "";
    std::string answer;
    difference = subject.Apply(*operation, answer);
    done.emplace_back(*operation, std::move(answer));
  }
  std::string text;
  for (const auto& [operation, answer] : done) {
    text += ToString(operation) + (answer.empty() ? "\n" : ": " + answer + "\n");
  }
  return text + "then: " + difference;
}

}  // namespace test_model
