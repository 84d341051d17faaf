#include "algos/kserver/instance_file.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "algos/kserver/line_metric.h"
#include "algos/kserver/matrix_metric.h"
#include "algos/kserver/tree_metric.h"
#include "algos/kserver/uniform_metric.h"

namespace tessera::kserver {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 3;  // an object of arrays of arrays
constexpr std::size_t kShown = 60;

struct TooDeep {};

std::string shown(const Json& value) {
  // What is not ASCII is escaped, so a cut leaves valid text.
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

std::string element_name(const std::string& field, std::size_t index) {
  return field + "[" + std::to_string(index) + "]";
}

/// One JSON object of a file, whose fields are asked for by name and type.
class Object {
 public:
  static Result<Object> parse(const std::string& text, const std::string& name) {
    Json json;
    try {
      json = Json::parse(text, [](int depth, Json::parse_event_t /*event*/, Json& /*parsed*/) {
        if (depth > kMaxDepth) throw TooDeep{};
        return true;
      });
    } catch (const TooDeep&) {
      return bad_input({name, "", "JSON nested more than " + std::to_string(kMaxDepth) + " deep",
                        "an object of numbers and arrays", "see tessera-algos kserver --help"});
    } catch (const Json::exception& error) {
      return bad_input({name, "", error.what(), "one JSON object", "see tessera-algos kserver --help"});
    }
    if (!json.is_object()) {
      return bad_input({name, "", shown(json), "one JSON object", "see tessera-algos kserver --help"});
    }
    return Object(std::move(json), name);
  }

  [[nodiscard]] const std::string& name() const { return name_; }

  Status only(std::initializer_list<std::string_view> fields) const {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(fields.begin(), fields.end(), key) != fields.end()) continue;
      std::string expected;
      for (const std::string_view field : fields)
        expected += (expected.empty() ? "" : ", ") + std::string(field);
      return bad_input(
          {name_, shown(Json(key)), shown(value), "only " + expected, "remove it or correct its name"});
    }
    return {};
  }

  Result<const Json*> get(const std::string& field) const {
    const auto found = json_.find(field);
    if (found != json_.end()) return &*found;
    return bad_input({name_, field, "nothing", "this field", "see tessera-algos kserver --help"});
  }

  Result<std::int64_t> integer(const Json& value, const std::string& field) const {
    if (is_int64(value)) return value.get<std::int64_t>();
    return bad_input({name_, field, shown(value), "a whole number of 64 bits",
                      "choose a smaller unit where distances are fractions"});
  }

  Result<std::vector<std::int64_t>> integers(const Json& value, const std::string& field) const {
    if (!value.is_array()) {
      return bad_input({name_, field, shown(value), "an array of whole numbers", "write [1, 2, 3]"});
    }
    std::vector<std::int64_t> out;
    out.reserve(value.size());
    for (const Json& element : value) {
      // The element's name is made only where it is needed.
      if (!is_int64(element)) return integer(element, element_name(field, out.size())).status();
      out.push_back(element.get<std::int64_t>());
    }
    return out;
  }

  Result<std::vector<std::vector<std::int64_t>>> rows(const std::string& field) const {
    const Json* value = TS_TRY(get(field));
    if (!value->is_array()) {
      return bad_input({name_, field, shown(*value), "an array of arrays", "write [[0, 1], [1, 0]]"});
    }
    std::vector<std::vector<std::int64_t>> out;
    for (std::size_t i = 0; i < value->size(); ++i) {
      out.push_back(TS_TRY(integers((*value)[i], element_name(field, i))));
    }
    return out;
  }

  Result<std::vector<std::int64_t>> integers(const std::string& field) const {
    return integers(*TS_TRY(get(field)), field);
  }

  /// Whether a metric contains the point is its own question; here it is a 32-bit number.
  Result<Point> point(std::int64_t number, const std::string& field) const {
    if (std::in_range<std::int32_t>(number)) return Point(static_cast<std::int32_t>(number));
    return bad_input({name_, field, std::to_string(number), "the number of a point",
                      "name points by their number in the metric"});
  }

  Result<std::vector<Point>> points(const std::string& field) const {
    std::vector<Point> out;
    for (const std::int64_t number : TS_TRY(integers(field))) {
      if (!std::in_range<std::int32_t>(number))
        return point(number, element_name(field, out.size())).status();
      out.emplace_back(static_cast<std::int32_t>(number));
    }
    return out;
  }

 private:
  static bool is_int64(const Json& value) {
    return value.is_number_integer() &&
           (!value.is_number_unsigned() || std::in_range<std::int64_t>(value.get<std::uint64_t>()));
  }
  Object(Json json, std::string name) : json_(std::move(json)), name_(std::move(name)) {}
  Json json_;
  std::string name_;
};

template <class M>
Result<std::unique_ptr<Metric>> owned(Result<M> made) {
  return std::unique_ptr<Metric>(std::make_unique<M>(TS_TRY(std::move(made))));
}

Result<std::unique_ptr<Metric>> tree_of(const Object& object) {
  TS_TRY(object.only({"kind", "edges"}));
  std::vector<TreeEdge> edges;
  for (const std::vector<std::int64_t>& row : TS_TRY(object.rows("edges"))) {
    const std::string field = element_name("edges", edges.size());
    if (row.size() != 3) {
      return bad_input({object.name(), field, std::to_string(row.size()) + " numbers",
                        "3: two points and a length", "write [0, 1, 5]"});
    }
    edges.push_back({TS_TRY(object.point(row[0], field)), TS_TRY(object.point(row[1], field)), row[2]});
  }
  return owned(TreeMetric::make(edges, object.name()));
}

Result<std::unique_ptr<Metric>> matrix_of(const Object& object) {
  TS_TRY(object.only({"kind", "distances"}));
  const auto rows = TS_TRY(object.rows("distances"));
  std::vector<Distance> table;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].size() != rows.size()) {
      return bad_input({object.name(), element_name("distances", i),
                        std::to_string(rows[i].size()) + " numbers",
                        std::to_string(rows.size()) + ", one per row", "give a square table"});
    }
    table.insert(table.end(), rows[i].begin(), rows[i].end());
  }
  const auto points = static_cast<std::int32_t>(
      std::min<std::size_t>(rows.size(), static_cast<std::size_t>(kMaxMatrixPoints) + 1));
  return owned(MatrixMetric::make(std::move(table), points, object.name()));
}

}  // namespace

Result<std::unique_ptr<Metric>> parse_metric(const std::string& json_text, const std::string& name) {
  const Object object = TS_TRY(Object::parse(json_text, name));
  const Json& kind = *TS_TRY(object.get("kind"));
  if (kind == "line") {
    TS_TRY(object.only({"kind", "positions"}));
    return owned(LineMetric::make(TS_TRY(object.integers("positions")), name));
  }
  if (kind == "tree") return tree_of(object);
  if (kind == "uniform") {
    TS_TRY(object.only({"kind", "points", "distance"}));
    const std::int64_t points = TS_TRY(object.integer(*TS_TRY(object.get("points")), "points"));
    const std::int64_t distance = TS_TRY(object.integer(*TS_TRY(object.get("distance")), "distance"));
    return owned(UniformMetric::make(points, distance, name));
  }
  if (kind == "matrix") return matrix_of(object);
  return bad_input({name, "kind", shown(kind), "\"line\", \"tree\", \"uniform\" or \"matrix\"",
                    "see tessera-algos kserver --help"});
}

Result<Instance> parse_instance(const Metric& metric, const std::string& json_text, const std::string& name) {
  const Object object = TS_TRY(Object::parse(json_text, name));
  TS_TRY(object.only({"servers", "requests"}));
  Instance instance;
  instance.servers = TS_TRY(object.points("servers"));
  instance.requests = TS_TRY(object.points("requests"));
  TS_TRY(check_instance(metric, instance, name));
  return instance;
}

}  // namespace tessera::kserver
