// Mesh-Attention over MPI processes against plain attention in double. Runs under mpirun with 1, 2 and 4
// ranks.
#include <exception>

#include <gtest/gtest.h>

#include "runtime/attention/mesh_attention.h"
#include "runtime/comm/collectives.h"
#include "runtime/comm/mpi_comm.h"
#include "tests/support/expect_all_ranks.h"
#include "tests/support/mesh_attention_ranks.h"

namespace tessera::runtime {
namespace {

/// What this rank computed, in a whole of zeros; summed over ranks it is the whole.
support::AttentionOutput gather(Communicator& comm, const support::AttentionRank& rank,
                                const support::AttentionInput& input) {
  auto whole = support::empty_output(input);
  rank.put(whole);
  for (auto* tensor : {&whole.o, &whole.dq, &whole.dk, &whole.dv, &whole.lse}) {
    all_reduce_sum(comm, *tensor, Traffic::kControl);
  }
  return whole;
}

void expect_exact(Communicator& comm, const MeshShape& shape, const AttentionDims& dims) {
  AttentionConfig config;
  config.dims = dims;
  config.shape = shape;
  const auto input = support::random_attention(dims, 31);
  support::AttentionRank rank(comm, config, input);
  rank.forward();
  rank.backward();
  const auto first = gather(comm, rank, input);
  const auto expected = support::reference_attention(config, input, shape.ranks());
  EXPECT_TRUE(support::within_bounds(first, expected)) << to_string(shape);
  rank.forward();
  rank.backward();
  EXPECT_ALL_RANKS(comm, first == gather(comm, rank, input)) << to_string(shape);
}

TEST(MeshAttentionMpi, EveryShapeMatchesReference) {
  const auto comm = make_mpi_world();
  comm->set_deadline(std::chrono::seconds(60));
  try {
    for (const MeshShape& shape : support::shapes_on(comm->size(), 4, 4)) {
      // Messages below and above the size from which MPI asks the receiver first.
      expect_exact(*comm, shape, {2, 29, 4, 4, 8});
      expect_exact(*comm, shape, {1, 301, 4, 4, 32});
    }
  } catch (const std::exception& e) {
    comm->abort(e.what());  // the other ranks would wait
  }
}

}  // namespace
}  // namespace tessera::runtime
