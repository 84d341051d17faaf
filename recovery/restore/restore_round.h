/// One round of a restore on one rank: reads, sends, receives and downloads at the same time, as told.
///
/// A message is a verdict of one byte and, if the source has verified the atom, its bytes. Every rank takes
/// the fetches in the plan's order, sends and receives each inside a window of bytes in which one atom always
/// may be. So of all unfinished fetches the first is under way at both its ends, and the round ends: nobody
/// waits in a circle. Nothing that fails stops it; failures are the result.
///
/// After a third of the peers' deadline nothing more is begun: what is left belongs to the next round. So a
/// rank that has nothing to do never waits in vain for one that downloads for hours.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "recovery/peer/peer_exchange.h"
#include "recovery/restore/inventory.h"
#include "recovery/restore/landing.h"
#include "recovery/restore/restore.h"
#include "recovery/restore/restore_plan.h"

namespace tessera::recovery {

/// A fetch between ranks; from_rank is -1 for the cloud.
struct RankFetch {
  Fetch fetch;
  int from_rank = -1;
  int to_rank = 0;
};

struct RoundFailure {
  Holder holder;  // whose copy it was
  int atom = 0;
  int node = 0;          // who wanted it
  bool lasting = false;  // the copy is wrong or gone; else trying again may help
  std::string message;
};

struct RoundLanding {
  int atom = 0;
  LandedAtom landed;
};

/// What this rank did.
struct RoundResult {
  std::vector<RoundFailure> failures;
  std::vector<RoundLanding> landings;
  std::vector<int> delivered;  // atoms
  int left = 0;                // reads and downloads that were not begun
  std::vector<std::string> notes;
  SourceBytes fetched;  // right ones
};

/// `loads`: of this rank's atoms those its node holds. `fetches`: of all ranks. Throws what `peers` and
/// request.deliver throw.
[[nodiscard]] RoundResult run_round(PeerExchange& peers, const RestoreRequest& request,
                                    const Snapshot& snapshot, Landing& landing, int node,
                                    const AtomSet& undelivered, std::span<const Load> loads,
                                    std::span<const RankFetch> fetches);

}  // namespace tessera::recovery
