shoal_benchmark(scheduler_bench SRCS scheduler_bench.cc DEPS shoal_scheduler)
shoal_benchmark(head_bench SRCS head_bench.cc DEPS shoal_scheduler shoal_local_io)
