#include "runtime/comm/blame.h"

#include <set>

#include <fmt/format.h>

namespace tessera::runtime {

std::string blame_chain(Rank self, Rank peer, const std::function<std::optional<Rank>(Rank)>& ask,
                        const std::string& is_silent) {
  if (peer.value < 0) return "No single rank would end this wait.";
  if (peer == self)
    return "The rank waits for its own message: post the receive before waiting for the send.";
  std::string text = fmt::format("Rank {}", peer.value);
  std::set<Rank> seen = {self};
  for (Rank at = peer;;) {
    if (!seen.insert(at).second) return text + ": these ranks wait for each other.";
    const std::optional<Rank> next = ask(at);
    if (!next) return fmt::format("{} {}.", text, is_silent);
    if (next->value < 0) return text + " waits for several ranks.";
    text += fmt::format(" waits for rank {}", next->value);
    if (*next == at) return text + ", itself.";
    if (seen.count(*next) == 0) text += ", which";
    at = *next;
  }
}

}  // namespace tessera::runtime
