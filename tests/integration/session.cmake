# A server that is killed again and again: a few times in the default run, a hundred times in the slow one.
shoal_test(session_kill_test LABEL integration SRCS integration/session_kill_test.cc DEPS shoal_network Threads::Threads)
shoal_test(session_kill_slow_test LABEL slow TIMEOUT 600
  SRCS integration/session_kill_test.cc DEPS shoal_network Threads::Threads)
if(TARGET session_kill_slow_test)
  target_compile_definitions(session_kill_slow_test PRIVATE SHOAL_SLOW=1)
endif()
