#include <cstdio>

#include "algos/ttl/ledger.h"

int main() {
  using namespace tessera::ttl;
  const Policy hour = Policy::make(3600, 60).value();
  const auto ledger = Ledger::in_memory(hour);  // GPU-seconds that lapse after an hour
  const AccountId job{7};
  (void)ledger->credit(job, 0, 500);
  (void)ledger->credit(job, 1800, 100);
  (void)ledger->spend(job, 2000, 450);
  const auto next = ledger->next_expiry(job, 2000);
  std::printf("%lu left, %lu of them lapse at %ld\n", ledger->balance(job, 2000), next->amount, next->at);
}
