/// The frame of a self-contained HTML page: styles of texts, tables and the SVG classes of the pictures,
/// light and dark. Refers to no other file and no network resource, runs no script.
#pragma once

#include <string>

namespace tessera::planner::tools {

/// `body` is HTML; the title is text.
[[nodiscard]] std::string html_page(const std::string& title, const std::string& body);

}  // namespace tessera::planner::tools
