#include "runtime/train/stop_signal.h"

#include <atomic>
#include <pthread.h>
#include <unistd.h>

namespace tessera::runtime {
namespace {

std::atomic<int> requests{0};
std::atomic<bool> ending{false};

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

void watch() {
  const sigset_t set = stop_signals();
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (ending.load()) return;
    if (requests.fetch_add(1) > 0 && signal == SIGINT) _exit(128 + SIGINT);
  }
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
  ending.store(false);
  watcher_ = std::thread(watch);
}

StopSignals::~StopSignals() {
  ending.store(true);
  pthread_kill(watcher_.native_handle(), SIGUSR1);  // wakes sigwait
  watcher_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool stop_requested() { return requests.load() > 0; }
void request_stop() { requests.fetch_add(1); }
void forget_stop_request() { requests.store(0); }

}  // namespace tessera::runtime
