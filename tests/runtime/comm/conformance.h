/// What every Communicator must do, as bodies that run on each rank of one of any size.
/// local_comm_test.cc runs them over threads, mpi_comm_test.cc over processes.
#pragma once

#include <ostream>
#include <span>

#include "runtime/comm/communicator.h"

namespace tessera::test {

struct ConformanceCase {
  const char* name;
  void (*body)(runtime::Communicator& comm);
};
inline void PrintTo(const ConformanceCase& conformance, std::ostream* out) { *out << conformance.name; }

[[nodiscard]] std::span<const ConformanceCase> conformance_cases();

}  // namespace tessera::test
