/// Any online algorithm made fair: its roles are dealt out to the servers anew from time to time.
///
///   deal the roles by a uniform random permutation, each server moves to its role;
///   let the algorithm serve; when it has paid k * diameter / eps since the last deal, deal again.
///
/// Requests must not depend on the dealing (oblivious adversary). With A the algorithm's own cost:
/// Theorem   total <= (1 + eps) * A + k * diameter, always; and with probability 1 - delta every server pays
/// at
///           most (1 + 2 eps) * A / k + beta,
///             beta = k * diameter * (1 + 1/eps) * (2/eps + 2/3) * ln(k / delta) + diameter.
///           So a c-competitive algorithm stays (1 + eps) c-competitive. Proof: docs/kserver.md.
/// Example   three servers on roles (2,0,1): when role 0 has to move 5, server 1 pays 5. After a deal (0,2,1)
///           server 0 goes from the place of role 2 to that of role 0, server 1 from 0's to 2's.
/// Cost      the algorithm's, plus O(payments) per request and O(k) per deal.
/// Source    the problem is arXiv 2512.20960; this wrapper and its theorem are derived in docs/kserver.md.
#pragma once

#include <memory>
#include <vector>

#include "algos/kserver/online.h"

namespace tessera::kserver {

struct FairOnlineOptions {
  double eps = 0.1;        // kMinEps..1 (fair_offline.h)
  std::uint64_t seed = 0;  // one seed, one sequence of deals
};

struct OnlineCertificate {
  Distance algorithm = 0;  // A
  Distance total = 0;
  double total_allowed = 0;
  Distance dearest = 0;
  double dearest_allowed = 0;  // with probability 1 - delta
  std::int64_t deals = 0;
  [[nodiscard]] bool holds() const {
    return static_cast<double>(total) <= total_allowed && static_cast<double>(dearest) <= dearest_allowed;
  }
};

class FairOnline {
 public:
  struct Step {
    Server server;       // stands on the request when served
    bool dealt = false;  // afterwards everyone moved to a new role
  };

  /// Errors    eps out of range. The first deal is part of the start and is paid.
  static Result<FairOnline> start(std::unique_ptr<Online> algorithm, const FairOnlineOptions& options = {});

  Step serve(Point request);

  [[nodiscard]] const Online& algorithm() const { return *algorithm_; }
  [[nodiscard]] Role role_of(Server server) const { return roles_[static_cast<std::size_t>(server.value)]; }
  [[nodiscard]] std::span<const Distance> costs() const { return costs_; }
  /// Requires  0 < delta < 1.
  [[nodiscard]] OnlineCertificate certificate(double delta) const;

 private:
  FairOnline(std::unique_ptr<Online> algorithm, const FairOnlineOptions& options);
  void deal();

  std::unique_ptr<Online> algorithm_;
  FairOnlineOptions options_;
  Distance phase_ = 0;     // what the algorithm pays between two deals
  Distance dealt_at_ = 0;  // its cost at the last deal
  std::int64_t deals_ = 0;
  std::uint64_t drawn_ = 0;      // random numbers used
  std::vector<Role> roles_;      // by server
  std::vector<Server> servers_;  // by role
  std::vector<Distance> costs_;  // by server
};

}  // namespace tessera::kserver
