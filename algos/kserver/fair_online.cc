#include "algos/kserver/fair_online.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "algos/base/random.h"
#include "algos/base/require.h"
#include "algos/kserver/fair_offline.h"

namespace tessera::kserver {

Result<FairOnline> FairOnline::start(std::unique_ptr<Online> algorithm, const FairOnlineOptions& options) {
  TS_TRY(internal::check_eps(options.eps));
  TS_REQUIRE(algorithm != nullptr && algorithm->total() == 0);
  return FairOnline(std::move(algorithm), options);
}

FairOnline::FairOnline(std::unique_ptr<Online> algorithm, const FairOnlineOptions& options)
    : algorithm_(std::move(algorithm)), options_(options), costs_(algorithm_->roles(), 0) {
  const std::size_t k = algorithm_->roles();
  // Capped: no algorithm ever pays kMaxCost.
  phase_ = static_cast<Distance>(
      std::min(std::ceil(static_cast<double>(k) * static_cast<double>(algorithm_->diameter()) / options_.eps),
               static_cast<double>(kMaxCost)));
  for (std::size_t i = 0; i < k; ++i) {
    roles_.emplace_back(static_cast<std::int32_t>(i));
    servers_.emplace_back(static_cast<std::int32_t>(i));
  }
  deal();
}

void FairOnline::deal() {
  std::vector<Role> dealt = roles_;
  // Fisher & Yates.
  for (std::size_t i = dealt.size(); i-- > 1;) {
    const auto j = static_cast<std::size_t>(uniform(options_.seed, drawn_++) * static_cast<double>(i + 1));
    std::swap(dealt[i], dealt[j]);
  }
  for (std::size_t s = 0; s < dealt.size(); ++s) {
    costs_[s] += algorithm_->between(roles_[s], dealt[s]);
    servers_[static_cast<std::size_t>(dealt[s].value)] = Server(static_cast<std::int32_t>(s));
  }
  roles_ = std::move(dealt);
  dealt_at_ = algorithm_->total();
  ++deals_;
}

FairOnline::Step FairOnline::serve(Point request) {
  const Role role = algorithm_->serve(request);
  const Step step{servers_[static_cast<std::size_t>(role.value)], false};
  for (const Payment& payment : algorithm_->last_payments()) {
    costs_[static_cast<std::size_t>(servers_[static_cast<std::size_t>(payment.role.value)].value)] +=
        payment.distance;
  }
  if (algorithm_->total() == dealt_at_ || algorithm_->total() - dealt_at_ < phase_) return step;
  deal();
  return {step.server, true};
}

OnlineCertificate FairOnline::certificate(double delta) const {
  TS_REQUIRE(delta > 0 && delta < 1, delta);
  const double eps = options_.eps;
  const auto k = static_cast<double>(costs_.size());
  const auto diameter = static_cast<double>(algorithm_->diameter());
  const auto own = static_cast<double>(algorithm_->total());
  OnlineCertificate is;
  is.algorithm = algorithm_->total();
  is.total = sum(costs_);
  is.total_allowed = (1 + eps) * own + k * diameter;
  is.dearest = *std::max_element(costs_.begin(), costs_.end());
  const double beta = k * diameter * (1 + 1 / eps) * (2 / eps + 2.0 / 3) * std::log(k / delta) + diameter;
  is.dearest_allowed = (1 + 2 * eps) * own / k + beta;
  is.deals = deals_;
  return is;
}

}  // namespace tessera::kserver
