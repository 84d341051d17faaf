#include "runtime/attention/mesh_shape.h"

#include <charconv>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

namespace tessera::runtime {
namespace {

/// A cursor over the text; every take_* leaves it in place on failure.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool take(char expected) {
    if (rest_.empty() || rest_.front() != expected) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool take_positive(int& value) {
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{} || value < 1) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }

  bool take_ring(RingShape& ring) {
    if (!take('(')) {
      ring.outer = 1;
      return take_positive(ring.inner);
    }
    return take_positive(ring.outer) && take('.') && take_positive(ring.inner) && take(')');
  }

  [[nodiscard]] bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::string ring_text(const RingShape& ring) {
  return ring.outer == 1 ? fmt::format("{}", ring.inner) : fmt::format("({}.{})", ring.outer, ring.inner);
}

/// Whether heads * a * b is an int, so that no later product of the sizes overflows.
bool fits(const MeshShape& shape) {
  std::int64_t ranks = shape.heads;
  for (const int factor : {shape.q.outer, shape.q.inner, shape.kv.outer, shape.kv.inner}) {
    ranks *= factor;
    if (ranks > std::numeric_limits<int>::max()) return false;
  }
  return true;
}

}  // namespace

std::string to_string(const MeshShape& shape) {
  const std::string mesh = fmt::format("{}x{}", ring_text(shape.q), ring_text(shape.kv));
  return shape.heads == 1 ? mesh : fmt::format("u{}:{}", shape.heads, mesh);
}

Result<MeshShape> parse_mesh_shape(std::string_view text) {
  MeshShape shape;
  Reader reader(text);
  const bool heads_ok = !reader.take('u') || (reader.take_positive(shape.heads) && reader.take(':'));
  if (heads_ok && reader.take_ring(shape.q) && reader.take('x') && reader.take_ring(shape.kv) &&
      reader.done() && fits(shape)) {
    return shape;
  }
  return bad_input({.file = "",
                    .field = "mesh shape",
                    .found = fmt::format("'{}'", text),
                    .expected = "[u<heads>:]<a>x<b>, each of a and b a positive number or "
                                "(<outer>.<inner>), at most 2147483647 ranks in all",
                    .remedy = "write for example 4x2, (2.4)x2, 1x8 or u2:2x2"});
}

std::vector<MeshShape> all_meshes(int n) {
  std::vector<MeshShape> meshes;
  for (int a = 1; a <= n; ++a) {
    if (n % a == 0) meshes.push_back(MeshShape::mesh(a, n / a));
  }
  return meshes;
}

}  // namespace tessera::runtime
