shoal_benchmark(ring_bench SRCS ring_bench.cc DEPS shoal_local_io shoal_arena Threads::Threads)
shoal_benchmark(bulk_bench SRCS bulk_bench.cc DEPS shoal_bulk Threads::Threads)
