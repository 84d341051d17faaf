#include "planner/tools/svg.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tessera::planner::tools {

std::string escaped(std::string_view text) {
  // The JSON library repairs broken UTF-8; its quotes and escapes are undone by parsing the result.
  const std::string json =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const std::string valid = nlohmann::json::parse(json).get<std::string>();
  std::string out;
  for (const char c : valid) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

void Svg::rect(double x, double y, double width, double height, std::string_view css,
               const std::string& title) {
  body_ += fmt::format(R"(<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" class="{}")", x, y,
                       width, height, css);
  body_ += title.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", escaped(title));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css) {
  body_ += fmt::format(R"(<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" class="{}"/>)"
                       "\n",
                       x1, y1, x2, y2, css);
}

void Svg::text(double x, double y, const std::string& text, std::string_view css) {
  body_ += fmt::format(R"(<text x="{:.2f}" y="{:.2f}" class="{}">{}</text>)"
                       "\n",
                       x, y, css, escaped(text));
}

std::string Svg::element(double width, double height, const std::string& label) const {
  return fmt::format(R"(<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">)"
                     "\n{}</svg>\n",
                     width, height, escaped(label), body_);
}

double round_step(double range, int most) {
  const double least = range / most;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

}  // namespace tessera::planner::tools
