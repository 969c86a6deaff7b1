// Object bytes per second from one arena to another over the loopback interface, encryption and
// both threads included.
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

#include "benchmark/benchmark.h"
#include "objectstore/bulk/client.h"
#include "objectstore/bulk/server.h"
#include "objectstore/shm/arena.h"

namespace shoal::bulk {
namespace {

void BM_Fetch(benchmark::State& state) {
  const auto size = static_cast<uint64_t>(state.range(0));
  auto from = *Arena::Create(size), to = *Arena::Create(size);
  if (!from->EnsureBacked(0, size).ok() || !to->EnsureBacked(0, size).ok()) {
    return state.SkipWithError("no memory");
  }
  std::fill(from->data(), from->data() + size, 'x');
  std::fill(to->data(), to->data() + size, 'y');
  std::mutex mutex;  // the owner is whichever thread posts, one at a time
  const Post post = [&](const std::function<void()>& work) {
    std::lock_guard<std::mutex> lock(mutex);
    work();
  };
  const uint64_t checksum = state.range(1) != 0 ? Checksum(from->data(), size) : 0;
  auto server = *BulkServer::Start({.host = "127.0.0.1"}, from.get(),
                                   {.post = post,
                                    .lookup = [&](const ObjectId&) -> std::optional<BulkSource> {
                                      return BulkSource{0, size, checksum};
                                    },
                                    .release = [](const ObjectId&) {}});
  const BulkKey key{.id = 1};
  server->AddKey(key);
  auto client = *BulkClient::Start(to.get(), post);
  for (auto _ : state) {
    std::mutex ended_mutex;
    std::condition_variable ended;
    std::optional<absl::Status> result;
    client->Fetch({.host = "127.0.0.1",
                   .port = server->port(),
                   .key = key,
                   .object = {WorkerId{1}, 1},
                   .size = size},
                  [&](const absl::Status& status) {
                    std::lock_guard<std::mutex> lock(ended_mutex);
                    result = status;
                    ended.notify_one();
                  });
    std::unique_lock<std::mutex> lock(ended_mutex);
    ended.wait(lock, [&] { return result.has_value(); });
    if (!result->ok()) return state.SkipWithError(std::string(result->message()).c_str());
  }
  state.SetLabel(checksum != 0 ? "with checksum" : "");
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(size));
}
BENCHMARK(BM_Fetch)->ArgsProduct({{1 << 20, 256 << 20}, {0, 1}})->UseRealTime();

}  // namespace
}  // namespace shoal::bulk
