shoal_benchmark(session_bench SRCS session_bench.cc DEPS shoal_session shoal_network Threads::Threads)
