// A ledger file of any bytes is refused by name, or is a state that keeps the promises and comes back from
// its own snapshot.
//
// Input: one byte, then the file as it is (the byte is even); or, so that the checksums do not stop the
// fuzzer, a policy (u8 ttl, u8 buckets) and payloads: u8 type, u8 length, bytes. They become frames with
// right checksums, and behind them follow as many zeros as the first byte says.
#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "algos/ttl/ledger_log.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace tessera;

std::string framed(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return "";
  const auto policy = ttl::Policy::make(data[0], data[1] + 1);
  fuzz::require_property(policy.ok(), "a byte each is a policy");
  std::string file = ttl::file_header(policy.value());
  data += 2;
  size -= 2;
  for (std::uint64_t sequence = 0; size >= 2; ++sequence) {
    const std::size_t bytes = std::min<std::size_t>(data[1], size - 2);
    file += ttl::frame(static_cast<ttl::FrameType>(data[0]), sequence,
                       {reinterpret_cast<const char*>(data) + 2, bytes});
    data += 2 + bytes;
    size -= 2 + bytes;
  }
  return file;
}

using Records = std::map<std::pair<std::uint64_t, ttl::Ticks>, ttl::Amount>;

Records records_of(const ttl::Accounts& accounts) {
  Records records;
  accounts.for_each([&](ttl::AccountId id, const ttl::CompactBalance& balance) {
    balance.for_each_record(accounts.clock(), [&](ttl::Ticks expiry, ttl::Amount amount) {
      records[{static_cast<std::uint64_t>(id), expiry}] = amount;
    });
  });
  return records;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::string file;
  if (data[0] % 2 == 0) {
    file.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  } else {
    file = framed(data + 1, size - 1) + std::string(data[0], '\0');
  }
  const auto recovered = ttl::recover(std::as_bytes(std::span(file)), "quota.ledger");
  if (!recovered.ok()) {
    fuzz::require_complaint(recovered.status().message(), "quota.ledger");
    return 0;
  }
  ttl::Accounts& accounts = *recovered->accounts;
  fuzz::require_property(recovered->bytes <= file.size(), "the sound part lies inside the file");
  const ttl::Totals totals = accounts.totals();
  fuzz::require_property(totals.credited == totals.spent + totals.expired + totals.live, "conservation");
  ttl::WideAmount live = 0;
  accounts.for_each([&](ttl::AccountId, const ttl::CompactBalance& balance) {
    live += balance.balance(accounts.clock());
    fuzz::require_property(balance.records(0) <= accounts.policy().slots(), "at most k + 1 records");
  });
  fuzz::require_property(live == totals.live, "the accounts hold what is live");

  std::string again;
  const auto written = ttl::write_snapshot(accounts, [&](std::string_view piece) {
    again += piece;
    return Status();
  });
  fuzz::require_property(written.ok(), "a snapshot can be written");
  const auto returned = ttl::recover(std::as_bytes(std::span(again)), "again.ledger");
  fuzz::require_property(returned.ok(), "a snapshot comes back", returned.status().message());
  fuzz::require_property(returned->accounts->totals() == totals &&
                             returned->accounts->clock() == accounts.clock() &&
                             records_of(*returned->accounts) == records_of(accounts),
                         "as it was");
  return 0;
}
