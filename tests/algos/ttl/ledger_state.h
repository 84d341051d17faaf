/// What a ledger holds, as a value: two of them are equal, or a test prints where they differ.
#pragma once

#include <map>
#include <ostream>
#include <span>
#include <string>

#include "algos/ttl/accounts.h"
#include "algos/ttl/ledger_log.h"

namespace tessera::ttl {

struct LedgerState {
  Ticks clock = 0;
  std::map<std::uint64_t, std::map<Ticks, Amount>> accounts;  // those with something live
  Totals totals;
  bool operator==(const LedgerState&) const = default;
};

inline LedgerState state_of(Accounts& accounts) {
  LedgerState state;
  state.clock = accounts.clock();
  state.totals = accounts.totals();
  accounts.for_each([&](AccountId id, const CompactBalance& balance) {
    balance.for_each_record(state.clock, [&](Ticks expiry, Amount amount) {
      state.accounts[static_cast<std::uint64_t>(id)][expiry] = amount;
    });
  });
  return state;
}

inline std::ostream& operator<<(std::ostream& out, const LedgerState& state) {
  out << "clock " << state.clock;
  for (const auto& [id, records] : state.accounts) {
    out << "\n  account " << id << ":";
    for (const auto& [expiry, amount] : records) out << " " << amount << "@" << expiry;
  }
  for (const WideAmount total :
       {state.totals.credited, state.totals.spent, state.totals.expired, state.totals.live}) {
    out << "\n  total " << static_cast<std::uint64_t>(total);
  }
  return out;
}

/// The state a ledger would come back with from these bytes.
inline Result<LedgerState> state_in(const std::string& file) {
  Recovered recovered = TS_TRY(recover(std::as_bytes(std::span(file)), "test.ledger"));
  return state_of(*recovered.accounts);
}

}  // namespace tessera::ttl
