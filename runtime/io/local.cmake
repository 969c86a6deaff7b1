shoal_library(shoal_local_io
  SRCS clock.cc doorbell.cc event_loop.cc fd.cc json.cc local_socket.cc ring.cc runtime_directory.cc
  DEPS shoal_base)
foreach(part doorbell event_loop json local_socket ring runtime_directory)
  shoal_test(${part}_test SRCS ${part}_test.cc DEPS shoal_local_io Threads::Threads)
endforeach()
shoal_test(doorbell_slow_test LABEL slow SRCS doorbell_test.cc DEPS shoal_local_io Threads::Threads)
if(TARGET doorbell_slow_test)
  target_compile_definitions(doorbell_slow_test PRIVATE SHOAL_DOORBELL_ROUNDS=500000)
endif()
