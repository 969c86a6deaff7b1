# What the C++ SDK says and refuses; that it works is shown by examples/cpp.
shoal_test(sdk_test LABEL integration SRCS integration/sdk_test.cc DEPS shoal_sdk)
if(TARGET sdk_test)
  set_tests_properties(sdk_test PROPERTIES ENVIRONMENT "SHOAL_BINARY=$<TARGET_FILE:shoal>")
endif()
