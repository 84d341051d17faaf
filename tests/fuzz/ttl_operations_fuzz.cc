// Lines of operations of any bytes are refused by line, or mean the same when written and read again; and the
// ledger they are applied to keeps its promises.
#include <string>
#include <string_view>

#include "algos/ttl/accounts.h"
#include "algos/ttl/operation_lines.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace tessera;
using ttl::Operation;
using ttl::OperationLine;

Operation operation_of(const OperationLine& line) {
  const auto id = [](const std::string& name) { return ttl::AccountId{name.empty() ? 0U : name.size() % 4}; };
  Operation operation{Operation::Kind::kResume, line.now, id(line.account), id(line.to), line.amount};
  if (line.kind == OperationLine::Kind::kCredit) operation.kind = Operation::Kind::kCredit;
  if (line.kind == OperationLine::Kind::kSpend) operation.kind = Operation::Kind::kSpend;
  if (line.kind == OperationLine::Kind::kTransfer) operation.kind = Operation::Kind::kTransfer;
  return operation;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto lines = ttl::parse_operation_lines(text, "operations.txt");
  if (!lines.ok()) {
    fuzz::require_complaint(lines.status().message(), "operations.txt: line ");
    return 0;
  }
  std::string written;
  for (const OperationLine& line : lines.value()) written += ttl::to_line(line) + "\n";
  const auto again = ttl::parse_operation_lines(written, "written");
  fuzz::require_property(again.ok(), "what is written can be read", written);
  std::string twice;
  for (const OperationLine& line : again.value()) twice += ttl::to_line(line) + "\n";
  fuzz::require_property(twice == written, "reading and writing is the identity", written);

  ttl::Accounts accounts(ttl::Policy::make(10, 4).value(), 0);
  for (const OperationLine& line : lines.value()) {
    const ttl::Ticks before = accounts.clock();
    (void)accounts.apply(operation_of(line));
    fuzz::require_property(accounts.clock() >= before, "the clock never runs back", written);
    const ttl::Totals totals = accounts.totals();
    fuzz::require_property(totals.credited == totals.spent + totals.expired + totals.live, "conservation",
                           written);
    for (std::uint64_t id = 0; id < 4; ++id) {
      fuzz::require_property(accounts.records(ttl::AccountId{id}, 0) <= 5, "at most k + 1 records", written);
    }
  }
  return 0;
}
