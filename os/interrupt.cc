#include "os/interrupt.h"

#include <array>
#include <csignal>
#include <cstddef>

namespace os {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t requested_signal = 0;
std::array<struct sigaction, kSignals.size()> actions_before;

void Remember(int signal) {
  // A user who is not heard may insist.
  if (requested_signal != 0 && signal == SIGINT) (void)std::signal(SIGINT, SIG_DFL);
  if (requested_signal != 0 && signal == SIGINT) (void)std::raise(SIGINT);
  requested_signal = signal;
}

}  // namespace

Interrupt::Interrupt() {
  requested_signal = 0;
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

bool Interrupt::requested() const { return requested_signal != 0; }

}  // namespace os
