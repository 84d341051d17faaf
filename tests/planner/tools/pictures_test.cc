// The pictures and the page: well formed, self-contained, of bounded size, and showing what they are given.
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner/tools/cluster_picture.h"
#include "planner/tools/html_page.h"
#include "planner/tools/memory_picture.h"
#include "planner/tools/svg.h"
#include "planner/tools/timeline_picture.h"

namespace tessera::planner::tools {
namespace {

/// Every element is closed in order; void elements of HTML excepted. Returns the first mistake, or "".
std::string tag_mistake(const std::string& html) {
  static const std::regex tag(R"(<(/?)([a-zA-Z0-9]+)((?:[^<>"]|"[^"]*")*?)(/?)>)");
  std::vector<std::string> open;
  for (std::sregex_iterator at(html.begin(), html.end(), tag), end; at != end; ++at) {
    const std::string name = (*at)[2];
    if (name == "meta" || (*at)[4] == "/") continue;
    if ((*at)[1] != "/") {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "unexpected </" + name + ">";
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> not closed";
}

int count(const std::string& text, const std::string& piece) {
  int found = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

sim::Iteration two_groups(int micro_batches) {
  const sim::Stage stage{"A100 <80> & \"more\"", 1, 2, 0.1, {0.2, {}}, {0.2, {}}, 0, 0, 0};
  sim::Iteration iteration;
  iteration.groups.push_back({{stage, stage}, micro_batches});
  iteration.groups.push_back({{stage, stage, stage}, micro_batches});
  iteration.segments.push_back({"layers 0-3", {1, {}}, {0.5, {}}, {{0, 0, 1}, {1, 0, 1}}});
  return iteration;
}

TEST(TagMistake, IsFound) {
  EXPECT_EQ(tag_mistake("<p>a<b>c</b></p>"), "");
  EXPECT_EQ(tag_mistake("<p><b></p></b>"), "unexpected </p>");
  EXPECT_EQ(tag_mistake("<p>"), "<p> not closed");
}

TEST(Pictures, PageIsWellFormedAndSelfContained) {
  const sim::Iteration iteration = two_groups(6);
  const std::string page =
      html_page("a < b", timeline_picture(iteration, sim::simulate(iteration)) +
                             memory_picture({{"one", 1e9, 2e9, 3e9, 5e9}}) +
                             cluster_picture({{"node \"0\"", "4 x A100", {{0, 0}, {-1, 0}}}}));
  EXPECT_EQ(tag_mistake(page), "");
  for (const char* outside : {"http://", "https://", "<script", "src=", "@import", "url("}) {
    EXPECT_EQ(count(page, outside), 0) << outside;
  }
}

TEST(TimelinePicture, ShowsEveryTask) {
  const sim::Iteration iteration = two_groups(6);
  const std::string svg = timeline_picture(iteration, sim::simulate(iteration));
  EXPECT_EQ(count(svg, "class=\"forward\""), 6 * 5);
  EXPECT_EQ(count(svg, "class=\"backward\""), 6 * 5);
  EXPECT_EQ(count(svg, "class=\"update\""), 5);
  EXPECT_EQ(count(svg, "class=\"reduce\""), 2);
  EXPECT_EQ(count(svg, "class=\"gather\""), 2);
  EXPECT_EQ(count(svg, "class=\"send\""), 6 * 2 * 3);
}

TEST(TimelinePicture, DrawsEqualGroupsOnce) {
  sim::Iteration iteration = two_groups(6);
  iteration.segments.clear();
  for (int copy = 0; copy < 7; ++copy) iteration.groups.push_back(iteration.groups[0]);
  const std::string svg = timeline_picture(iteration, sim::simulate(iteration));
  EXPECT_EQ(count(svg, "class=\"forward\""), 6 * 5);
  EXPECT_EQ(count(svg, "group 0 and 7 like it"), 1);
}

TEST(TimelinePicture, SizeIsBounded) {
  sim::Iteration iteration = two_groups(3000);
  for (int g = 0; g < 60; ++g) {  // all different
    sim::Group group = iteration.groups[0];
    group.micro_batches = 1000 + g;
    iteration.groups.push_back(group);
  }
  const std::string svg = timeline_picture(iteration, sim::simulate(iteration));
  EXPECT_LT(svg.size(), 8U << 20);
  EXPECT_EQ(count(svg, "more groups"), 1);
}

TEST(MemoryPicture, MarksWhatDoesNotFit) {
  const std::string svg = memory_picture({{"fits", 1e9, 1e9, 1e9, 4e9}, {"does not", 3e9, 1e9, 1e9, 4e9}});
  EXPECT_EQ(count(svg, "3.0 of 4.0 GB, 25 % free"), 1);
  EXPECT_EQ(count(svg, "5.0 of 4.0 GB: too much"), 1);
}

TEST(ClusterPicture, CountsWhatItDoesNotDraw) {
  const std::vector<NodeBox> nodes(100, NodeBox{"n", "8 x H800", std::vector<DeviceBox>(8)});
  const std::string svg = cluster_picture(nodes);
  EXPECT_EQ(count(svg, "and 36 more nodes"), 1);
  EXPECT_EQ(count(svg, "class=\"unused\""), 64 * 8);
}

TEST(Svg, EscapesText) { EXPECT_EQ(escaped("a<b>&\"c\xff"), "a&lt;b&gt;&amp;&quot;c\xEF\xBF\xBD"); }

TEST(Svg, RoundSteps) {
  EXPECT_DOUBLE_EQ(round_step(10, 10), 1);
  EXPECT_DOUBLE_EQ(round_step(11, 10), 2);
  EXPECT_DOUBLE_EQ(round_step(0.03, 10), 0.005);
  EXPECT_DOUBLE_EQ(round_step(70, 10), 10);
}

}  // namespace
}  // namespace tessera::planner::tools
