/// What became of one operation, small enough for the hot path; Status (base/status.h) is what people get.
#pragma once

#include <cstdint>
#include <string>

#include "algos/base/status.h"

namespace tessera::ttl {

enum class Outcome : std::uint8_t {
  kDone,
  kNegativeTime,         // clocks count from 0
  kStepTooLong,          // the reading is more than max_step after the last one
  kPastLatestDeposit,    // the expiry would not fit Ticks
  kTooMuch,              // a total would not fit Amount
  kInsufficientBalance,  // all or nothing: nothing was spent
};

/// A short name for programs: "done", "negative_time", "step_too_long", ...
[[nodiscard]] const char* outcome_name(Outcome outcome);

/// The refusal in words about `subject` ("account 7"). kFailedPrecondition for a balance that is too small
/// (kResourceExhausted stays the disk's, see ledger.h), else kInvalidArgument. OK for kDone.
[[nodiscard]] Status to_status(Outcome outcome, const std::string& subject);

}  // namespace tessera::ttl
