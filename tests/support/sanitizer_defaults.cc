/// What the sanitizers overlook in programs that link MPI; part of each such program of a sanitizer build.

/// Leaks: Open MPI 4.1 leaks in MPI_Init and unloads the components that did, so that the checker has no name
/// to forgive them by. Programs without MPI run the same code with ranks as threads, and check.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

/// Races: Open MPI is not instrumented, so the checker sees its memory but not its locks and atomics.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libmpi.so.40\n"
         "called_from_lib:libopen-rte.so.40\n"
         "called_from_lib:libopen-pal.so.40\n";
}
