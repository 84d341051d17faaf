/// Atom: the smallest piece of training state that is stored, checked and moved. The same bytes whatever the
/// layout of the job, so a change of layout is a regrouping of atoms: nothing is transposed or cut.
/// Source: AutoHet, arXiv:2512.20953, layer-wise state; Megatron's tensor-parallel blocks.
///
/// An atom is (layer, slice, component).
///   layer      0: token embedding; 1 .. L: decoder layers; L + 1: final norm and head
///   slice      0 .. A-1: what tensor rank `slice` of A would hold of the layer, in the flat order of
///              runtime/model/parameters.h. Norms belong to slice 0 alone. Of tied embeddings the head has
///              only the norm.
///   component  master weight, first or second moment; fp32, little-endian
///
/// Tensor rank r of t holds the slices [r A/t, (r+1) A/t): t must divide A (atom_slices).
///
/// Example, L = 2, A = 2: 4 layers * 2 slices * 3 components = 24 atoms; index 7 is layer 1, slice 0, first
/// moment. An atom may be empty (a slice of a head that is only a norm): it needs no copy anywhere.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera::recovery {

enum class Component : std::uint8_t { kWeight, kFirstMoment, kSecondMoment };
inline constexpr int kComponents = 3;
[[nodiscard]] const char* component_name(Component component);  // "weight", "first_moment", "second_moment"

struct AtomId {
  int layer = 0;
  int slice = 0;
  Component component = Component::kWeight;
  auto operator<=>(const AtomId&) const = default;
};
[[nodiscard]] std::string to_string(const AtomId& atom);  // "layer 3, slice 1, first_moment"

/// A: the least common multiple of the divisors of `key_value_heads` up to 8, the largest tensor-parallel
/// degree inside a node. It divides key_value_heads; every legal degree up to 8 divides it.
[[nodiscard]] int atom_slices(std::int64_t key_value_heads);

/// How large each atom of one model is. All three components of a (layer, slice) have the same size.
struct AtomTable {
  int layers = 0;                    // L + 2
  int slices = 1;                    // A
  std::vector<std::int64_t> floats;  // of (layer, slice), [layers][slices]

  [[nodiscard]] int count() const { return layers * slices * kComponents; }
  [[nodiscard]] int index(const AtomId& atom) const;  // canonical order: layer, slice, component
  [[nodiscard]] AtomId at(int index) const;
  [[nodiscard]] std::int64_t bytes(int index) const;
  [[nodiscard]] std::int64_t total_bytes() const;
  bool operator==(const AtomTable&) const = default;
};

/// Which atoms somebody holds or needs: one bit for each atom of a table.
class AtomSet {
 public:
  AtomSet() = default;
  explicit AtomSet(int atoms) : bits_(static_cast<std::size_t>(atoms)) {}
  [[nodiscard]] int size() const { return static_cast<int>(bits_.size()); }
  [[nodiscard]] bool has(int index) const { return bits_[static_cast<std::size_t>(index)]; }
  void add(int index) { bits_[static_cast<std::size_t>(index)] = true; }
  void remove(int index) { bits_[static_cast<std::size_t>(index)] = false; }
  [[nodiscard]] int count() const;
  AtomSet& operator|=(const AtomSet& other);  // requires equal sizes
  bool operator==(const AtomSet&) const = default;

 private:
  std::vector<bool> bits_;
};

}  // namespace tessera::recovery
