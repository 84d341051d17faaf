#include "algos/kserver/metric.h"

namespace tessera::kserver::internal {

Status check_point_count(std::size_t count, const std::string& field, const std::string& source) {
  if (count > 0 && count <= static_cast<std::size_t>(kMaxPoints)) return {};
  return bad_input({source, field, std::to_string(count) + " points",
                    "1 to " + std::to_string(kMaxPoints) + " points", "give every place a server can be"});
}

Status bad_distance(const std::string& found, const std::string& field, const std::string& source) {
  return bad_input({source, field, found, "whole numbers from 0 to " + std::to_string(kMaxDistance),
                    "choose the unit so that distances fit, for example microseconds"});
}

}  // namespace tessera::kserver::internal
