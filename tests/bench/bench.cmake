# The benchmarks: built only when asked for (cmake --build build --target bench_gemm).
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-march=native HAVE_MARCH_NATIVE)

# The rival: OpenBLAS with OpenMP (Debian: libopenblas-openmp-dev), wherever the alternatives point.
find_library(OPENBLAS_LIBRARY NAMES openblas PATH_SUFFIXES openblas-openmp)
find_path(OPENBLAS_INCLUDE NAMES cblas-openblas.h)

# The steps of the ladder, and what measures the machine, are compiled for the machine at hand, in a namespace of their
# own; the library's kernels stay as they are.
add_executable(bench_gemm EXCLUDE_FROM_ALL tests/bench/bench_gemm.cpp)
add_executable(bench_machine EXCLUDE_FROM_ALL tests/bench/bench_machine.cpp tests/bench/limits.cpp
               tests/bench/limits_bf16.cpp tests/bench/product_contest.cpp)
foreach(bench bench_gemm bench_machine)
  target_link_libraries(${bench} PRIVATE switchyard CLI11::CLI11)
  target_compile_definitions(${bench} PRIVATE SWITCHYARD_ISA=native)
  target_compile_options(${bench} PRIVATE -O3 -fno-math-errno -fno-trapping-math -Wno-psabi
                         $<$<BOOL:${HAVE_MARCH_NATIVE}>:-march=native>)
  if(OPENBLAS_LIBRARY AND OPENBLAS_INCLUDE)
    target_compile_definitions(${bench} PRIVATE SWITCHYARD_OPENBLAS)
    target_include_directories(${bench} PRIVATE ${OPENBLAS_INCLUDE})
    target_link_libraries(${bench} PRIVATE ${OPENBLAS_LIBRARY})
  endif()
endforeach()

foreach(bench step generate)
  add_executable(bench_${bench} EXCLUDE_FROM_ALL tests/bench/bench_${bench}.cpp)
  target_link_libraries(bench_${bench} PRIVATE switchyard)
endforeach()

# The GPU's kernels. cuBLAS is looked for when the program runs, so nothing is linked but dlopen.
set(DEVICE_BENCH tests/bench/bench_device.cpp tests/bench/device_matrix.cpp tests/bench/device_attention.cpp
    tests/bench/device_routing.cpp tests/bench/device_rows.cpp tests/bench/device_steps.cpp
    tests/bench/device_timer.cpp tests/bench/cublas.cpp)
if(SWITCHYARD_CUDA AND CMAKE_CUDA_COMPILER)
  add_executable(bench_device EXCLUDE_FROM_ALL ${DEVICE_BENCH})
  target_link_libraries(bench_device PRIVATE switchyard CLI11::CLI11 CUDA::cudart_static ${CMAKE_DL_LIBS})
else()
  add_custom_target(bench_device COMMAND ${CMAKE_COMMAND} -E echo "error: this build has no CUDA: nvcc was not found"
                    COMMAND ${CMAKE_COMMAND} -E false)
endif()
# For trying it without a GPU: bench_device_emulated --tiny.
if(TARGET emulator_plain)
  add_executable(bench_device_emulated EXCLUDE_FROM_ALL ${DEVICE_BENCH} $<TARGET_OBJECTS:emulated_kernels_plain>
                 $<TARGET_OBJECTS:emulator_plain>)
  target_include_directories(bench_device_emulated BEFORE PRIVATE ${CMAKE_SOURCE_DIR}/tests/cuda_emulator/include)
  target_compile_options(bench_device_emulated PRIVATE -Wno-pedantic)
  target_link_libraries(bench_device_emulated PRIVATE switchyard_core CLI11::CLI11 ${CMAKE_DL_LIBS})
endif()
