shoal_library(shoal_local_io
  SRCS clock.cc doorbell.cc event_loop.cc local_socket.cc ring.cc
  DEPS shoal_base)
