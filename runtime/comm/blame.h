/// Who holds the others up: follows "waits for" from rank to rank.
///
/// In a ring all ranks stall when one stops, and all their deadlines pass together; the one to report is
/// not the left neighbour of whoever reports but the rank at the end of the chain.
///
///   3 waits for 2, 2 for 1, 1 does not answer  ->  "Rank 2 waits for rank 1, which does not answer."
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "algos/base/index.h"

namespace tessera::runtime {

/// `ask(r)`: whom root rank r waits for, Rank(-1) for no single one, nullopt if r `is_silent` (the words
/// that describe it). One sentence; at most one question per rank. `peer` is whom `self` waits for.
[[nodiscard]] std::string blame_chain(Rank self, Rank peer,
                                      const std::function<std::optional<Rank>(Rank)>& ask,
                                      const std::string& is_silent);

}  // namespace tessera::runtime
