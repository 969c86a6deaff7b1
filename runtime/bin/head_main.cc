// The head's process: keys, store and port from the runtime directory, then the loop.
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/bin/daemon_main.h"
#include "runtime/bin/daemons.h"
#include "runtime/io/head_host.h"
#include "runtime/io/metastore.h"
#include "runtime/io/nanny.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::bin {
namespace {

// What a raylet of the same directory needs to find this head.
absl::Status WriteClusterFile(const std::string& directory, const io::HeadHost& head, const io::HeadWire& wire) {
  const std::string host = wire.listen_host == "0.0.0.0" ? "127.0.0.1" : wire.listen_host == "::" ? "::1" : wire.listen_host;
  io::Json json = io::Json::Object();
  json.Set("endpoint", JoinHostPort(host, head.port())).Set("head_public_key", wire.keys.public_key);
  json.Set("cluster_id", absl::StrCat(absl::Hex(head.cluster_id(), absl::kZeroPad16)));
  return io::WriteFileAtomically(directory + "/cluster.json", json.ToString() + "\n");
}

absl::StatusOr<std::unique_ptr<io::HeadHost>> StartHead(const Options& options, const std::string& directory,
                                                        io::HeadWire* wire, io::DaemonLoop* loop) {
  absl::StatusOr<io::KeyPair> keys = io::LoadOrCreateKeys(directory + "/head.key");
  if (!keys.ok()) return keys.status();
  auto store = io::SqliteMetaStore::Open(directory + "/cluster.db");
  if (!store.ok()) return store.status();
  const absl::StatusOr<double> port = options.Number("port", 0, 0, 65535);
  if (!port.ok()) return port.status();
  wire->keys = *std::move(keys);
  wire->listen_host = options.Get("listen");
  wire->port = static_cast<uint16_t>(*port);
  io::HeadHostOptions host;
  host.runtime_dir = directory;
  host.store = *std::move(store);
  host.wire = *wire;
  absl::StatusOr<std::unique_ptr<io::HeadHost>> head = io::HeadHost::Start(std::move(host), loop);
  if (!head.ok()) return head;
  if (options.Has("with-raylet")) {
    const absl::StatusOr<io::KeyPair> node = io::LoadOrCreateKeys(directory + "/node.key");
    if (!node.ok()) return node.status();
    (*head)->Admit(node->public_key);
  }
  return head;
}

}  // namespace

int RunHead(const Options& options) {
  absl::StatusOr<std::unique_ptr<DaemonMain>> daemon = DaemonMain::Create(options);
  if (!daemon.ok()) return kFailed;
  if (const absl::Status watched = (*daemon)->WatchSignals(nullptr, [] {}); !watched.ok()) return (*daemon)->Failed(watched);
  const std::string directory = options.Get("runtime-dir");
  io::HeadWire wire;
  absl::StatusOr<std::unique_ptr<io::HeadHost>> head = StartHead(options, directory, &wire, &(*daemon)->loop());
  absl::Status started = head.status();
  if (started.ok()) started = WriteClusterFile(directory, **head, wire);
  if (!started.ok()) {
    const int failed = (*daemon)->Failed(started);
    return io::IsDiskFull(started) ? io::kNoRoom : failed;
  }
  (*daemon)->loop().Add(head->get());

  io::Json facts = io::Json::Object();
  // 192.0.2.1 (TEST-NET-1) stands for "out there": the route says which address others see.
  const std::string host = options.Get("advertise", Dialable(wire.listen_host, "192.0.2.1"));
  facts.Set("address", JoinHostPort(host, (*head)->port())).Set("port", static_cast<int>((*head)->port()));
  facts.Set("cluster_id", absl::StrCat(absl::Hex((*head)->cluster_id(), absl::kZeroPad16)));
  facts.Set("head_socket", directory + "/head.sock");
  (*daemon)->Ready(facts);
  return (*daemon)->loop().Run();
}

}  // namespace shoal::bin
