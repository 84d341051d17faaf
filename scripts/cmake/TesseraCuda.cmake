# CUDA, when TESSERA_CUDA is on: two words beside those of Tessera.cmake.
#
#   tessera_cuda_library(kernels_norm_cuda SOURCES rmsnorm.cu DEPS kernels_norm)
#   tessera_cuda_test(kernels/norm/rmsnorm_cuda DEPS kernels_norm_cuda)
#       -> tests/kernels/norm/rmsnorm_cuda_test.cc. On a machine with a GPU it runs there; without one it runs under the
#          PTX interpreter (tests/ptxrun) three times: blocks in order, in reverse with noise on approximate functions,
#          shuffled with lazy streams. The output says which.
#
#   tessera_cuda_planted(kernels/norm/rmsnorm_cuda no_barrier OF kernels/norm/rmsnorm.cu DEPS kernels_norm_cuda
#                        REPLACE "..." BY "..." FINDS "race" [THROUGH a.cu] [FILTER "*Bf16*"] [ORDER shuffle])
#       -> the same test over a copy of the kernel with a planted defect, always under the interpreter: it passes when
#          the output has what FINDS says, the interpreter's report or the test's. A header is planted THROUGH the .cu
#          file that includes it.
#
# TESSERA_CUDA_ARCHITECTURES: the default holds PTX for the interpreter and for any card from compute capability 8.0 on,
# compiled by the driver. "all" (preset cuda-release) adds code for the cards: 8.0, 8.6, 8.9, 9.0, 10.0; files given to
# tessera_cuda_library under HOPPER are for 9.0a alone in either case. Any list that CMake takes is taken.
set(TESSERA_CUDA_ARCHITECTURES "80-virtual" CACHE STRING "CUDA architectures of every kernel, or all")

set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # else both runtimes, static and shared, end up in one program
if(TESSERA_CUDA_ARCHITECTURES STREQUAL "all")
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 80-virtual)
  set(TESSERA_CUDA_HOPPER_ARCHITECTURES 90a-real 90a-virtual)
else()
  set(CMAKE_CUDA_ARCHITECTURES ${TESSERA_CUDA_ARCHITECTURES})
  set(TESSERA_CUDA_HOPPER_ARCHITECTURES 90a-virtual)
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes C++20 from release 12 on
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)

# Line numbers and uncompressed PTX are for the interpreter's messages; they cost size, not speed.
set(TESSERA_CUDA_OPTIONS "$<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;--no-compress;-Xcompiler=-Wall,-Wextra,-Werror>")

function(tessera_cuda_library name)
  cmake_parse_arguments(A "" "" "SOURCES;HOPPER;DEPS;LIBS" ${ARGN})
  add_library(tessera_${name} STATIC ${A_SOURCES})
  add_library(tessera::${name} ALIAS tessera_${name})
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_include_directories(tessera_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(tessera_${name} PRIVATE ${TESSERA_CUDA_OPTIONS})
  if(A_HOPPER)
    add_library(tessera_${name}_hopper OBJECT ${A_HOPPER})
    set_target_properties(tessera_${name}_hopper PROPERTIES CUDA_ARCHITECTURES "${TESSERA_CUDA_HOPPER_ARCHITECTURES}")
    target_compile_options(tessera_${name}_hopper PRIVATE ${TESSERA_CUDA_OPTIONS})
    target_link_libraries(tessera_${name}_hopper PRIVATE tessera_options ${A_DEPS} ${A_LIBS} CUDA::cudart)
    target_sources(tessera_${name} PRIVATE $<TARGET_OBJECTS:tessera_${name}_hopper>)
  endif()
  target_link_libraries(tessera_${name} PUBLIC tessera_options ${A_DEPS} ${A_LIBS} CUDA::cudart)
endfunction()

function(tessera_cuda_test path)
  cmake_parse_arguments(A "" "TIMEOUT" "DEPS;LIBS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  string(REPLACE "/" "." name ${path})
  add_executable(${name}_test ${PROJECT_SOURCE_DIR}/tests/${path}_test.cc)
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_link_libraries(${name}_test PRIVATE tessera_options ${A_DEPS} ${A_LIBS} CUDA::cudart GTest::gtest_main)
  set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(order IN ITEMS forward reverse shuffle)
    add_test(NAME ${name}.${order}
             COMMAND ${PROJECT_SOURCE_DIR}/tests/support/on_gpu_or_interpreter.sh ${order}
                     $<TARGET_FILE:ptxrun_cudart> $<TARGET_FILE:${name}_test>)
    set_tests_properties(${name}.${order} PROPERTIES LABELS "kernels;gpu" TIMEOUT ${A_TIMEOUT})
  endforeach()
endfunction()

function(tessera_cuda_planted path defect)
  cmake_parse_arguments(PARSE_ARGV 2 A "" "OF;THROUGH;REPLACE;BY;FINDS;FILTER;ORDER" "DEPS;LIBS")
  if(NOT A_FILTER)
    set(A_FILTER "*")
  endif()
  if(NOT A_ORDER)
    set(A_ORDER forward)
  endif()
  file(READ ${PROJECT_SOURCE_DIR}/${A_OF} right)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${A_OF})
  string(FIND "${right}" "${A_REPLACE}" first)
  string(FIND "${right}" "${A_REPLACE}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "planted defect ${defect}: ${A_OF} does not have exactly once: ${A_REPLACE}")
  endif()
  string(REPLACE "${A_REPLACE}" "${A_BY}" wrong "${right}")
  string(REPLACE "/" "." name ${path})
  set(planted ${CMAKE_CURRENT_BINARY_DIR}/planted/${defect})
  file(CONFIGURE OUTPUT ${planted}/${A_OF} CONTENT "${wrong}" @ONLY)
  if(A_THROUGH)
    set(source ${PROJECT_SOURCE_DIR}/${A_THROUGH})
  else()
    set(source ${planted}/${A_OF})
  endif()
  # The copy is linked before the library, whose own object of the same functions is then not taken.
  add_executable(${name}_${defect} ${PROJECT_SOURCE_DIR}/tests/${path}_test.cc ${source})
  target_include_directories(${name}_${defect} BEFORE PRIVATE ${planted})
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_compile_options(${name}_${defect} PRIVATE ${TESSERA_CUDA_OPTIONS})
  target_link_libraries(${name}_${defect} PRIVATE tessera_options ${A_DEPS} ${A_LIBS} CUDA::cudart GTest::gtest_main)
  set_target_properties(${name}_${defect} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/planted)
  add_test(NAME ${name}.planted.${defect}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/support/on_gpu_or_interpreter.sh ${A_ORDER}
                   $<TARGET_FILE:ptxrun_cudart> $<TARGET_FILE:${name}_${defect}> --gtest_filter=${A_FILTER})
  set_tests_properties(${name}.planted.${defect} PROPERTIES LABELS "kernels;planted" TIMEOUT 300
                       ENVIRONMENT TESSERA_INTERPRET=1 PASS_REGULAR_EXPRESSION "${A_FINDS}")
endfunction()
