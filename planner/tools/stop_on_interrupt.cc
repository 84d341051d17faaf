#include "planner/tools/stop_on_interrupt.h"

#include <csignal>

namespace tessera::planner::tools {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void remember(int /*signal*/) { interrupted = 1; }

}  // namespace

StopOnInterrupt::StopOnInterrupt() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

StopOnInterrupt::~StopOnInterrupt() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGINT, &action, nullptr);
}

bool StopOnInterrupt::stopped() { return interrupted != 0; }

}  // namespace tessera::planner::tools
