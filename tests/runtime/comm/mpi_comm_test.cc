/// The conformance suite over MPI processes, and what only MPI has. Runs under mpirun with 1, 2 and 4 ranks.
#include "runtime/comm/mpi_comm.h"

#include <array>
#include <exception>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "runtime/comm/collectives.h"
#include "runtime/comm/mpi_error.h"
#include "tests/runtime/comm/conformance.h"
#include "tests/support/expect_all_ranks.h"

namespace tessera::runtime {
namespace {

using ::testing::HasSubstr;

class MpiConformance : public ::testing::TestWithParam<test::ConformanceCase> {};

TEST_P(MpiConformance, Holds) {
  const auto comm = make_mpi_world();
  comm->set_deadline(std::chrono::seconds(60));
  try {
    GetParam().body(*comm);
  } catch (const std::exception& e) {
    comm->abort(e.what());  // the other ranks would wait
  }
}

INSTANTIATE_TEST_SUITE_P(World, MpiConformance,
                         ::testing::ValuesIn(test::conformance_cases().begin(),
                                             test::conformance_cases().end()),
                         [](const auto& info) { return std::string(info.param.name); });

/// The way of messages beyond 2^31 - 1 bytes, at a size a test can afford.
TEST(MpiComm, MessagesBeyondTheCountLimitArriveWhole) {
  const auto comm = make_mpi_world({.largest_count = 1000});
  const Rank right((comm->rank().value + 1) % comm->size());
  const Rank left((comm->rank().value + comm->size() - 1) % comm->size());
  for (const std::size_t size : {999U, 1000U, 1001U, 5000U, 1234567U}) {
    std::vector<std::byte> sent(size);
    for (std::size_t i = 0; i < size; ++i) {
      sent[i] = static_cast<std::byte>(i * 3 + static_cast<std::size_t>(comm->rank().value));
    }
    std::vector<std::byte> got(size);
    std::array<Request, 2> requests = {comm->irecv(got, left, 0, Traffic::kControl),
                                       comm->isend(sent, right, 0, Traffic::kControl)};
    comm->wait_all(requests);
    bool correct = true;
    for (std::size_t i = 0; i < size; ++i) {
      correct = correct && got[i] == static_cast<std::byte>(i * 3 + static_cast<std::size_t>(left.value));
    }
    EXPECT_ALL_RANKS(*comm, correct) << size;
    // A size that differs is still found.
    std::vector<std::byte> longer(size + 1);
    Request receive = comm->irecv(longer, left, 0, Traffic::kControl);
    Request send = comm->isend(sent, right, 0, Traffic::kControl);
    EXPECT_THROW(comm->wait(receive), CommError);
    comm->wait(send);
  }
}

TEST(MpiComm, FailedCallsNameCallPlaceAndRank) {
  const auto comm = make_mpi_world();  // makes nothing of MPI_COMM_WORLD's own error handler
  MPI_Comm returning = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &returning);
  MPI_Comm_set_errhandler(returning, MPI_ERRORS_RETURN);
  try {
    TS_MPI(MPI_Send(nullptr, 0, MPI_BYTE, 12345, 0, returning));
    ADD_FAILURE() << "no error for a rank that does not exist";
  } catch (const MpiError& e) {
    EXPECT_NE(e.code(), MPI_SUCCESS);
    EXPECT_EQ(e.cause(), CommError::Cause::kLibrary);
    EXPECT_THAT(e.what(), HasSubstr("MPI_Send(nullptr, 0, MPI_BYTE, 12345, 0, returning)"));
    EXPECT_THAT(e.what(), HasSubstr("mpi_comm_test.cc:"));
    EXPECT_THAT(e.what(), HasSubstr("rank " + std::to_string(comm->rank().value)));
    EXPECT_THAT(e.what(), HasSubstr("MPI_ERR_RANK"));
  }
  MPI_Comm_free(&returning);
}

}  // namespace
}  // namespace tessera::runtime
