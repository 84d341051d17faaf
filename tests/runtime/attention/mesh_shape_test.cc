#include "runtime/attention/mesh_shape.h"

#include <string>

#include <gtest/gtest.h>

namespace tessera::runtime {
namespace {

TEST(MeshShapeText, TableOfTheHeader) {
  const struct {
    const char* text;
    MeshShape shape;
  } rows[] = {
      {"1x8", MeshShape::ring(8)},      {"8x1", MeshShape::mesh(8, 1)},
      {"4x2", MeshShape::mesh(4, 2)},   {"(2.4)x2", {1, {2, 4}, {1, 2}}},
      {"1x(2.4)", {1, {1, 1}, {2, 4}}}, {"u4:1x2", {4, {1, 1}, {1, 2}}},
      {"u2:2x2", {2, {1, 2}, {1, 2}}},  {"(4.1)x(1000.3)", {1, {4, 1}, {1000, 3}}},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(to_string(row.shape), row.text);
    const auto parsed = parse_mesh_shape(row.text);
    ASSERT_TRUE(parsed.ok()) << row.text << ": " << parsed.status().message();
    EXPECT_EQ(parsed.value(), row.shape) << row.text;
  }
}

TEST(MeshShapeText, RoundTripOfEveryShapeUpTo48Ranks) {
  int shapes = 0;
  for (int u = 1; u <= 48; ++u) {
    for (int qo = 1; u * qo <= 48; ++qo) {
      for (int qi = 1; u * qo * qi <= 48; ++qi) {
        for (int ko = 1; u * qo * qi * ko <= 48; ++ko) {
          for (int ki = 1; u * qo * qi * ko * ki <= 48; ++ki) {
            const MeshShape shape{u, {qo, qi}, {ko, ki}};
            const auto parsed = parse_mesh_shape(to_string(shape));
            ASSERT_TRUE(parsed.ok()) << to_string(shape);
            ASSERT_EQ(parsed.value(), shape);
            ASSERT_EQ(shape.ranks(), u * shape.super_ranks());
            ++shapes;
          }
        }
      }
    }
  }
  EXPECT_GT(shapes, 2000);
}

TEST(MeshShapeText, OtherSpellingsOfAFlatShape) {
  EXPECT_EQ(parse_mesh_shape("u1:(1.4)x(1.2)").value(), MeshShape::mesh(4, 2));
}

TEST(MeshShapeText, RefusesWithARemedy) {
  for (const char* text : {"",
                           "x",
                           "4",
                           "4x",
                           "x4",
                           "0x4",
                           "4x0",
                           "-1x4",
                           "+2x4",
                           " 4x2",
                           "4x2 ",
                           "4X2",
                           "4x2x1",
                           "u:4x2",
                           "u2",
                           "u0:4x2",
                           "u2:4",
                           "(2.4x2",
                           "(2.4)2",
                           "(2)x2",
                           "(2.)x2",
                           "(.4)x2",
                           "(2,4)x2",
                           "u2:u2:2x2",
                           "99999999999x1",
                           "65536x65536",
                           "(65536.65536)x1"}) {
    const auto parsed = parse_mesh_shape(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument);
    EXPECT_NE(parsed.status().message().find("remedy"), std::string::npos) << parsed.status().message();
    EXPECT_NE(parsed.status().message().find(text), std::string::npos);
  }
}

TEST(AllMeshes, EveryDivisorOnceInIncreasingOrder) {
  for (int n = 1; n <= 300; ++n) {
    const auto meshes = all_meshes(n);
    int divisors = 0;
    for (int a = 1; a <= n; ++a) divisors += n % a == 0 ? 1 : 0;
    ASSERT_EQ(static_cast<int>(meshes.size()), divisors) << n;
    int last = 0;
    for (const MeshShape& mesh : meshes) {
      ASSERT_EQ(mesh.a() * mesh.b(), n);
      ASSERT_EQ(mesh.ranks(), n);
      ASSERT_EQ(mesh.q.outer * mesh.kv.outer * mesh.heads, 1);
      ASSERT_GT(mesh.a(), last);
      last = mesh.a();
    }
  }
}

}  // namespace
}  // namespace tessera::runtime
