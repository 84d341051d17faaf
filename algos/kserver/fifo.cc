#include "algos/kserver/fifo.h"

namespace tessera::kserver {

Fifo::Fifo(const UniformMetric& metric, std::vector<Point> starts) : OnPoints(metric, std::move(starts)) {
  // The last role of a shared start is recorded: the others leave before it.
  for (std::size_t i = 0; i < all().size(); ++i)
    standing_[all()[i].value] = Role(static_cast<std::int32_t>(i));
}

Role Fifo::move_to(Point request) {
  if (const auto found = standing_.find(request.value); found != standing_.end()) return found->second;
  const Role role = next_;
  next_ = Role((role.value + 1) % static_cast<std::int32_t>(roles()));
  const auto left = standing_.find(at(role).value);
  if (left != standing_.end() && left->second == role) standing_.erase(left);
  standing_[request.value] = role;
  return move(role, request);
}

}  // namespace tessera::kserver
