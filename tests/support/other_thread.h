// OtherThread: a second thread that does what it is told, one thing at a time.
//
// For what depends on which thread asks and not on what they do at once: the caller waits
// meanwhile, so a run is the same each time.

#ifndef TESTS_SUPPORT_OTHER_THREAD_H_
#define TESTS_SUPPORT_OTHER_THREAD_H_

#include <functional>
#include <semaphore>
#include <thread>
#include <utility>

namespace test_support {

// Begins with the first Run, and ends with the object. Used by one thread.
class OtherThread {
 public:
  OtherThread() = default;
  OtherThread(const OtherThread&) = delete;
  OtherThread& operator=(const OtherThread&) = delete;
  ~OtherThread() {
    if (!thread_.joinable()) return;
    work_ = nullptr;
    begin_.release();
    thread_.join();
  }

  // Returns when the thread has done it.
  void Run(std::function<void()> work) {
    work_ = std::move(work);
    if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
    begin_.release();
    done_.acquire();
  }

 private:
  void Serve() {
    for (begin_.acquire(); work_ != nullptr; begin_.acquire()) {
      work_();
      done_.release();
    }
  }

  std::function<void()> work_;
  std::binary_semaphore begin_{0}, done_{0};
  std::thread thread_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_OTHER_THREAD_H_
