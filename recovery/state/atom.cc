#include "recovery/state/atom.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "algos/base/require.h"

namespace tessera::recovery {

const char* component_name(Component component) {
  switch (component) {
    case Component::kWeight: return "weight";
    case Component::kFirstMoment: return "first_moment";
    case Component::kSecondMoment: return "second_moment";
  }
  return "unknown";
}

std::string to_string(const AtomId& atom) {
  return fmt::format("layer {}, slice {}, {}", atom.layer, atom.slice, component_name(atom.component));
}

int atom_slices(std::int64_t key_value_heads) {
  constexpr std::int64_t kLargestDegree = 8;
  TS_REQUIRE(key_value_heads > 0, key_value_heads);
  std::int64_t slices = 1;
  for (std::int64_t degree = 1; degree <= kLargestDegree; ++degree) {
    if (key_value_heads % degree == 0) slices = std::lcm(slices, degree);
  }
  return static_cast<int>(slices);
}

int AtomTable::index(const AtomId& atom) const {
  const int component = static_cast<int>(atom.component);
  TS_REQUIRE(atom.layer >= 0 && atom.layer < layers && atom.slice >= 0 && atom.slice < slices &&
                 component < kComponents,
             atom.layer, atom.slice, component, layers, slices);
  return (atom.layer * slices + atom.slice) * kComponents + component;
}

AtomId AtomTable::at(int index) const {
  TS_REQUIRE(index >= 0 && index < count(), index, count());
  const int block = index / kComponents;
  return {block / slices, block % slices, static_cast<Component>(index % kComponents)};
}

std::int64_t AtomTable::bytes(int index) const {
  TS_REQUIRE(index >= 0 && index < count(), index, count());
  return floats[static_cast<std::size_t>(index / kComponents)] * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t AtomTable::total_bytes() const {
  const std::int64_t sum = std::accumulate(floats.begin(), floats.end(), std::int64_t{0});
  return sum * kComponents * static_cast<std::int64_t>(sizeof(float));
}

int AtomSet::count() const { return static_cast<int>(std::count(bits_.begin(), bits_.end(), true)); }

AtomSet& AtomSet::operator|=(const AtomSet& other) {
  TS_REQUIRE(size() == other.size(), size(), other.size());
  for (std::size_t i = 0; i < bits_.size(); ++i) bits_[i] = bits_[i] || other.bits_[i];
  return *this;
}

}  // namespace tessera::recovery
