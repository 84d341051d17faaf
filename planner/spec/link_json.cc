#include "planner/spec/link_json.h"

namespace tessera::planner {
namespace {

constexpr double kMostGbPerS = 1e6;
constexpr double kMostBytes = 1e15;
constexpr double kMostSeconds = 1e9;  // the slowest of the other forms stays within

bool is_number_list(const Json& json, std::size_t size) {
  if (!json.is_array() || json.size() != size) return false;
  for (const Json& element : json) {
    if (!element.is_number()) return false;
  }
  return true;
}

Result<LinkCurve> read_points(const JsonObject& curve) {
  const char* const expected =
      "a list of 1 to 4096 pairs [bytes, seconds]: bytes from 0 to 1e15, strictly rising; seconds from 0 "
      "to 1e9, not falling, the last above 0";
  const Json& list = curve.at("points");
  constexpr std::size_t kMostPoints = 4096;
  if (!list.is_array() || list.empty() || list.size() > kMostPoints) return curve.refuse("points", expected);
  LinkCurve found;
  for (const Json& pair : list) {
    if (!is_number_list(pair, 2)) return curve.refuse("points", expected);
    const LinkPoint point{pair[0].get<double>(), pair[1].get<double>()};
    const bool inside =
        point.bytes >= 0 && point.bytes <= kMostBytes && point.seconds >= 0 && point.seconds <= kMostSeconds;
    const bool rising = found.empty() || (point.bytes > found.points.back().bytes &&
                                          point.seconds >= found.points.back().seconds);
    if (!inside || !rising) return curve.refuse("points", expected);
    found.points.push_back(point);
  }
  const bool rate = found.points.back().bytes > 0 && found.points.back().seconds > 0;
  if (!rate) return curve.refuse("points", expected);
  return found;
}

}  // namespace

Result<LinkCurve> read_link_curve(const JsonObject& parent, const char* name) {
  const char* const forms =
      R"(one of {"latency_us", "gb_per_s"}, {"fit": [a, b, c], "max_gb_per_s"}, {"points": [[bytes, seconds]]})";
  if (!parent.has(name) || !parent.at(name).is_object()) return parent.refuse(name, forms);
  const JsonObject curve = TS_TRY(parent.object(name));
  if (curve.has("points")) {
    TS_TRY(curve.only({"points"}));
    return read_points(curve);
  }
  if (curve.has("fit")) {
    TS_TRY(curve.only({"fit", "max_gb_per_s"}));
    double most = 0;
    TS_TRY(curve.real("max_gb_per_s", 1e-6, kMostGbPerS, most, true));
    const Json& fit = curve.at("fit");
    const char* const expected = "three numbers a, b, c from -1e6 to 1e6, with c above 0: GB/s of 1 MB";
    if (!is_number_list(fit, 3)) return curve.refuse("fit", expected);
    for (const Json& number : fit) {
      if (!(std::abs(number.get<double>()) <= kMostGbPerS)) return curve.refuse("fit", expected);
    }
    if (!(fit[2].get<double>() > 0)) return curve.refuse("fit", expected);
    return fitted_link(fit[0].get<double>(), fit[1].get<double>(), fit[2].get<double>(), most);
  }
  if (!curve.has("gb_per_s")) return parent.refuse(name, forms);
  TS_TRY(curve.only({"latency_us", "gb_per_s"}));
  double latency_us = 0;
  double rate = 0;
  TS_TRY(curve.real("latency_us", 0, 1e9, latency_us));
  TS_TRY(curve.real("gb_per_s", 1e-6, kMostGbPerS, rate, true));
  return affine_link(latency_us * 1e-6, rate * 1e9);
}

nlohmann::ordered_json link_curve_json(const LinkCurve& curve) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const LinkPoint& point : curve.points) points.push_back({point.bytes, point.seconds});
  return {{"points", points}};
}

}  // namespace tessera::planner
