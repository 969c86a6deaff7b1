shoal_library(shoal_core_process
  SRCS core_impl.cc core_links.cc core_process.cc
  DEPS shoal_core_worker shoal_local_io shoal_arena shoal_codec Threads::Threads)
shoal_test(core_links_test SRCS core_links_test.cc DEPS shoal_core_process)
