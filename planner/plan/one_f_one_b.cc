#include "planner/plan/one_f_one_b.h"

#include <algorithm>

namespace tessera::planner {

std::vector<PipelineSlot> one_f_one_b(int stages, int stage, int micro_batches) {
  const int lead = std::min(stages - stage, micro_batches);
  std::vector<PipelineSlot> slots;
  slots.reserve(2 * static_cast<std::size_t>(micro_batches));
  for (int i = 0; i < lead - 1; ++i) slots.push_back({false, i});
  for (int i = 0; i < micro_batches; ++i) {
    if (i + lead - 1 < micro_batches) slots.push_back({false, i + lead - 1});
    slots.push_back({true, i});
  }
  return slots;
}

}  // namespace tessera::planner
