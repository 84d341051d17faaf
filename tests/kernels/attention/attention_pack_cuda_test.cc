// Copies are exact and additions are one rounding, so everything is compared bit for bit with loops.
#include "kernels/attention/attention_pack_cuda.h"

#include <vector>

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/cuda_test.h"

namespace tessera::kernels {
namespace {

using testing::normal_floats;
using testing_support::floats;
using testing_support::OnDevice;
using testing_support::stored;

/// Both directions of one slice: the message has the values that nested loops find, and unpacking it into
/// another tensor changes those places and no others.
template <class T>
void expect_moves(HeadSlice slice, const std::vector<std::int32_t>& rows) {
  SCOPED_TRACE(::testing::Message() << "width " << slice.width << ", by head " << slice.by_head << ", rows "
                                    << rows.size());
  const std::int64_t size = slice.sequences * slice.tokens * slice.heads * slice.width;
  const std::vector<T> tensor = stored<T>(normal_floats(size, 1));
  const std::vector<float> before = normal_floats(size, 2);
  const OnDevice<std::int32_t> on_rows(rows);
  slice.row_count = rows.empty() ? slice.tokens - 1 : static_cast<std::int64_t>(rows.size());
  slice.rows = rows.empty() ? nullptr : on_rows.get();
  std::vector<std::size_t> places;
  const auto row = [&](std::int64_t r) -> std::int64_t {
    return rows.empty() ? r : rows[static_cast<std::size_t>(r)];
  };
  for (std::int64_t s = 0; s < slice.sequences; ++s) {
    if (slice.by_head) {
      for (int h = slice.first_head; h < slice.first_head + slice.head_count; ++h) {
        for (std::int64_t r = 0; r < slice.row_count; ++r) {
          places.push_back(static_cast<std::size_t>((s * slice.heads + h) * slice.tokens + row(r)));
        }
      }
      continue;
    }
    for (std::int64_t r = 0; r < slice.row_count; ++r) {
      for (int h = slice.first_head; h < slice.first_head + slice.head_count; ++h) {
        for (int d = 0; d < slice.width; ++d) {
          places.push_back(
              static_cast<std::size_t>(((s * slice.tokens + row(r)) * slice.heads + h) * slice.width + d));
        }
      }
    }
  }
  const OnDevice<T> from(tensor), message(places.size()), to(stored<T>(before));
  pack_heads_cuda<T>(message.get(), from.get(), slice, nullptr);
  unpack_heads_cuda<T>(to.get(), message.get(), slice, nullptr);
  TS_CUDA(cudaDeviceSynchronize());
  const std::vector<float> values = floats(tensor);
  const std::vector<float> sent = floats(message.download());
  std::vector<float> expected = floats(stored<T>(before));
  for (std::size_t i = 0; i < places.size(); ++i) {
    ASSERT_EQ(sent[i], values[places[i]]) << i;
    expected[places[i]] = values[places[i]];
  }
  EXPECT_EQ(floats(to.download()), expected);
}

template <class T>
void every_slice() {
  const std::vector<std::int32_t> some = {0, 3, 4, 8};
  for (const int width : {1, 5, 8, 64}) {  // by value, and 16 bytes an access
    for (const auto& rows : {some, std::vector<std::int32_t>()}) {
      expect_moves<T>(
          {.sequences = 2, .tokens = 9, .heads = 6, .first_head = 2, .head_count = 3, .width = width}, rows);
    }
  }
  expect_moves<T>(
      {.sequences = 2, .tokens = 9, .heads = 6, .first_head = 4, .head_count = 2, .by_head = true}, some);
}

TEST(AttentionPackCuda, Fp32) { every_slice<float>(); }
TEST(AttentionPackCuda, Bf16) { every_slice<Bf16>(); }
TEST(AttentionPackCuda, F16) { every_slice<F16>(); }

TEST(AttentionPackCuda, Adds) {
  for (const std::int64_t shift : {0, 1}) {
    for (const std::int64_t n : {0, 1, 4, 1023, 1024, 5000}) {
      const std::vector<float> a = normal_floats(n + shift, 1);
      const std::vector<float> b = normal_floats(n + shift, 2);
      const OnDevice<float> to(a), from(b);
      add_cuda(to.get() + shift, from.get() + shift, n, nullptr);
      TS_CUDA(cudaDeviceSynchronize());
      const std::vector<float> got = to.download();
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i], i < static_cast<std::size_t>(shift) ? a[i] : a[i] + b[i]) << i;
      }
    }
  }
}

TEST(AttentionPackCuda, NothingToCopyIsANoOp) {
  pack_heads_cuda<float>(nullptr, nullptr, {.sequences = 1, .heads = 1, .head_count = 1}, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace tessera::kernels
