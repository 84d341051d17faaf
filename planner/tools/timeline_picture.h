/// A simulated iteration as a picture: one row per stage, time from left to right.
#pragma once

#include <string>

#include "planner/sim/iteration.h"

namespace tessera::planner::tools {

/// An <svg> element. Groups that are equal in everything drawn are drawn once with their count; tasks too
/// narrow to be seen are merged with their neighbours, and at most 64 rows are drawn, so the size is bounded.
/// --trace keeps everything.
[[nodiscard]] std::string timeline_picture(const sim::Iteration& iteration, const sim::Timeline& timeline);

}  // namespace tessera::planner::tools
