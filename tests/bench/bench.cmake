# The benchmarks: built only when asked for (cmake --build build --target bench_gemm).
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-march=native HAVE_MARCH_NATIVE)

# The steps of the ladder are compiled for the machine at hand, in a namespace of their own.
add_executable(bench_gemm EXCLUDE_FROM_ALL tests/bench/bench_gemm.cpp)
target_link_libraries(bench_gemm PRIVATE switchyard CLI11::CLI11)
target_compile_definitions(bench_gemm PRIVATE SWITCHYARD_ISA=native)
target_compile_options(bench_gemm PRIVATE -O3 -fno-math-errno -fno-trapping-math -Wno-psabi
                       $<$<BOOL:${HAVE_MARCH_NATIVE}>:-march=native>)

# The yardstick: OpenBLAS with OpenMP (Debian: libopenblas-openmp-dev), wherever the alternatives point.
find_library(OPENBLAS_LIBRARY NAMES openblas PATH_SUFFIXES openblas-openmp)
find_path(OPENBLAS_INCLUDE NAMES cblas-openblas.h)
if(OPENBLAS_LIBRARY AND OPENBLAS_INCLUDE)
  target_compile_definitions(bench_gemm PRIVATE SWITCHYARD_OPENBLAS)
  target_include_directories(bench_gemm PRIVATE ${OPENBLAS_INCLUDE})
  target_link_libraries(bench_gemm PRIVATE ${OPENBLAS_LIBRARY})
endif()

add_executable(bench_step EXCLUDE_FROM_ALL tests/bench/bench_step.cpp)
target_link_libraries(bench_step PRIVATE switchyard)
