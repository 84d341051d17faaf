# The build's three words. Each folder's CMakeLists.txt is written with them alone.
#
#   tessera_library(kernels_norm SOURCES rmsnorm_cpu.cc rmsnorm_ref.cc DEPS base kernels_device)
#       -> target tessera::kernels_norm
#   tessera_program(tessera-train SOURCES tools/tessera_train.cc DEPS runtime_train)
#       -> build/<preset>/bin/tessera-train
#   tessera_test(runtime/comm/collectives DEPS runtime_comm [RANKS 1 2 4] [LABELS unit] [TIMEOUT s])
#       -> tests/runtime/comm/collectives_test.cc; with RANKS one ctest entry per count, under mpirun

function(tessera_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(tessera_${name} STATIC ${A_SOURCES})
  add_library(tessera::${name} ALIAS tessera_${name})
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_link_libraries(tessera_${name} PUBLIC tessera_options ${A_DEPS} ${A_LIBS}
                                        PRIVATE ${A_PRIVATE_LIBS})
endfunction()

function(tessera_program name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_link_libraries(${name} PRIVATE tessera_options ${A_DEPS} ${A_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

function(tessera_test path)
  cmake_parse_arguments(A "" "TIMEOUT" "DEPS;LIBS;RANKS;LABELS" ${ARGN})
  if(A_RANKS AND NOT TESSERA_MPI)
    return()
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(CMAKE_CROSSCOMPILING OR TESSERA_SANITIZE)
    math(EXPR A_TIMEOUT "20 * ${A_TIMEOUT}")  # in an emulator, or instrumented and hardly optimised
  endif()
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  string(REPLACE "/" "." name ${path})
  add_executable(${name}_test ${PROJECT_SOURCE_DIR}/tests/${path}_test.cc)
  list(TRANSFORM A_DEPS PREPEND tessera::)
  if(A_RANKS)
    set(main tessera_mpi_main)
  else()
    set(main GTest::gtest_main)
  endif()
  target_link_libraries(${name}_test PRIVATE tessera_options ${A_DEPS} ${A_LIBS} GTest::gtest ${main})
  set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT A_RANKS)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
  endif()
  foreach(n IN LISTS A_RANKS)
    add_test(NAME ${name}.np${n}
             COMMAND ${PROJECT_SOURCE_DIR}/scripts/launch/local.sh -np ${n} $<TARGET_FILE:${name}_test>)
    set_tests_properties(${name}.np${n} PROPERTIES LABELS "mpi;${A_LABELS}" TIMEOUT ${A_TIMEOUT}
                                                   PROCESSORS 2)
  endforeach()
endfunction()
