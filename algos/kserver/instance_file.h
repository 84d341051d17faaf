/// Metrics and requests from JSON text.
///
///   metric     {"kind": "line", "positions": [0, 1, 10]}
///              {"kind": "tree", "edges": [[0, 1, 4], [1, 2, 5]]}          two points and a length each
///              {"kind": "uniform", "points": 8, "distance": 1}
///              {"kind": "matrix", "distances": [[0, 2], [2, 0]]}
///   requests   {"servers": [0, 2], "requests": [1, 2, 1]}
///
/// Numbers are whole. Errors    kInvalidArgument with `name`, the field, what was found and what is expected:
/// no JSON, nested deeper than these, a field missing, unknown or of another type, and what the metric itself
/// refuses.
#pragma once

#include <memory>
#include <string>

#include "algos/kserver/schedule.h"

namespace tessera::kserver {

Result<std::unique_ptr<Metric>> parse_metric(const std::string& json_text, const std::string& name);

/// Checked against the metric (check_instance).
Result<Instance> parse_instance(const Metric& metric, const std::string& json_text, const std::string& name);

}  // namespace tessera::kserver
