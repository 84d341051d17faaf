/// Curves in JSON, one form of three:
///
///   {"latency_us": 5, "gb_per_s": 12.5}             latency + bytes / rate
///   {"fit": [a, b, c], "max_gb_per_s": 249}         fitted_link
///   {"points": [[bytes, seconds], ...]}             measured
#pragma once

#include "planner/spec/json_object.h"
#include "planner/spec/link_curve.h"

namespace tessera::planner {

[[nodiscard]] Result<LinkCurve> read_link_curve(const JsonObject& parent, const char* name);

/// The "points" form of a curve, and of what read_link_curve gives back unchanged.
[[nodiscard]] nlohmann::ordered_json link_curve_json(const LinkCurve& curve);

}  // namespace tessera::planner
