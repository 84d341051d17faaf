/// Just enough SVG to draw a report: rectangles, lines, texts with hover titles, styled by CSS classes that
/// html_report.cc defines.
#pragma once

#include <string>
#include <string_view>

namespace tessera::planner::tools {

/// Text as HTML or SVG content or attribute value; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string escaped(std::string_view text);

/// Coordinates in pixels from the top left corner.
class Svg {
 public:
  void rect(double x, double y, double width, double height, std::string_view css,
            const std::string& title = "");
  void line(double x1, double y1, double x2, double y2, std::string_view css);
  /// (x, y) is the middle of the text's height; `css` also says start, middle or end.
  void text(double x, double y, const std::string& text, std::string_view css);

  /// The element, as wide as its place allows, with an accessible label.
  [[nodiscard]] std::string element(double width, double height, const std::string& label) const;

 private:
  std::string body_;
};

/// A round step (1, 2 or 5 times a power of ten) that cuts `range` > 0 into at most `most` parts.
[[nodiscard]] double round_step(double range, int most);

}  // namespace tessera::planner::tools
