/// How the ranks of one context-parallel group share attention: a value, printable and parsable.
///
/// Every published scheme here is one point of the same space, so there is one executor:
///
///   heads   u      u consecutive ranks exchange heads for tokens (Ulysses); 1 = none
///   q       a      ranks per Q ring:  a = q.outer * q.inner, consecutive super-ranks
///   kv      b      ranks per KV ring: b = kv.outer * kv.inner, super-ranks of stride a
///
///   n = u * a * b ranks. A ring of outer * inner ranks travels inside its inner groups first, so that
///   only outer hops leave a node when a node is `inner` consecutive ring members.
///
/// | scheme                          | heads | q (outer x inner) | kv (outer x inner) | text         |
/// |---------------------------------|-------|-------------------|--------------------|--------------|
/// | Ring-Attention on n             | 1     | 1x1               | 1xn                | 1x8          |
/// | Q ring on n                     | 1     | 1xn               | 1x1                | 8x1          |
/// | Mesh a x b                      | 1     | 1xa               | 1xb                | 4x2          |
/// | node-hierarchical Q ring x b    | 1     | a2 x g            | 1xb                | (2.4)x2      |
/// | double ring (LoongTrain)        | 1     | 1x1               | nodes x g          | 1x(2.4)      |
/// | USP u x r                       | u     | 1x1               | 1xr                | u4:1x2       |
/// | head-parallel u x Mesh a x b    | u     | 1xa               | 1xb                | u2:2x2       |
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "algos/base/status.h"

namespace tessera::runtime {

struct RingShape {
  int outer = 1;
  int inner = 1;
  [[nodiscard]] int size() const { return outer * inner; }
  bool operator==(const RingShape&) const = default;
};

struct MeshShape {
  int heads = 1;  // u
  RingShape q;    // a
  RingShape kv;   // b

  [[nodiscard]] int a() const { return q.size(); }
  [[nodiscard]] int b() const { return kv.size(); }
  [[nodiscard]] int super_ranks() const { return a() * b(); }
  [[nodiscard]] int ranks() const { return heads * super_ranks(); }
  bool operator==(const MeshShape&) const = default;

  static MeshShape mesh(int a, int b) { return {1, {1, a}, {1, b}}; }
  static MeshShape ring(int n) { return mesh(1, n); }
};

/// "4x2", "(2.4)x2", "u2:2x2" as in the table; to_string is the inverse of parse.
[[nodiscard]] std::string to_string(const MeshShape& shape);
[[nodiscard]] Result<MeshShape> parse_mesh_shape(std::string_view text);

/// Every flat a x b with a * b == n, a increasing.
[[nodiscard]] std::vector<MeshShape> all_meshes(int n);

}  // namespace tessera::runtime
