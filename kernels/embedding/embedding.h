/// Token embedding: y[t,:] = table[token[t],:]; backward d_table[token[t],:] += dy[t,:].
/// Shapes    table: [V, D]; token: [T] int32, each in [0, V); y, dy: [T, D].
/// The backward adds tokens in increasing t for each row, so the result does not depend on threads.
/// Oracle    embedding_ref.cc, in double.
#pragma once

#include <cstdint>

namespace tessera::kernels {

void embedding_forward(float* y_TD, const float* table_VD, const std::int32_t* token_T, std::int64_t tokens,
                       std::int64_t width);
void embedding_backward(float* d_table_VD, const float* dy_TD, const std::int32_t* token_T,
                        std::int64_t tokens, std::int64_t width, std::int64_t vocabulary);

void embedding_backward_ref(double* d_table, const float* dy, const std::int32_t* token, std::int64_t tokens,
                            std::int64_t width);

}  // namespace tessera::kernels
