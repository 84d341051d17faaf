/// One bias-free linear map whose weight lies in the flat parameter buffer as one or several [rows_i, in]
/// matrices, stacked: q/k/v as one product, gate/up as one product.
///   y[t, out] = x[t, in] W^T,    out = sum rows_i
/// Matrices that are adjacent in the flat buffer are one product; where alignment left a gap between them
/// (rows_i * in not a multiple of 16) each is its own, with the same result.
/// Shapes    x, dx: [T, in];  y, dy: [T, out]; all contiguous.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "runtime/model/parameters.h"

namespace tessera::runtime {

class Linear {
 public:
  /// Requires that all named parameters are matrices with the same number of columns.
  Linear(const ParameterLayout& layout, std::initializer_list<std::string> names);

  [[nodiscard]] std::int64_t in() const { return in_; }
  [[nodiscard]] std::int64_t out() const { return out_; }

  /// y = x W^T
  void forward(float* y, const float* x, std::int64_t tokens, const float* parameters) const;
  /// dx = dy W
  void backward_input(float* dx, const float* dy, std::int64_t tokens, const float* parameters) const;
  /// dW += dy^T x
  void backward_weight(float* gradients, const float* dy, const float* x, std::int64_t tokens) const;

 private:
  struct Block {
    std::int64_t offset = 0;  // floats from the start of the flat buffer
    std::int64_t rows = 0;
    std::int64_t column = 0;  // of y where this block's outputs start
  };
  std::vector<Block> blocks_;
  std::int64_t in_ = 0;
  std::int64_t out_ = 0;
};

}  // namespace tessera::runtime
