# The tests that are programs: the book, the tree, and the command line. Every tests/test_*.py is one; it finds the
# built programs through the environment variable SWITCHYARD_BUILD.
if(SWITCHYARD_SANITIZE MATCHES thread)
  # The part that ThreadSanitizer is for, on the tensor layer alone; the whole suite would take it an hour.
  file(GLOB KERNEL_TESTS CONFIGURE_DEPENDS tests/test_*kernels*.cpp)
  add_executable(kernel_tests ${KERNEL_TESTS} tests/test_gemm.cpp tests/test_parallel.cpp tests/main.cpp)
  target_link_libraries(kernel_tests PRIVATE switchyard_tensor switchyard_gpu doctest::doctest)
  add_test(NAME kernels COMMAND kernel_tests WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()

# The unit tests on the kernels without AVX. Arm's are these same 16-byte vectors, so this is also what `./run arm` runs,
# on an emulated processor, about eight times slower. Left out is what takes longest there and depends least on the
# processor: whole training runs beyond one small one, and texts taken apart (but "the same bytes on every machine" is
# tested: the order in which a compiler evaluates arguments is not the same on all).
set(not_portable "corpus: a document has*,corpus: a text*,corpus: every*,corpus: games*,corpus: no document*"
    "corpus: the facts*,corpus: timetables*,tokenizer:*,bpe:*,*preset*,generate: every*,pitfall 13:*"
    "an interrupted experiment*,a run that *")
list(JOIN not_portable "," not_portable)
add_test(NAME portable
         COMMAND switchyard_tests --test-suite-exclude=slow* "--test-case-exclude=${not_portable}"
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(portable PROPERTIES ENVIRONMENT SWITCHYARD_ISA=portable)

if(NOT Python3_Interpreter_FOUND)
  message(WARNING "Python 3 not found: the tests of the book, the tree and the command line are left out")
  return()
endif()
add_test(NAME book COMMAND ${Python3_EXECUTABLE} -B docs/book.py check --build ${CMAKE_BINARY_DIR}
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME tree COMMAND ${Python3_EXECUTABLE} -B tests/check_tree.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
# The removals themselves take minutes: python3 tests/mutate.py.
add_test(NAME mutations COMMAND ${Python3_EXECUTABLE} -B tests/mutate.py --check-texts
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
# The removals of barriers take ten minutes: python3 tests/remove_barriers.py.
add_test(NAME barriers COMMAND ${Python3_EXECUTABLE} -B tests/remove_barriers.py --check
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
file(GLOB PYTHON_TESTS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/test_*.py)
foreach(script ${PYTHON_TESTS})
  get_filename_component(name ${script} NAME_WE)
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${script} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "SWITCHYARD_BUILD=${CMAKE_BINARY_DIR}")
endforeach()
