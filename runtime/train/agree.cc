#include "runtime/train/agree.h"

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/comm/collectives.h"

namespace tessera::runtime {

Status agree(Communicator& world, const Status& mine) {
  const std::string text = std::string(1, static_cast<char>(mine.code())) + mine.message();
  const auto all = all_gather_bytes(world, as_bytes(text.data(), static_cast<std::int64_t>(text.size())));
  std::size_t failed = all.size();
  bool same = true;
  for (std::size_t r = all.size(); r-- > 0;) {
    if (static_cast<Code>(all[r][0]) != Code::kOk) failed = r;
    same = same && all[r] == all[0];
  }
  if (failed == all.size()) return {};
  std::string message(reinterpret_cast<const char*>(all[failed].data()) + 1, all[failed].size() - 1);
  return {static_cast<Code>(all[failed][0]), same ? message : fmt::format("rank {}: {}", failed, message)};
}

}  // namespace tessera::runtime
