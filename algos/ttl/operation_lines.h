/// Operations as text, one a line, for replaying by hand or from another program's log.
///
///   <now> credit   <account> <amount>
///   <now> spend    <account> <amount>
///   <now> transfer <from> <to> <amount>
///   <now> balance  <account>                asks; changes nothing
///   <now> resume                            passes a gap longer than the step limit
///   # comment, empty lines
///
/// Words are separated by spaces or tabs; a line may end in CR LF. now: 0 to 2^63 - 1; amount: 0 to 2^64 - 1;
/// account: any word.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"
#include "algos/ttl/policy.h"

namespace tessera::ttl {

struct OperationLine {
  enum class Kind { kCredit, kSpend, kTransfer, kBalance, kResume };
  Kind kind;
  Ticks now = 0;
  std::string account;   // empty for kResume
  std::string to;        // kTransfer alone
  Amount amount = 0;     // neither for kBalance nor for kResume
  std::size_t line = 0;  // counted from 1
};

/// Errors    kInvalidArgument with `file`, the line and the word that is wrong.
Result<std::vector<OperationLine>> parse_operation_lines(std::string_view text, const std::string& file);

/// As it could stand in a file.
[[nodiscard]] std::string to_line(const OperationLine& operation);

}  // namespace tessera::ttl
