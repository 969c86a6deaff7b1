shoal_library(shoal_processes
  SRCS json.cc process_tree.cc spawn.cc
  DEPS shoal_local_io Threads::Threads)
foreach(part json process_tree spawn)
  shoal_test(${part}_test SRCS ${part}_test.cc DEPS shoal_processes)
endforeach()
