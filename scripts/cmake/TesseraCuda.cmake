# CUDA, when TESSERA_CUDA is on: two words beside those of Tessera.cmake.
#
#   tessera_cuda_library(kernels_norm_cuda SOURCES rmsnorm.cu DEPS kernels_norm)
#   tessera_cuda_test(kernels/norm/rmsnorm_cuda DEPS kernels_norm_cuda)
#       -> tests/kernels/norm/rmsnorm_cuda_test.cc. On a machine with a GPU it runs there; without one it runs under the
#          PTX interpreter (tests/ptxrun) three times: blocks in order, in reverse with noise on approximate functions,
#          shuffled with lazy streams. The output says which.
#
# TESSERA_CUDA_ARCHITECTURES: the default holds PTX for the interpreter and for any card from compute capability 8.0 on,
# compiled by the driver; releases list the cards: "80-real;86-real;89-real;90-real;100-real;80-virtual".
set(TESSERA_CUDA_ARCHITECTURES "80-virtual" CACHE STRING "CUDA architectures of every kernel")

set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # else both runtimes, static and shared, end up in one program
set(CMAKE_CUDA_ARCHITECTURES ${TESSERA_CUDA_ARCHITECTURES})
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes C++20 from release 12 on
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)

function(tessera_cuda_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  add_library(tessera_${name} STATIC ${A_SOURCES})
  add_library(tessera::${name} ALIAS tessera_${name})
  list(TRANSFORM A_DEPS PREPEND tessera::)
  target_include_directories(tessera_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  # Line numbers and uncompressed PTX are for the interpreter's messages; they cost size, not speed.
  target_compile_options(tessera_${name} PRIVATE
                         "$<$<COMPILE_LANGUAGE:CUDA>:-lineinfo;--no-compress;-Xcompiler=-Wall,-Wextra,-Werror>")
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
