#include "runtime/train/speed_factors.h"

#include <charconv>
#include <string>

#include <fmt/format.h>

namespace tessera::runtime {

Result<std::vector<double>> speed_factors(const planner::TrainSpec& spec, int ranks) {
  // Slower than this, a step of a test would outlast every deadline.
  constexpr double kLeast = 1e-3;
  const auto refuse = [](const std::string& found, const std::string& expected) {
    return bad_input({"--speed-factors", "speed_factors", found, expected,
                      "give one factor for all ranks, or one for each rank of the plan, as 1,1,0.5,0.25"});
  };
  std::vector<double> speeds;
  for (const std::string& text : spec.speed_factors) {
    double speed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), speed);
    if (error != std::errc() || end != text.data() + text.size() || !(speed >= kLeast && speed <= 1)) {
      return refuse(fmt::format("\"{}\"", text), fmt::format("numbers from {} to 1", kLeast));
    }
    speeds.push_back(speed);
  }
  if (speeds.empty()) speeds.push_back(1);
  if (speeds.size() == 1) speeds.resize(static_cast<std::size_t>(ranks), speeds.front());
  if (speeds.size() != static_cast<std::size_t>(ranks)) {
    return refuse(fmt::format("{} factors", speeds.size()),
                  fmt::format("1 or {}, the number of ranks", ranks));
  }
  return speeds;
}

}  // namespace tessera::runtime
