/// A TileSchedule under a mask, on all super-ranks at once: whether everything arrives, and when one rank is
/// done. Message by message, on the messages of ring_messages.h.
#pragma once

#include "algos/base/status.h"
#include "runtime/attention/chunk_mask.h"
#include "runtime/attention/tile_schedule.h"

namespace tessera::runtime {

/// ok, or what goes wrong when every super-rank carries out the schedule: a chunk sent by who does not hold
/// it, received twice, or missing where a block needs it in its turn; a partial that leaves before its blocks
/// are done or gains something afterwards; a result that lacks a contribution, or has one twice, at home.
/// Includes check_schedule. Complexity O(n^2) messages and blocks for n super-ranks, each of O(a + b).
[[nodiscard]] Status check_travel(const TileSchedule& schedule, const ChunkMask& mask);

/// The event model of tile_schedule.h for one super-rank under a mask: blocks in the schedule's order, those
/// that see nothing left out; an op takes its hop time once per message of the busier direction, nothing when
/// this rank has no message in it. With the full mask the timeline is that of simulate(). Spans of blocks
/// left out are empty. Requires a legal schedule with its blocks.
[[nodiscard]] ScheduleTimeline simulate_rank(const TileSchedule& schedule, const ScheduleCosts& costs,
                                             const ChunkMask& mask, int super_rank);

}  // namespace tessera::runtime
