#include "kernels/embedding/embedding.h"

namespace tessera::kernels {

void embedding_backward_ref(double* d_table, const float* dy, const std::int32_t* token, std::int64_t tokens,
                            std::int64_t width) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t d = 0; d < width; ++d) d_table[token[t] * width + d] += dy[t * width + d];
  }
}

}  // namespace tessera::kernels
