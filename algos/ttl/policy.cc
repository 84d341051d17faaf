#include "algos/ttl/policy.h"

#include <string>

#include "algos/base/require.h"

namespace tessera::ttl {
namespace {

constexpr Ticks kLast = std::numeric_limits<Ticks>::max();

Status refuse(const std::string& field, std::int64_t found, const std::string& expected,
              const std::string& remedy) {
  return bad_input({"", field, std::to_string(found), expected, remedy});
}

}  // namespace

Result<Policy> Policy::make(Ticks ttl, std::int64_t buckets, Ticks max_step) {
  if (ttl < 0 || ttl > kMaxTtl) {
    return refuse("ttl", ttl, "0 (permanent) to 2^61 ticks", "choose a longer tick");
  }
  if (buckets < 1 || buckets > kMaxBuckets) {
    return refuse("buckets", buckets, "1 to " + std::to_string(kMaxBuckets),
                  "100 keep an amount at most 1 % longer than its time");
  }
  if (max_step < 1) {
    return refuse("max_step", max_step, "at least 1 tick", "leave it out to accept any forward step");
  }
  Policy policy;
  policy.ttl_ = ttl;
  policy.buckets_ = buckets;
  policy.max_step_ = max_step;
  if (ttl == 0) {
    // One cell from 0 to the end of time: whole_cells 0 and remainder 1 put each deposit in its only slot.
    policy.width_ = kLast;
    policy.remainder_ = 1;
    policy.slots_ = 1;
    policy.latest_deposit_ = kLast - 1;
    return policy;
  }
  policy.width_ = (ttl - 1) / buckets + 1;
  policy.whole_cells_ = ttl / policy.width_;
  policy.remainder_ = ttl % policy.width_;
  // Live grid points run from slot 0 to slot_of_deposit(w - 1).
  policy.slots_ = policy.slot_of_deposit(policy.width_ - 1) + 1;
  policy.latest_deposit_ = kLast - ttl - policy.width_;
  return policy;
}

Ticks Policy::expiry(Ticks t) const {
  TS_REQUIRE(!permanent() && t >= 0 && t <= latest_deposit_, ttl_, t);
  return (t + ttl_ + width_ - 1) / width_ * width_;
}

}  // namespace tessera::ttl
