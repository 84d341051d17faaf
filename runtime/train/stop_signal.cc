#include "runtime/train/stop_signal.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace tessera::runtime {
namespace {

std::atomic<int> requests{0};
static_assert(std::atomic<int>::is_always_lock_free);  // touched by a signal handler

void on_signal(int signal) {
  if (requests.fetch_add(1) > 0 && signal == SIGINT) _exit(128 + SIGINT);
}

void install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() { install(on_signal); }
StopSignals::~StopSignals() { install(SIG_DFL); }

bool stop_requested() { return requests.load() > 0; }
void request_stop() { requests.fetch_add(1); }
void forget_stop_request() { requests.store(0); }

}  // namespace tessera::runtime
