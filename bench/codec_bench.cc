// What it costs to turn the hot messages into bytes and back: Cap'n Proto for the network, the fixed layout for the rings.
//
//   build/release/bench/codec_bench --benchmark_format=json
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "schema/codec.h"

namespace shoal {
namespace {

ObjectValue SmallValue(size_t bytes) { return {.kind = ValueKind::kInline, .data = Payload(std::string(bytes, 'v'))}; }

Message SomePush(size_t bytes) {
  PushTask push;
  push.spec.id = {WorkerId{0x1234567890}, 17};
  push.spec.job = JobId{5};
  push.spec.owner_node = NodeId{6};
  push.spec.function = FunctionId{7};
  push.spec.name = "square";
  push.spec.args = Payload(std::string(bytes, 'a'));
  push.spec.parent = {WorkerId{0x1234567890}, 1};
  push.lease = LeaseId{8};
  return push;
}
Message SomePushWithReferences(size_t count) {
  Message message = SomePush(32);
  for (size_t i = 0; i < count; ++i) {
    std::get<PushTask>(message).spec.refs.push_back({{{WorkerId{1}, i + 1}, NodeId{2}}, SmallValue(16)});
  }
  return message;
}
Message SomeReply(size_t bytes) { return TaskReply{.task = {WorkerId{1}, 2}, .results = {SmallValue(bytes)}}; }

Message SomeDemand(size_t) {
  LeaseDemand demand{.wanted = 100, .version = 3};
  demand.shape.resources = ResourceSet::Of({{"CPU", 1}, {"GPU", 0.5}});
  demand.locality.push_back({NodeId{3}, 1 << 20});
  return demand;
}
Message SomeGrant(size_t) { return LeaseGranted{ShapeId{1}, LeaseId{2}, 3, {NodeId{4}, WorkerId{5}}, 10s}; }
Message SomePull(size_t) { return PullObject{{{WorkerId{1}, 2}, NodeId{3}}, 1 << 20, {NodeId{3}, NodeId{4}}}; }

Message SomeReport(size_t leases) {
  NodeReport report{.node = NodeId{1}, .incarnation = 2, .version = 3, .available = ResourceSet::Of({{"CPU", 8}})};
  for (size_t i = 0; i < leases; ++i) {
    report.leases.push_back({LeaseId{i + 1}, ShapeId{1}, {NodeId{4}, WorkerId{5}}, WorkerId{6}, ResourceSet::Of({{"CPU", 1}})});
  }
  return report;
}

using Make = Message (*)(size_t);

void EncodeForNetwork(benchmark::State& state, Make make) {
  const Message message = make(static_cast<size_t>(state.range(0)));
  size_t size = 0;
  for (auto _ : state) {
    const std::string bytes = EncodeMessage(message);
    benchmark::DoNotOptimize(bytes.data());
    size = bytes.size();
  }
  state.counters["bytes"] = static_cast<double>(size);
}

void DecodeFromNetwork(benchmark::State& state, Make make) {
  const std::string bytes = "12345" + EncodeMessage(make(static_cast<size_t>(state.range(0))));
  const std::string_view unaligned = std::string_view(bytes).substr(5);
  for (auto _ : state) {
    absl::StatusOr<Message> message = DecodeMessage(unaligned);
    if (!message.ok()) return state.SkipWithError("refused");
    benchmark::DoNotOptimize(*message);
  }
}

void EncodeForRing(benchmark::State& state, Make make) {
  const Message message = make(static_cast<size_t>(state.range(0)));
  std::vector<char> ring(1 << 20);
  size_t size = 0;
  for (auto _ : state) {
    size = EncodedSize(message);
    benchmark::DoNotOptimize(EncodeTo(message, ring.data()));
    benchmark::ClobberMemory();
  }
  state.counters["bytes"] = static_cast<double>(size);
}

void DecodeFromRing(benchmark::State& state, Make make) {
  const std::string bytes = Encode(make(static_cast<size_t>(state.range(0))));
  for (auto _ : state) {
    Message message;
    if (!Decode(bytes, &message)) return state.SkipWithError("refused");
    benchmark::DoNotOptimize(message);
  }
}

#define SHOAL_CODEC_BENCHMARK(make, size)                            \
  BENCHMARK_CAPTURE(EncodeForNetwork, make, make)->Arg(size);        \
  BENCHMARK_CAPTURE(DecodeFromNetwork, make, make)->Arg(size);       \
  BENCHMARK_CAPTURE(EncodeForRing, make, make)->Arg(size);           \
  BENCHMARK_CAPTURE(DecodeFromRing, make, make)->Arg(size)

SHOAL_CODEC_BENCHMARK(SomePush, 32);
SHOAL_CODEC_BENCHMARK(SomePush, 100 * 1024);
SHOAL_CODEC_BENCHMARK(SomePushWithReferences, 4);
SHOAL_CODEC_BENCHMARK(SomeReply, 32);
SHOAL_CODEC_BENCHMARK(SomeDemand, 1);
SHOAL_CODEC_BENCHMARK(SomeGrant, 1);
SHOAL_CODEC_BENCHMARK(SomePull, 1);
SHOAL_CODEC_BENCHMARK(SomeReport, 100);

}  // namespace
}  // namespace shoal
