shoal_library(shoal_network
  SRCS enrolment.cc keys.cc network.cc zap.cc zmq_socket.cc zmq_transport.cc
  DEPS shoal_session shoal_local_io shoal_bulk PkgConfig::ZMQ
  PRIVATE_DEPS PkgConfig::SODIUM)
shoal_test(keys_test SRCS keys_test.cc DEPS shoal_network Threads::Threads)
shoal_test(network_test SRCS enrolment_test.cc network_security_test.cc network_test.cc DEPS shoal_network Threads::Threads)
