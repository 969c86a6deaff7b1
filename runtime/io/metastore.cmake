shoal_library(shoal_metastore SRCS metastore.cc DEPS shoal_base shoal_local_io PRIVATE_DEPS SQLite::SQLite3)
shoal_test(metastore_test SRCS metastore_test.cc DEPS shoal_metastore SQLite::SQLite3)
