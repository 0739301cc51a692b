# The device's tests, without a device: the same kernel files and the same tests, on the emulator.
file(GLOB EMULATOR_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
list(FILTER EMULATOR_SOURCES EXCLUDE REGEX "/(test_.*|checker)\\.cpp$")
file(GLOB EMULATOR_TESTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.cpp)

# A kernel file belongs to nvcc; for the emulator a file of one line hands it to the C++ compiler.
set(EMULATED_KERNELS)
foreach(kernel ${CUDA_KERNELS})
  get_filename_component(name ${kernel} NAME_WE)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/emulated/${name}.cpp CONTENT "#include \"${kernel}\"\n" @ONLY)
  list(APPEND EMULATED_KERNELS ${CMAKE_BINARY_DIR}/emulated/${name}.cpp)
endforeach()

# float4 and its like are read through pointers of other types, as on the device.
set(emulated_flags -fno-strict-aliasing -Wno-unknown-pragmas -Wno-pedantic -Wno-subobject-linkage)
# The kernels call ThreadSanitizer's hooks at every access; checker.cpp answers them in its place.
# addr2line reads the lines of DWARF 4 better than those of 5.
set(checker_flags -O1 -g1 -gdwarf-4 -fsanitize=thread --param=tsan-distinguish-volatile=0)

# emulated_sources(TARGET FLAGS…): compiles a target's files as kernel files are.
function(emulated_sources target)
  target_include_directories(${target} BEFORE PRIVATE ${CMAKE_SOURCE_DIR}/tests/cuda_emulator/include)
  target_compile_options(${target} PRIVATE ${emulated_flags} ${ARGN})
  target_link_libraries(${target} PRIVATE fmt::fmt)
endfunction()

# add_emulated(BUILD SOURCES FLAGS KERNEL_FLAGS): an emulated GPU to link in place of switchyard_gpu;
# device_tests_BUILD, the tests of the kernels on it; and emulator_tests_BUILD, its own. The kernels' tests are the same
# objects in every build. They come last: of a function that kernels share with them, the linker keeps the first.
function(add_emulated build sources flags kernel_flags)
  add_library(emulated_kernels_${build} OBJECT ${EMULATED_KERNELS})
  emulated_sources(emulated_kernels_${build} ${kernel_flags})
  add_library(emulator_${build} OBJECT ${EMULATOR_SOURCES} ${CUDA_RUNTIME} ${sources})
  emulated_sources(emulator_${build} -g1 ${flags})

  add_executable(device_tests_${build} $<TARGET_OBJECTS:emulated_kernels_${build}> $<TARGET_OBJECTS:emulator_${build}>
                 $<TARGET_OBJECTS:device_test_objects>)
  target_link_options(device_tests_${build} PRIVATE ${flags})
  target_link_libraries(device_tests_${build} PRIVATE switchyard_core doctest::doctest)

  add_executable(emulator_tests_${build} ${EMULATOR_TESTS} $<TARGET_OBJECTS:emulator_${build}>)
  emulated_sources(emulator_tests_${build} ${kernel_flags})
  target_link_options(emulator_tests_${build} PRIVATE ${flags})
  target_link_libraries(emulator_tests_${build} PRIVATE doctest::doctest)
endfunction()

function(add_emulated_test name program)
  add_test(NAME ${name} COMMAND ${program} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${ARGN}")
endfunction()

# A lesson in CUDA runs on the emulator with the checker, so that a student's mistake is named.
function(add_cuda_lesson source)
  get_filename_component(lesson ${source} NAME_WE)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/emulated/lesson-${lesson}.cpp CONTENT "#include \"${source}\"\n" @ONLY)
  add_executable(lesson-${lesson} ${CMAKE_BINARY_DIR}/emulated/lesson-${lesson}.cpp
                 $<TARGET_OBJECTS:emulated_kernels_checker> $<TARGET_OBJECTS:emulator_checker>)
  emulated_sources(lesson-${lesson} ${checker_flags})
  target_link_libraries(lesson-${lesson} PRIVATE switchyard_core)
endfunction()

# A build of the library that is sanitized itself is tested elsewhere (./run sanitize).
if(NOT SWITCHYARD_SANITIZE)
  set(sanitized -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_emulated(plain "" "-O2" "-O2;-g1")
  add_emulated(asan "" "-O1;${sanitized}" "-O2;-g1;${sanitized}")
  add_emulated(checker ${CMAKE_CURRENT_LIST_DIR}/checker.cpp "-O2" "${checker_flags}")
  foreach(order forward reverse shuffled)
    add_emulated_test(device_${order} device_tests_plain CUDA_EMULATOR_ORDER=${order})
  endforeach()
  # As an Ampere device, which has tensor cores but not Hopper's.
  add_test(NAME device_ampere COMMAND device_tests_plain "--test-case=*gemm*,*products*,*twenty*"
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(device_ampere PROPERTIES ENVIRONMENT CUDA_EMULATOR_CAPABILITY=80)
  # The CPU's own kernels in bf16, multiplied in each of the ways that this processor knows.
  foreach(product f32 dot amx emulated-amx)
    add_test(NAME cpu_bf16_${product} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
             COMMAND device_tests_plain --on-cpu --test-case=*bf16*)
    set_tests_properties(cpu_bf16_${product} PROPERTIES ENVIRONMENT SWITCHYARD_BF16=${product} SKIP_RETURN_CODE 77)
  endforeach()
  foreach(build asan checker)
    add_emulated_test(device_${build} device_tests_${build})
  endforeach()
  foreach(build plain asan checker)
    add_emulated_test(emulator_${build} emulator_tests_${build})
  endforeach()
  file(GLOB CUDA_LESSONS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/lessons/*.cu)
  foreach(source ${CUDA_LESSONS})
    add_cuda_lesson(${source})
  endforeach()
endif()
