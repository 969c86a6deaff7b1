shoal_benchmark(scheduler_bench SRCS scheduler_bench.cc DEPS shoal_scheduler)
