/// Random decisions of one case: a counter over a key, so that a seed repeats it.
#pragma once

#include <cstdint>

#include "algos/base/random.h"

namespace tessera::test {

class Draw {
 public:
  explicit Draw(std::uint64_t key) : key_(key) {}
  int below(int n) { return static_cast<int>(uniform(key_, counter_++) * n); }
  bool with(double probability) { return uniform(key_, counter_++) < probability; }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace tessera::test
