/// A known schedule made fair: no server pays much more than the mean, for little extra cost.
///
///   repeat: H the dearest server, L the cheapest
///           stop if c_H <= (1 + eps) * total / k + additive
///           H and L exchange everything behind the moment that makes the larger of their two costs least
///
/// Theorem   With additive >= 6 (1 + eps) / eps * diameter (the default) the loop ends with every
///             c_i <= (1 + eps) * total / k + additive,
///           after at most (k - 1) * ceil(4 (1 + eps) / eps * ln(M / m)) swaps that add at most 2 * diameter
///           each, where M is the dearest server's cost at the start and m the least value that the right
///           side of the line above took. From an optimal start M / m < k: the schedule is (1 + eps,
///           O(diameter * log k / eps))-fair and costs Opt + O(k * diameter * log k / eps).
/// Checked   on every run, beside the result. A smaller `additive` is tried as far as swaps help and may end
///           unreached; `proven` says which of the two it was.
/// Cost      O(k + requests of H and L) per swap.
/// Source    arXiv 2512.20960, Algorithm 1; the constants are derived in docs/kserver.md.
#pragma once

#include <optional>

#include "algos/kserver/schedule.h"

namespace tessera::kserver {

struct FairOptions {
  double eps = 0.1;                       // kMinEps..1
  std::optional<Distance> additive = {};  // nothing: the theorem's
};

inline constexpr double kMinEps = 1e-6;

struct FairCertificate {
  Distance start_total = 0;
  Distance total = 0;
  Distance dearest = 0;   // max over servers, at the end
  Distance additive = 0;  // the one used
  double allowed = 0;     // (1 + eps) * total / k + additive
  std::int64_t swaps = 0;
  std::int64_t swap_limit = 0;
  bool proven = false;   // additive is at least the theorem's
  bool reached = false;  // dearest <= allowed; always, when proven
};

struct FairSchedule {
  Schedule schedule;
  std::vector<Distance> costs;  // by server
  FairCertificate certificate;
};

/// Errors    check_instance's and check_schedule's; eps or additive out of range.
Result<FairSchedule> make_fair(const Metric& metric, const Instance& instance, const Schedule& schedule,
                               const FairOptions& options = {});

namespace internal {
Status check_eps(double eps);
}  // namespace internal

}  // namespace tessera::kserver
