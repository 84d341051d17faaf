/// MpiError and TS_MPI: a failed MPI call as an exception with the call, the place, the rank and MPI's words.
#pragma once

#include <string>

#include "runtime/comm/communicator.h"

namespace tessera::runtime {

class MpiError : public CommError {
 public:
  MpiError(int code, const std::string& what) : CommError(Cause::kLibrary, what), code_(code) {}
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

[[noreturn]] void throw_mpi_error(int code, const char* call, const char* file, int line);

}  // namespace tessera::runtime

/// TS_MPI(MPI_Comm_size(comm, &size)); the communicator must return errors (MPI_ERRORS_RETURN).
#define TS_MPI(call)                                                               \
  do {                                                                             \
    const int ts_mpi_code = (call);                                                \
    if (ts_mpi_code != 0) [[unlikely]] {                                           \
      ::tessera::runtime::throw_mpi_error(ts_mpi_code, #call, __FILE__, __LINE__); \
    }                                                                              \
  } while (false)
