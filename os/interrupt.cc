#include "os/interrupt.h"

#include <time.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace os {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

constexpr int64_t kSameRequestNs = 1'000'000'000;

// When the first signal came, by CLOCK_MONOTONIC; 0: none has.
std::atomic<int64_t> requested_at_ns = 0;
std::array<struct sigaction, kSignals.size()> actions_before;

static_assert(std::atomic<int64_t>::is_always_lock_free, "signal handlers may use it");

// As signal-safety(7) allows.
int64_t NowNs() {
  timespec now = {};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void Remember(int signal) {
  const int64_t now = NowNs();
  int64_t first = 0;
  if (requested_at_ns.compare_exchange_strong(first, now)) return;
  if (signal != SIGINT || now - first < kSameRequestNs) return;
  (void)std::signal(SIGINT, SIG_DFL);
  (void)std::raise(SIGINT);
}

}  // namespace

Interrupt::Interrupt() {
  requested_at_ns = 0;
  struct sigaction action {};
  action.sa_handler = Remember;
  action.sa_flags = SA_RESTART;
  (void)sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    (void)sigaction(kSignals[i], nullptr, &actions_before[i]);
    if (actions_before[i].sa_handler != SIG_IGN) (void)sigaction(kSignals[i], &action, nullptr);
  }
}

Interrupt::~Interrupt() {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    (void)sigaction(kSignals[i], &actions_before[i], nullptr);
  }
}

bool Interrupt::requested() const { return requested_at_ns != 0; }

}  // namespace os
