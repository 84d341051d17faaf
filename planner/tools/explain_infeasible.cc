#include "planner/tools/explain_infeasible.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace tessera::planner::tools {
namespace {

double gb(double bytes) { return bytes / 1e9; }

/// What one layer alone needs of a device.
double need(const CostModel& cost, const LayerCost& layer, std::int64_t owners) {
  return layer.parameters * cost.state_bytes_per_parameter(owners) + layer.activation_bytes +
         layer.workspace_bytes;
}

struct Largest {
  DeviceClass device;
  double bytes = -1;
};

class Explanation {
 public:
  Explanation(const CostModel& cost, int degree) : cost_(cost), shape_{degree, {}, 1} {
    const ClusterSpec& cluster = cost.cluster();
    for (int n = 0; n < static_cast<int>(cluster.nodes.size()); ++n) {
      const int cells = cluster.nodes[static_cast<std::size_t>(n)].devices / degree;
      if (cells == 0) continue;
      const DeviceClass device = cost.device_class(n);
      const double bytes = cost.capacity_bytes(device);
      if (bytes > largest_.bytes) largest_ = {device, bytes};
      cells_ += cells;
      total_bytes_ += bytes * cells * degree;
    }
  }

  [[nodiscard]] std::string text() const {
    const int degree = shape_.tensor_parallel;
    const std::string head = fmt::format("tensor parallel {}: ", degree);
    if (const Status status = cost_.check_shape(shape_); !status.ok()) {
      return head + status.message().substr(0, status.message().find('\n')) + "\n";
    }
    if (cells_ == 0) return head + fmt::format("no node has {} devices\n", degree);
    std::string out = single_layers();
    if (out.empty()) out = all_together();
    return head + out;
  }

 private:
  [[nodiscard]] std::string largest_text() const {
    return fmt::format("the largest device, {}, has {:.1f} GB for the job",
                       cost_.cluster().types[static_cast<std::size_t>(largest_.device.type)].name,
                       gb(largest_.bytes));
  }

  [[nodiscard]] std::string single_layers() const {
    int worst = -1;
    double worst_full = 0;
    int too_large = 0;
    for (int layer = 0; layer < cost_.model().layers; ++layer) {
      const double full =
          need(cost_, cost_.decoder(largest_.device, shape_, layer, Recompute::kFull), cells_);
      if (full > largest_.bytes) ++too_large;
      if (full > worst_full) {
        worst = layer;
        worst_full = full;
      }
    }
    if (too_large > 0) {
      const double none =
          need(cost_, cost_.decoder(largest_.device, shape_, worst, Recompute::kNone), cells_);
      return fmt::format("layer {} needs {:.1f} GB, with recompute {:.1f} GB; {}\n", worst, gb(none),
                         gb(worst_full), largest_text());
    }
    const auto edge = [&](const char* name, const LayerCost& layer) {
      const double bytes = need(cost_, layer, cells_);
      return bytes <= largest_.bytes
                 ? std::string()
                 : fmt::format("the {} needs {:.1f} GB; {}\n", name, gb(bytes), largest_text());
    };
    return edge("embedding", cost_.embedding(largest_.device, shape_)) +
           edge("head with the loss", cost_.head(largest_.device, shape_, false));
  }

  [[nodiscard]] std::string all_together() const {
    // One group over all cells: the fewest copies of the weights there can be.
    const LayerCost layer = cost_.decoder(largest_.device, shape_, 0, Recompute::kFull);
    const LayerCost embedding = cost_.embedding(largest_.device, shape_);
    const LayerCost head = cost_.head(largest_.device, shape_, false);
    const double degree = shape_.tensor_parallel;
    const double parameters =
        (layer.parameters * cost_.model().layers + embedding.parameters + head.parameters) * degree;
    const double state = parameters * cost_.state_bytes_per_parameter(1);
    std::string out = fmt::format(
        "each layer fits alone; weights, gradients and optimizer of one copy of the model "
        "take {:.1f} GB, all devices together have {:.1f} GB",
        gb(state), gb(total_bytes_));
    if (state < total_bytes_) {
      const double kept = layer.activation_bytes;
      out += fmt::format(
          "; with recompute a layer still keeps {:.2f} GB per micro-batch in flight and computes in "
          "{:.1f} GB on each device",
          gb(kept), gb(layer.workspace_bytes));
    }
    return out + "\n";
  }

  const CostModel& cost_;
  StageShape shape_;
  Largest largest_;
  int cells_ = 0;
  double total_bytes_ = 0;
};

}  // namespace

std::string explain_infeasible(const CostModel& cost, const std::vector<int>& degrees) {
  std::string out;
  for (const int degree : degrees) out += Explanation(cost, degree).text();
  return out;
}

}  // namespace tessera::planner::tools
