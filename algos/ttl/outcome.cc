#include "algos/ttl/outcome.h"

namespace tessera::ttl {

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone: return "done";
    case Outcome::kNegativeTime: return "negative_time";
    case Outcome::kStepTooLong: return "step_too_long";
    case Outcome::kPastLatestDeposit: return "past_latest_deposit";
    case Outcome::kTooMuch: return "too_much";
    case Outcome::kInsufficientBalance: return "insufficient_balance";
  }
  return "unknown";
}

Status to_status(Outcome outcome, const std::string& subject) {
  switch (outcome) {
    case Outcome::kDone: return {};
    case Outcome::kNegativeTime:
      return bad_input(
          {"", subject, "a negative time", "ticks that count from 0", "shift the clock's start"});
    case Outcome::kStepTooLong:
      return bad_input({"", subject, "a clock more than max_step ahead of its last reading",
                        "a monotone clock read often",
                        "check the clock; a true gap is passed with resume()"});
    case Outcome::kPastLatestDeposit:
      return bad_input({"", subject, "a deposit whose expiry does not fit 63 bits",
                        "a time at most the policy's latest_deposit()", "choose a longer tick"});
    case Outcome::kTooMuch:
      return bad_input(
          {"", subject, "a total above 2^64 - 1", "totals that fit 64 bits", "choose a larger unit"});
    case Outcome::kInsufficientBalance:
      return bad_input({"", subject, "a balance below the amount", "at most the live balance",
                        "ask balance() first, or spend less"},
                       Code::kFailedPrecondition);
  }
  return Status(Code::kInternal, "unknown outcome");
}

}  // namespace tessera::ttl
