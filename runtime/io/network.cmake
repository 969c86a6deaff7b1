shoal_library(shoal_network
  SRCS keys.cc
  DEPS shoal_session shoal_local_io shoal_bulk
  PRIVATE_DEPS PkgConfig::ZMQ PkgConfig::SODIUM)
shoal_test(keys_test SRCS keys_test.cc DEPS shoal_network Threads::Threads)
