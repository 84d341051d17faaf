/// Tagged integers: an index of one space does not silently become an index of another.
///
///   using Rank = Index<struct RankTag>;       Rank{3} + 1, rank.value, rank < other
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

namespace tessera {

template <class Tag>
struct Index {
  std::int32_t value = 0;

  constexpr Index() = default;
  constexpr explicit Index(std::int32_t v) : value(v) {}
  constexpr auto operator<=>(const Index&) const = default;
  constexpr Index operator+(std::int32_t by) const { return Index(value + by); }
  constexpr Index operator-(std::int32_t by) const { return Index(value - by); }
  constexpr Index& operator++() {
    ++value;
    return *this;
  }
};

template <class Tag>
std::ostream& operator<<(std::ostream& out, Index<Tag> index) {
  return out << index.value;
}

using Rank = Index<struct RankTag>;      // a process in one communicator
using Chunk = Index<struct ChunkTag>;    // a piece of the sequence; chunk g lives on context rank g
using Row = Index<struct RowTag>;        // a Q chunk's slot in one rank's tile, in arrival order
using Column = Index<struct ColumnTag>;  // a KV chunk's slot in one rank's tile, in arrival order

}  // namespace tessera

template <class Tag>
struct std::hash<tessera::Index<Tag>> {
  std::size_t operator()(tessera::Index<Tag> index) const noexcept {
    return std::hash<std::int32_t>{}(index.value);
  }
};
