shoal_benchmark(codec_bench SRCS codec_bench.cc DEPS shoal_codec)
