#include "runtime/model/linear.h"

#include "algos/base/require.h"
#include "kernels/gemm/gemm.h"

namespace tessera::runtime {

using kernels::Transpose;

Linear::Linear(const ParameterLayout& layout, std::initializer_list<std::string> names) {
  for (const std::string& name : names) {
    const ParameterInfo& info = layout.find(name);
    TS_REQUIRE(info.shape.size() == 2, name);
    TS_REQUIRE(in_ == 0 || in_ == info.shape[1], name, in_, info.shape[1]);
    in_ = info.shape[1];
    if (!blocks_.empty() && blocks_.back().offset + blocks_.back().rows * in_ == info.offset) {
      blocks_.back().rows += info.shape[0];
    } else {
      blocks_.push_back({info.offset, info.shape[0], out_});
    }
    out_ += info.shape[0];
  }
}

void Linear::forward(float* y, const float* x, std::int64_t tokens, const float* parameters) const {
  for (const Block& block : blocks_) {
    kernels::gemm({tokens, block.rows, in_}, Transpose::kNo, Transpose::kYes, 1, x, in_,
                  parameters + block.offset, in_, 0, y + block.column, out_);
  }
}

void Linear::backward_input(float* dx, const float* dy, std::int64_t tokens, const float* parameters) const {
  float beta = 0;  // the first block writes, the others add
  for (const Block& block : blocks_) {
    kernels::gemm({tokens, in_, block.rows}, Transpose::kNo, Transpose::kNo, 1, dy + block.column, out_,
                  parameters + block.offset, in_, beta, dx, in_);
    beta = 1;
  }
}

void Linear::backward_weight(float* gradients, const float* dy, const float* x, std::int64_t tokens) const {
  for (const Block& block : blocks_) {
    kernels::gemm({block.rows, in_, tokens}, Transpose::kYes, Transpose::kNo, 1, dy + block.column, out_, x,
                  in_, 1, gradients + block.offset, in_);
  }
}

}  // namespace tessera::runtime
