# Minimum effective task granularity (bench/metg/README.md); MPI's program only where MPI is found.
shoal_test(metg_graph_test SRCS metg/graph_test.cc metg/graph.cc DEPS shoal_base)
if(NOT SHOAL_BENCH)
  return()
endif()

add_library(metg_graph SHARED metg/graph.cc)
target_link_libraries(metg_graph PRIVATE shoal_base shoal_flags)
set_target_properties(metg_graph PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/metg)

function(metg_program name source)
  add_executable(metg_${name} metg/${source})
  target_link_libraries(metg_${name} PRIVATE metg_graph shoal_flags ${ARGN})
  set_target_properties(metg_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/metg)
endfunction()

metg_program(threads threads.cc Threads::Threads)
metg_program(shoal shoal_tasks.cc shoal_sdk)
set(MPI_CXX_SKIP_MPICXX TRUE)  # its C interface is all that is used
find_package(MPI QUIET COMPONENTS CXX)
if(MPI_CXX_FOUND)
  metg_program(mpi mpi.cc MPI::MPI_CXX)
endif()
