# The GPU. CUDA is used where it is found and never needed: without it the program says so when asked for the device.
option(SWITCHYARD_CUDA "Build the CUDA kernels if nvcc is found" ON)
file(GLOB CUDA_KERNELS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
set(CUDA_RUNTIME ${CMAKE_CURRENT_LIST_DIR}/runtime.cpp)

include(CheckLanguage)
if(SWITCHYARD_CUDA)
  check_language(CUDA)
endif()
if(NOT SWITCHYARD_CUDA OR NOT CMAKE_CUDA_COMPILER)
  add_library(switchyard_gpu OBJECT ${CMAKE_CURRENT_LIST_DIR}/absent.cpp)
  target_link_libraries(switchyard_gpu PUBLIC fmt::fmt)
  set(GPU_OBJECTS $<TARGET_OBJECTS:switchyard_gpu>)
  return()
endif()

# Code for Turing, Ampere and Hopper, and PTX of the last for whatever comes.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90)
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know that nvcc 13 speaks C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA_STANDARD 20)
set(kernels_of_all ${CUDA_KERNELS})
list(FILTER kernels_of_all EXCLUDE REGEX "/hopper\\.cu$")
add_library(switchyard_gpu OBJECT ${kernels_of_all} ${CUDA_RUNTIME})
# The instructions of Hopper alone; what else calls them asks for the device's capability first.
add_library(switchyard_hopper OBJECT ${CMAKE_CURRENT_LIST_DIR}/hopper.cu)
set_target_properties(switchyard_hopper PROPERTIES CUDA_ARCHITECTURES 90a-real)
foreach(kernels switchyard_gpu switchyard_hopper)
  target_compile_options(${kernels} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Werror=all-warnings;-Xptxas=--warn-on-spills>")
  target_link_libraries(${kernels} PUBLIC fmt::fmt CUDA::cudart_static)
endforeach()
set(GPU_OBJECTS $<TARGET_OBJECTS:switchyard_gpu> $<TARGET_OBJECTS:switchyard_hopper>)
